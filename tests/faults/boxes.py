"""Some real boxes in one process, made to be killed: outbox on disk, session, reporter; only cameras are missing.

`python -m tests.faults.boxes JOB.json`. What a rule was told is stored goes to `ledger` in the job's folder, one line
for each commit that returned; `clock` holds by how many seconds the clock is wrong, `quota` which share of the
incidents may be made by now, and `progress` says how far it is.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.rules.life import Record
from agent.uplink.outbox import Outbox
from agent.uplink.session import Session
from protocol.broker import BrokerLine
from protocol.messages import BoxStatus
from tests.faults.scribe import Scribe, incident_id

OPEN_AT_ONCE = 3
SAY_S = 0.1
IDLE_S = 0.05


@dataclass(frozen=True)
class Job:
    """What a process of boxes is to do.

    Args:
        incidents: how many each box makes.
        rate: how many of them a second, for all boxes together.
        max_waiting: a box that has this many messages to send makes no more for now.
        lapse_s: by so much each of the first `lapsed` incidents lets the box's time go on.
    """

    folder: str
    url: str
    boxes: list[str]
    incidents: int
    rate: float
    views: list[str]
    picture_bytes: int = 8 * 1024
    max_waiting: int = 120
    lapse_s: float = 0.0
    lapsed: int = 0

    def write(self) -> Path:
        """Write it to its folder."""
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "clock").write_text("0")
        (folder / "quota").write_text("1")
        path = folder / "job.json"
        path.write_text(json.dumps(asdict(self)))
        return path


class WrongClock:
    """Seconds since the epoch, wrong by what a file says."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.offset_s = 0.0
        self.lapsed_s = 0.0
        self.look()

    def look(self) -> None:
        """Read how wrong it is."""
        self.offset_s = float(self._path.read_text() or 0)

    def now(self) -> float:
        """What the box believes."""
        return time.time() + self.offset_s + self.lapsed_s


class SmallBox:
    """One box: makes incidents, and remembers after a restart how far it was."""

    def __init__(self, job: Job, box: str, clock: WrongClock, told: int, done: dict[str, int]) -> None:
        self.outbox = Outbox(Path(job.folder) / f"{box}.db", clock.now)
        self._scribe = Scribe("site", box, self.outbox, clock.now)
        status = BoxStatus(state="online", boot_id=f"boot-{os.getpid()}", version="1")
        self.session = Session(BrokerLine(url=job.url), Path(job.folder), "site", box, self.outbox, status, clock.now)
        self._job, self._box, self._told, self._clock = job, box, told, clock
        self.made = 0
        self._open: list[Record] = []
        # as the rules do: what the outbox holds is so, whether or not the ledger got its line
        remembered = self._scribe.remembered()
        while (record := remembered.get(incident_id(box, self.made))) is not None:
            self.made += 1
            if done.get(record.incident, 0) < record.seq:
                self._tell(record)
            if record.open:
                self._open.append(record)
        clock.lapsed_s = job.lapse_s * min(self.made, job.lapsed)
        self.session.start()

    @property
    def finished(self) -> bool:
        """Whether it has made all of its incidents, and cleared them."""
        return self.made == self._job.incidents and not self._open

    def step(self, quota: float) -> bool:
        """Open an incident and clear an older one, where that share of all may be made by now; False: nothing to do."""
        if self.finished or self.outbox.figures().waiting > self._job.max_waiting:
            return False
        opening = self.made < round(self._job.incidents * quota)
        if opening:
            record = self._scribe.open(self.made, self._job.views, self._job.picture_bytes)
            self._tell(record)
            self._open.append(record)
            self.made += 1
            if self.made <= self._job.lapsed:
                self._clock.lapsed_s += self._job.lapse_s
        clearing = len(self._open) > OPEN_AT_ONCE or (self.made == self._job.incidents and bool(self._open))
        if clearing:
            self._tell(self._scribe.clear(self._open[0]))
            del self._open[0]
        return opening or clearing

    def _tell(self, record: Record) -> None:
        pictures = [f"{record.incident}:{one.role}:{one.view}:{one.sha256}" for one in record.evidence]
        line: dict[str, Any] = {"box": self._box, "incident": record.incident, "seq": record.seq, "pictures": pictures}
        line["at_s"] = time.time()
        os.write(self._told, json.dumps(line).encode() + b"\n")


def main(path: Path) -> None:
    """Work until killed."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    job = Job(**json.loads(path.read_text()))
    folder = Path(job.folder)
    done: dict[str, int] = {}
    ledger = folder / "ledger"
    if ledger.exists():
        for line in ledger.read_text().splitlines():
            entry = json.loads(line)
            done[entry["incident"]] = max(done.get(entry["incident"], 0), entry["seq"])
    told = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    clock = WrongClock(folder / "clock")
    boxes = [SmallBox(job, box, clock, told, done) for box in job.boxes]
    pause_s = len(boxes) / job.rate
    next_s = said_s = time.monotonic()
    while True:
        clock.look()
        quota = float((folder / "quota").read_text() or 0)
        busy = [box.step(quota) for box in boxes]
        if time.monotonic() - said_s > SAY_S:
            said_s = time.monotonic()
            _say(folder, boxes)
        next_s = max(next_s + pause_s, time.monotonic())
        time.sleep(max(0.0 if any(busy) else IDLE_S, next_s - time.monotonic()))


def _say(folder: Path, boxes: Sequence[SmallBox]) -> None:
    figures = [box.outbox.figures() for box in boxes]
    waiting = sum(one.waiting for one in figures)
    progress = {
        "made": sum(box.made for box in boxes),
        "waiting": waiting,
        "parked": sum(one.parked for one in figures),
        "finished": all(box.finished for box in boxes) and waiting == 0,
    }
    part = folder / "progress.part"
    part.write_text(json.dumps(progress))
    part.replace(folder / "progress")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
