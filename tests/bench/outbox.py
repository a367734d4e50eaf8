"""How long the outbox takes when much waits: `python -m tests.bench.outbox [FOLDER]` prints milliseconds as JSON."""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.uplink.flight import Flight
from agent.uplink.outbox import IncidentRow, Outbox, Outgoing
from protocol.messages import Acknowledgement

INCIDENTS = 5000
PICTURES = 3
JSON_BYTES = 2000
PICTURE_BYTES = 8000
TIMES = 50


def main() -> None:
    """Fill an outbox with 20,000 messages, ask it what is asked often, and empty it."""
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=folder) as place:
        outbox = Outbox(Path(place) / "outbox.db", time.time)
        figures: dict[str, Any] = {"commit_ms": _fill(outbox)}
        outbox.begin_backlog()
        resting = {f"i{number}:1" for number in range(INCIDENTS)}
        figures |= {
            "figures_ms": _ms(outbox.figures),
            "due_ms": _ms(lambda: outbox.due(32, 4 << 20)),
            "due_5000_resting_ms": _ms(lambda: outbox.due(32, 4 << 20, resting)),
            "dropped_ms": _ms(outbox.dropped),
            "prune_ms": _ms(lambda: outbox.prune(7 * 86400)),
            "messages": outbox.figures().waiting,
            "drain_s": _drain(outbox),
            "file_mb": round(outbox.figures().bytes / 2**20),
        }
        began_s = time.perf_counter()
        outbox.resend(0)
        figures["resend_all_s"] = round(time.perf_counter() - began_s, 2)
        outbox.close()
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


def _fill(outbox: Outbox) -> float:
    began_s = time.perf_counter()
    for number in range(INCIDENTS):
        incident = f"i{number}"
        messages = [Outgoing(f"{incident}:1", "incident", "t", b"x" * JSON_BYTES, "c")]
        messages += [
            Outgoing(f"{incident}:at:{view}", "picture", "t", b"x" * PICTURE_BYTES, "c") for view in range(PICTURES)
        ]
        with outbox.sealing() as ledger:
            ledger.commit(IncidentRow(incident, "c", "z", "r", "p", True, "{}"), messages, None)
    return round((time.perf_counter() - began_s) / INCIDENTS * 1000, 2)


def _ms(work: Callable[[], Any]) -> float:
    began_s = time.perf_counter()
    for _ in range(TIMES):
        work()
    return round((time.perf_counter() - began_s) / TIMES * 1000, 2)


def _drain(outbox: Outbox) -> float:
    """The window over and over, each message acknowledged."""
    flight = Flight(outbox, time.monotonic)
    flight.connected()
    began_s = time.perf_counter()
    while messages := flight.launch():
        flight.answered(Acknowledgement(stored=tuple(one.id for one in messages)))
    return round(time.perf_counter() - began_s, 2)


if __name__ == "__main__":
    main()
