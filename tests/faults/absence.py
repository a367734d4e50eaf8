"""A broker that is away for a day, a box that is restarted meanwhile, and the backlog afterwards."""

import contextlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from collector.store import MessageRow
from tests import services
from tests.faults import books
from tests.faults.boxes import Job
from tests.faults.center import Center, end
from tests.services import Process, wait_for

DAY_S = 24 * 3600
NOT_BEHIND_SHARE = 0.25
"""Of the time that the backlog takes; one queue for both gave two thirds."""


@dataclass(frozen=True)
class Plan:
    """How much happens while the broker is away, and afterwards.

    Args:
        live: incidents made while the backlog is delivered, one each `live_every_s`.
        box_last: the last restart is over when broker and center are there; else the box has to find out by itself,
            and what it sends before the center has subscribed is sent again half a minute later.
    """

    incidents: int
    live: int
    live_every_s: float
    restarts: int = 5
    box_last: bool = False
    patience_s: float = 540.0


FULL = Plan(incidents=5000, live=100, live_every_s=0.2)
SHORT = Plan(incidents=150, live=8, live_every_s=0.1, restarts=2, box_last=True, patience_s=90)


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Let a box live through it; returns figures."""
    total = plan.incidents + plan.live
    own = folder / "box"
    broker = services.Broker("mosquitto", folder / "broker")
    broker.kill()
    lapse_s = DAY_S / plan.incidents
    job = Job(
        str(own),
        broker.url,
        ["box-1"],
        total,
        1000,
        ["wide"],
        max_waiting=10**9,
        lapse_s=lapse_s,
        lapsed=plan.incidents,
    )
    path = job.write()
    quota = own / "quota"
    with contextlib.ExitStack() as stack:
        allow(quota, 0)
        box = Process([sys.executable, "-m", "tests.faults.boxes", path], own / "log")
        stack.callback(end, box)
        for part in range(1, plan.restarts + 1):
            due = plan.incidents * part // plan.restarts
            allow(quota, due / total)
            wait_for(lambda due=due: made(own) >= due, f"{due} incidents made: {box.text()[-500:]}", plan.patience_s)
            box.kill()
            if part < plan.restarts or not plan.box_last:
                box.start()
            say(f"{due} incidents without a broker")
        broker.start()
        stack.callback(end, broker.process)
        center = Center(folder / "center", broker.url)
        stack.callback(end, center.process)
        center.ready()
        if plan.box_last:
            box.start()
        began_s = time.time()
        wait_for(lambda: center.health().get("ok") and waiting(own) < backlog(plan), "the backlog begins to go", 90)
        first_s = time.time()
        for number in range(plan.live):
            allow(quota, (plan.incidents + number + 1) / total)
            time.sleep(plan.live_every_s)
        left = waiting(own)
        say(f"all live ones made, {left} messages and pictures wait")
        wait_for(lambda: finished(own), "the backlog is delivered", plan.patience_s)
        done_s = time.time()
        box.kill()
        center.stop()
        with center.books() as (store, files):
            figures = books.compare(books.Ledger.read([own / "ledger"]), store, files)
            with store.transaction() as session:
                rows = session.execute(
                    select(MessageRow.incident, MessageRow.seq, MessageRow.received_ms).order_by(
                        MessageRow.received_ms, MessageRow.seq
                    )
                ).all()
    live_s = _latencies(own / "ledger", [tuple(row) for row in rows], plan.incidents)
    return {
        "incidents_without_broker": plan.incidents,
        "hours": 24,
        "restarts": plan.restarts,
        "connected_after_s": round(first_s - began_s, 1),
        "delivered_in_s": round(done_s - first_s, 1),
        "out_of_order": _out_of_order([tuple(row) for row in rows]),
        "live": plan.live,
        "live_p50_s": round(live_s[len(live_s) // 2], 2),
        "live_max_s": round(live_s[-1], 2),
        "backlog_left_after_last_live": left,
        **{name: figures[name] for name in books.FAULTS},
    }


def allow(quota: Path, share: float) -> None:
    """Let the box make that share of its incidents."""
    quota.write_text(f"{share:.9f}")


def backlog(plan: Plan) -> int:
    """Messages and pictures that a whole backlog has; the last incidents are still open."""
    return plan.incidents * 3 - 3


def _progress(own: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((own / "progress").read_text()))
    return {"made": 0, "waiting": 0, "finished": False}


def made(own: Path) -> int:
    return int(_progress(own)["made"])


def waiting(own: Path) -> int:
    return int(_progress(own)["waiting"])


def finished(own: Path) -> bool:
    return bool(_progress(own)["finished"])


def _latencies(ledger: Path, rows: list[tuple[str, int, int]], backlog: int) -> list[float]:
    """Seconds from stored on the box to committed at the center of live messages, the shortest first."""
    received_s = {(incident, seq): ms / 1000 for incident, seq, ms in rows}
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    live = set(list(dict.fromkeys(entry["incident"] for entry in entries))[backlog:])
    first = [entry for entry in entries if entry["seq"] == 1 and entry["incident"] in live]
    return sorted(received_s[entry["incident"], 1] - entry["at_s"] for entry in first)


def not_behind(figures: dict[str, Any]) -> bool:
    """Whether live messages went past the backlog and did not wait for it."""
    overlapped = figures["backlog_left_after_last_live"] > 0
    return overlapped and bool(figures["live_max_s"] < figures["delivered_in_s"] * NOT_BEHIND_SHARE)


def _out_of_order(rows: list[tuple[str, int, int]]) -> int:
    """Incidents whose messages were not taken in their order."""
    instants = defaultdict(list)
    for incident, seq, ms in rows:
        instants[incident].append((seq, ms))
    return sum([ms for _, ms in sorted(found)] != sorted(ms for _, ms in found) for found in instants.values())
