"""A cut of the box's power at every moment of an outbox's life.

A child uses a real outbox under `strace`; each of its writes, truncations, removals and syncs is replayed onto a model
of a disk. After every one of them the disk is taken as the cut leaves it: what was not synced is gone (as a whole; or
was written anyway; or some of it, torn in sectors), and the outbox is opened again.

The model: a file's sync makes its data, its size and its name durable (ext4, xfs and btrfs do that); a removal is
durable after its folder's sync. The `-shm` file is an index that SQLite makes anew; what else lies in the folder holds
nothing but room.
"""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.uplink.outbox import Outbox
from protocol.messages import Acknowledgement
from tests.faults.scribe import Scribe
from tests.services import ROOT

SECTOR = 512
START_S = 1_780_000_000.0
LATER_S = START_S + 40 * 86400
TOLD = "told"
FILES = ("outbox.db", "outbox.db-wal", "outbox.db-journal")
CALLS = "openat,pwrite64,write,pwritev,fsync,fdatasync,ftruncate,fallocate,unlink,unlinkat,rename,renameat2"


@dataclass
class HandedClock:
    """A clock that goes on when it is told to."""

    time_s: float = START_S

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.time_s


# the child


def work(folder: Path, incidents: int) -> None:
    """Use an outbox; what a caller was told, or is about to give up, is written to `told` at that moment."""
    told = os.open(folder / TOLD, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(**line: Any) -> None:
        os.write(told, json.dumps(line).encode() + b"\n")

    chance = random.Random(1)
    clock = HandedClock()
    numbers = iter(range(incidents))
    for restart in range(3):
        outbox = Outbox(folder / "outbox.db", clock.now)
        scribe = Scribe("s", "box-1", outbox, clock.now)
        for number in numbers:
            clock.time_s += 60
            records = [scribe.open(number, ("wide", "close"))]
            tell(incident=records[0].incident, seq=1, waiting=scribe.last)
            if number % 2:
                records.append(scribe.clear(records[0]))
                tell(incident=records[1].incident, seq=2, waiting=scribe.last)
            waiting = [one.id for one in outbox.due(40, 10**9)]
            if number % 3 == 0 and len(waiting) > 4:
                stored = tuple(chance.sample(waiting, len(waiting) // 2))
                tell(given_up=stored)
                outbox.acknowledge(Acknowledgement(stored=stored))
                clock.time_s += 60
            if number % 40 == 39:
                outbox.prune(600)
            if number >= (restart + 1) * incidents // 3:
                break
        outbox.close()


# the trace


@dataclass(frozen=True)
class Step:
    """One system call on a file: `write`, `truncate`, `remove`, `sync`, `told`."""

    call: str
    name: str
    at: int = 0
    data: bytes = field(default=b"", repr=False)


_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+)")
_FILE = re.compile(r"^\d+<([^>]*)>")


def _text(escaped: str) -> str:
    return bytes.fromhex(escaped.replace("\\x", "")).decode() if "\\x" in escaped else escaped


def record(folder: Path, incidents: int) -> list[Step]:
    """Run the child under strace; returns its steps in order."""
    trace = folder / "trace"
    command = ["strace", "-f", "-y", "-xx", "-s", "10000000", "-e", f"trace={CALLS}", "-o", trace]
    child = [sys.executable, "-m", "tests.faults.powercut", folder, incidents]
    subprocess.run([str(part) for part in (*command, *child)], check=True, cwd=ROOT, timeout=550)
    with trace.open() as lines:
        steps = list(_steps(lines, folder))
    assert sum(step.call == "sync" for step in steps) > incidents, "expected a sync for each commit in the trace"
    return steps


def _steps(lines: Iterator[str] | Any, folder: Path) -> Iterator[Step]:
    for line in lines:
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        call, rest, result = match[1], match[2], int(match[3])
        file = _FILE.match(rest)
        if call in ("unlink", "unlinkat", "rename", "renameat2"):
            name = Path(_text(rest.split('"')[1]))
            if name.parent == folder and name.name in FILES:
                assert call.startswith("unlink"), f"the model of a disk knows no {call}"
                yield Step("remove", name.name)
            continue
        if call == "openat" or file is None:
            continue
        path = Path(_text(file[1]))
        if path == folder and call in ("fsync", "fdatasync"):
            yield Step("sync", "")
        if path.parent == folder and path.name == TOLD:
            yield Step("told", TOLD, data=bytes.fromhex(rest.split('"')[1].replace("\\x", "")))
        if path.parent != folder or path.name not in FILES:
            continue
        if call == "pwrite64":
            data = bytes.fromhex(rest.split('"')[1].replace("\\x", ""))
            assert len(data) == result, f"expected a whole write, got {result} of {len(data)} bytes"
            yield Step("write", path.name, int(rest.rpartition(",")[2]), data)
        elif call == "ftruncate":
            yield Step("truncate", path.name, int(rest.rpartition(",")[2]))
        elif call in ("fsync", "fdatasync"):
            yield Step("sync", path.name)
        else:
            raise AssertionError(f"the model of a disk knows no {call} on {path.name}")


# the disk


@dataclass
class Disk:
    """What is surely on the platter, and what was written since the last sync."""

    durable: dict[str, bytearray] = field(default_factory=dict)
    pending: list[Step] = field(default_factory=list)

    def take(self, step: Step) -> None:
        """Let a step happen."""
        if step.call != "sync":
            self.pending.append(step)
            return
        synced = [one for one in self.pending if one.name == step.name or (step.name == "" and one.call == "remove")]
        for one in synced:
            _apply(self.durable, one)
        self.pending = [one for one in self.pending if one not in synced]

    def after_cut(self, kept: list[Step]) -> dict[str, bytearray]:
        """The files, where of the steps that were not synced only these reached the platter."""
        touched = {one.name for one in kept}
        files = {name: bytearray(data) if name in touched else data for name, data in self.durable.items()}
        for step in kept:
            _apply(files, step)
        return files

    def some(self, chance: random.Random) -> list[Step]:
        """Any of the steps that were not synced, writes torn in sectors."""
        kept = []
        for step in self.pending:
            if chance.random() < 0.5:
                continue
            if step.call == "write" and len(step.data) > SECTOR and chance.random() < 0.3:
                start, end = sorted(chance.sample(range(0, len(step.data) + SECTOR, SECTOR), 2))
                kept.append(Step("write", step.name, step.at + start, step.data[start:end]))
            else:
                kept.append(step)
        return kept


def _apply(files: dict[str, bytearray], step: Step) -> None:
    if step.call == "remove":
        files.pop(step.name, None)
        return
    data = files.setdefault(step.name, bytearray())
    if step.call == "truncate":
        del data[step.at :]
        data.extend(bytes(step.at - len(data)))
    else:
        data.extend(bytes(max(0, step.at - len(data))))
        data[step.at : step.at + len(step.data)] = step.data


# the check


@dataclass
class Promises:
    """What a rule was told is stored, and may rely on."""

    seqs: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)

    def hear(self, line: bytes) -> None:
        """Take a line of `told`."""
        values = json.loads(line)
        for one in values.get("given_up", ()):
            self.waiting.pop(one, None)
        if "incident" in values:
            self.seqs[values["incident"]] = values["seq"]
            self.waiting |= values["waiting"]

    def check(self, folder: Path) -> None:
        """Open the outbox that a cut has left; raises AssertionError where a promise is broken."""
        outbox = Outbox(folder / "outbox.db", lambda: LATER_S)
        try:
            aside = [path.name for path in folder.iterdir() if "damaged" in path.name]
            assert not aside, f"the outbox was taken for damaged: {aside}"
            seqs = {row.incident: json.loads(row.state)["seq"] for row in outbox.incidents()}
            lost = {one for one, seq in self.seqs.items() if seqs.get(one, 0) < seq}
            assert not lost, f"incidents that a rule was told are stored: {lost}"
            there: dict[str, str] = {}
            # of an incident the next message comes when the one before it is there
            while due := outbox.due(10**6, 10**9):
                there |= {one.id: hashlib.sha256(one.payload).hexdigest() for one in due}
                outbox.acknowledge(Acknowledgement(stored=tuple(one.id for one in due)))
            missing = {one for one, digest in self.waiting.items() if there.get(one) != digest}
            assert not missing, f"messages or pictures that were to be sent: {missing}"
        finally:
            outbox.close()


def check_every_prefix(steps: list[Step], variants: int, stride: int = 1) -> dict[str, int]:
    """Cut the power after each step (each `stride`th), in so many ways; returns figures."""
    disk, promises, chance = Disk(), Promises(), random.Random(2)
    figures = {"steps": len(steps), "syncs": sum(step.call == "sync" for step in steps), "reopened": 0}
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as name:
        folder = Path(name) / "box"
        for number, step in enumerate(steps):
            if step.call == "told":
                promises.hear(step.data)
            else:
                disk.take(step)
            if number % stride and step.call != "told":
                continue
            ways = [[], disk.pending, *(disk.some(chance) for _ in range(variants))]
            for kept in ways if disk.pending else ways[:1]:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                for file, data in disk.after_cut(kept).items():
                    (folder / file).write_bytes(data)
                try:
                    promises.check(folder)
                except Exception as fault:
                    raise AssertionError(
                        f"power cut after step {number} ({step}), kept {len(kept)}: {fault}"
                    ) from fault
                figures["reopened"] += 1
    figures["promises"] = len(promises.seqs)
    return figures


def measure(incidents: int, variants: int, stride: int = 1) -> dict[str, int]:
    """Trace an outbox's life and cut the power all along it."""
    with tempfile.TemporaryDirectory() as name:
        return check_every_prefix(record(Path(name), incidents), variants, stride)


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
