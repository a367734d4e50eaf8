"""Thousands of boxes with certificates on the mosquitto that is deployed, telling their health to a collector."""

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import func, select

from collector.boxes.register import new_box
from collector.store import Box
from tests.faults.center import end
from tests.fleet import COLLECTOR, Fleet
from tests.services import Process, wait_for

SITE = "xiaohe"
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Plan:
    """How many boxes, and for how long all are to stay.

    Args:
        rate: incidents that begin each second meanwhile.
    """

    boxes: int
    steady_s: float
    rate: float
    health_s: float = 30.0
    patience_s: float = 400.0


FULL = Plan(boxes=5000, steady_s=90, rate=2)
SHORT = Plan(boxes=40, steady_s=4, rate=5, health_s=2, patience_s=60)


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Connect them all and let them tell; returns figures."""
    fleet = Fleet(folder)
    certificates = folder / "certificates"
    _enrol(fleet, plan.boxes, certificates)
    say(f"{plan.boxes} boxes have certificates")
    with contextlib.ExitStack() as stack:
        broker = fleet.mosquitto()
        stack.callback(end, broker)
        collector = Process([COLLECTOR, "serve", "--settings", fleet.settings], folder / "collector.log")
        stack.callback(end, collector)
        wait_for(lambda: "connected to the broker" in collector.text(), f"it serves: {collector.text()[-300:]}", 60)
        began_s = time.monotonic()
        simulation = Process([COLLECTOR, "simulate", *_options(plan, fleet, certificates)], folder / "simulation.log")
        stack.callback(end, simulation)
        all_in = f"{plan.boxes} of {plan.boxes} boxes connected"
        wait_for(lambda: all_in in simulation.text(), f"all are in: {simulation.text()[-500:]}", plan.patience_s)
        connected_s = time.monotonic() - began_s
        say(f"all connected after {connected_s:.0f} s")
        parts = {"mosquitto": broker, "collector": collector, "simulation": simulation}
        before = {name: _cpu_s(one) for name, one in parts.items()}
        time.sleep(plan.steady_s)
        used = {name: _cpu_s(one) - before[name] for name, one in parts.items()}
        memory = {name: _resident_mb(one) for name, one in parts.items()}
        assert simulation.stop(60) == 0, simulation.text()[-500:]
        told = json.loads(simulation.text().splitlines()[-1])
        with fleet.store.transaction() as session:
            heard = session.scalar(select(func.count()).select_from(Box).where(Box.health.is_not(None)))
        return {
            "boxes": plan.boxes,
            "connected": told["connected"],
            "lost_lines": told["lost_lines"],
            "connected_after_s": round(connected_s, 1),
            "heard_health_of": heard,
            "health_every_s": plan.health_s,
            "stored": told["stored"],
            "refused": told["refused"],
            "stored_after_p99_s": told["stored_after_p99_s"],
            "cores_used": {name: round(cpu_s / plan.steady_s, 2) for name, cpu_s in used.items()},
            "resident_mb": memory,
        }


def _enrol(fleet: Fleet, boxes: int, folder: Path) -> None:
    """Certificates as an enrolment gives them, without its door: 5,000 claims are not what is measured here."""
    folder.mkdir()
    now_s = time.time()
    names = [f"box-{number:05d}" for number in range(boxes)]
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        issued = fleet.authority.issue(key.public_key(), name, "box", now_s, days=30)
        (folder / f"{name}.crt").write_text(issued.pem)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.key").write_bytes(secret)
    now_ms = round(now_s * 1000)
    with fleet.store.transaction() as session:
        for name in names:
            box = new_box(name, SITE, now_ms)
            box.standing = "enrolled"
            session.add(box)


def _options(plan: Plan, fleet: Fleet, certificates: Path) -> list[Any]:
    return [
        *("--boxes", plan.boxes, "--certificates", certificates, "--site", SITE),
        *("--ca", fleet.folder / "ca" / "ca.crt", "--url", fleet.line.url, "--health-s", plan.health_s),
        *("--rate", plan.rate, "--clear-s", 10, "--seconds", plan.patience_s + plan.steady_s),
    ]


def _cpu_s(process: Process) -> float:
    fields = Path(f"/proc/{process.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _resident_mb(process: Process) -> int:
    pages = int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
