"""Boxes, broker and collector under fire: killed, cut off, filled up, misled about the time, all while incidents come.

All faults are spread along the work, so that each hits a line in use. Afterwards everything is let run until the boxes
have nothing left to send, and the books are compared.
"""

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests import services
from tests.faults import books
from tests.faults.boxes import Job
from tests.faults.center import Center, end, fill, small_disk
from tests.faults.proxy import Network
from tests.services import Process

DAY_S = 86_400
MOSQUITTO = "persistence true\npersistence_location {folder}/\nautosave_interval 5\nmax_inflight_messages 200\n"
POLL_S = 0.1


@dataclass(frozen=True)
class Plan:
    """How much work, and how many faults."""

    boxes: int
    incidents: int
    kills: int
    cuts: int
    clock_jumps: int
    fills: int = 1
    boxes_per_process: int = 10
    rate: float = 400.0
    victims: tuple[str, ...] = ("boxes", "broker", "collector")
    collectors: int = 1
    database_url: str | None = None
    disk_mb: int = 2048
    gap_s: float = 2.0
    """Least time between two faults."""
    patience_s: float = 300.0
    """For delivering the rest, after the last fault."""
    seed: int = 1

    def on(self, database_url: str) -> "Plan":
        """The same with another database."""
        return replace(self, database_url=database_url)


FULL = Plan(boxes=200, incidents=50_000, kills=60, cuts=60, clock_jumps=20)
TWO_COLLECTORS = Plan(
    boxes=40, incidents=8000, kills=30, cuts=0, clock_jumps=0, fills=0, collectors=2, rate=100, victims=("collector",)
)
SHORT = Plan(boxes=6, incidents=240, kills=4, cuts=3, clock_jumps=2, boxes_per_process=3, rate=60, gap_s=0.7)
SHORT_TWO_COLLECTORS = replace(SHORT, collectors=2, kills=3, cuts=0, clock_jumps=0, fills=0, victims=("collector",))


@dataclass
class Street:
    """All processes of one run, and what can be done to them."""

    plan: Plan
    folder: Path
    chance: random.Random
    broker: services.Broker
    centers: list[Center]
    boxes: list[Process]
    folders: list[Path]
    networks: list[Network]

    def progress(self) -> dict[str, Any]:
        """Sums over all boxes."""
        found = []
        for folder in self.folders:
            with contextlib.suppress(OSError, ValueError):
                found.append(json.loads((folder / "progress").read_text()))
        return {
            "made": sum(one["made"] for one in found),
            "waiting": sum(one["waiting"] for one in found),
            "parked": sum(one["parked"] for one in found),
            "finished": len(found) == len(self.folders) and all(one["finished"] for one in found),
        }

    def allow(self, share: float) -> None:
        """Let the boxes make that share of their incidents."""
        for folder in self.folders:
            part = folder / "quota.part"
            part.write_text(str(share))
            part.replace(folder / "quota")

    def kill_something(self) -> None:
        """SIGKILL for a process of boxes, the broker or a collector, and start it again a moment later."""
        kind = self.chance.choice(self.plan.victims)
        victim: Any = self.broker
        if kind == "boxes":
            victim = self.chance.choice(self.boxes)
        elif kind == "collector":
            victim = self.chance.choice(self.centers)
        victim.kill()
        time.sleep(self.chance.uniform(0, 1.5))
        victim.start()

    def cut(self) -> None:
        """Cut the network of the boxes, or the collectors', with a reset or in silence."""
        network = self.chance.choice(self.networks)
        network.cut(self.chance.uniform(0.2, 3), silently=self.chance.random() < 0.5)

    def jump(self) -> None:
        """Set the clock of some boxes wrong by a day, or by another."""
        folder = self.chance.choice(self.folders)
        (folder / "clock").write_text(str(self.chance.choice((-DAY_S, 0, DAY_S))))

    def fill(self) -> None:
        """Fill the collectors' disk for a few seconds."""
        fill(self.folder / "center", 5)


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Let boxes work under fire; returns the comparison of the books."""
    with contextlib.ExitStack() as stack:
        mounted = stack.enter_context(small_disk(folder / "center", plan.disk_mb))
        more = MOSQUITTO.format(folder=folder / "broker")
        broker = stack.enter_context(services.Broker("mosquitto", folder / "broker", more=more))
        networks = [stack.enter_context(Network(broker.port)) for _ in range(2)]
        centers = [
            Center(
                folder / "center",
                f"mqtt://127.0.0.1:{networks[1].port}",
                database_url=plan.database_url,
                name=f"center-{number}",
            )
            for number in range(plan.collectors)
        ]
        for center in centers:
            stack.callback(end, center.process)
            center.ready()
        processes, folders = [], []
        for first in range(0, plan.boxes, plan.boxes_per_process):
            names = [f"box-{number}" for number in range(first, min(plan.boxes, first + plan.boxes_per_process))]
            own = folder / f"boxes-{first}"
            share = plan.rate * len(names) / plan.boxes
            url = f"mqtt://127.0.0.1:{networks[0].port}"
            job = Job(str(own), url, names, plan.incidents // plan.boxes, share, ["wide"]).write()
            (own / "quota").write_text("0")
            process = Process([sys.executable, "-m", "tests.faults.boxes", job], own / "log")
            stack.callback(end, process)
            processes.append(process)
            folders.append(own)
        chance = random.Random(plan.seed)
        street = Street(plan, folder, chance, broker, centers, processes, folders, networks)
        began_s = time.monotonic()
        figures = _fire(street, say, fills=plan.fills if mounted else 0)
        figures["seconds"] = round(time.monotonic() - began_s, 1)
        for process in processes:
            process.kill()
        for center in centers:
            center.stop()
        ledger = books.Ledger.read(own / "ledger" for own in folders)
        with centers[0].books() as (store, files):
            return {**figures, **books.compare(ledger, store, files)}


def _fire(street: Street, say: Callable[[str], None], fills: int) -> dict[str, Any]:
    plan = street.plan
    faults: list[Callable[[], None]] = [
        *[street.kill_something] * plan.kills,
        *[street.cut] * plan.cuts,
        *[street.jump] * plan.clock_jumps,
        *[street.fill] * fills,
    ]
    street.chance.shuffle(faults)
    for number, fault in enumerate(faults):
        due = plan.incidents * number // len(faults)
        street.allow((number + 1) / len(faults))
        while (progress := street.progress())["made"] - progress["waiting"] // 3 < due:
            time.sleep(POLL_S)
        say(f"{number + 1}/{len(faults)} {fault.__name__}: {progress}")
        fault()
        time.sleep(plan.gap_s)
    until_s = time.monotonic() + plan.patience_s
    while not (progress := street.progress())["finished"]:
        if time.monotonic() > until_s:
            raise AssertionError(f"boxes still have something to send after {plan.patience_s:.0f} s: {progress}")
        time.sleep(POLL_S)
    return {
        "boxes": plan.boxes,
        "kills": plan.kills,
        "cuts": plan.cuts,
        "clock_jumps": plan.clock_jumps,
        "disk_filled": fills,
        "parked": progress["parked"],
        "commit": _commit(),
    }


def _commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=services.ROOT
    )
    return asked.stdout.strip()
