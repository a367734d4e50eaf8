"""A box given power, updated, cut; and the books: what its outbox committed against what the center has."""

import json
import random
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collector.evidence.files import PictureFiles
from deploy.image.personalise import offset_of
from tests.faults.books import Ledger, compare
from tests.image.center import Center
from tests.image.machine import Machine
from tests.services import Process, run

BOOT_S, UPDATE_S = 1200.0, 5400.0
"""Patience, for where others use the machine as well."""
LOST = ("lost", "lost_messages", "lost_pictures", "doubled", "without_ticket")
PYTHON = "/opt/cityeye/bin/python -I"
WITNESS = """
import sqlite3, time
db = sqlite3.connect("file:/var/lib/cityeye/outbox.db?mode=ro", uri=True)
told = set()
while True:
    for row in db.execute("select id, state from outgoing where kind = ?", ("incident",)).fetchall():
        if row not in told:
            told.add(row)
            print(*row, flush=True)
    time.sleep(1)
"""
"""Runs on the box: says what was committed, so that a cut cannot make it forgotten, and what of it the center has."""


@dataclass
class Trial:
    """One box; `figures` is what was seen."""

    center: Center
    machine: Machine
    folder: Path
    ssh_port: int
    say: Callable[[str], None]
    chance: random.Random = field(default_factory=random.Random)
    figures: dict[str, Any] = field(default_factory=dict)
    boot_id: str = ""
    witness: Process | None = None
    rollout: int = 0
    """The one before that which goes on."""

    def ssh(self, command: str) -> list[Any]:
        """The command line that runs something on the box, as root."""
        options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=60"
        return ["ssh", *options.split(), "-i", self.center.ssh, "-p", self.ssh_port, "root@127.0.0.1", command]

    def heard(self) -> float:
        """Wait for a start that the center has not heard of; returns the box's uptime at its `status`, seconds."""

        def new() -> bool:
            row = self.center.box()
            # the second is known with its first health, a moment later
            return row.state == "online" and row.boot_id == row.clock_boot != self.boot_id

        self.until(new, "the box is heard of", BOOT_S)
        row = self.center.box()
        self.boot_id = row.boot_id
        uptime_s = (row.state_since_ms - (row.started_ms or 0)) / 1000
        self.say(f"  heard {self.machine.up_s:.0f} s after power came, {uptime_s:.1f} s after the kernel's start")
        if self.witness is not None:
            self.witness.stop()
        self.witness = Process(self.ssh(f"{PYTHON} -c '{WITNESS}'"), self.folder / f"outbox.{self.boot_id}")
        return uptime_s

    def cut_within(self, seconds: float, *, heard: bool = True) -> None:
        """Cut the power at a random moment of the next seconds and give it back; `heard`: wait for it."""
        time.sleep(self.chance.uniform(0, seconds))
        up_s, lost = self.machine.up_s, self.machine.cut(self.chance)
        self.say(f"cut {self.machine.cuts}, {up_s:.0f} s after power came: {lost} sectors lost")
        self.machine.start()
        if heard:
            self.heard()

    def incident(self) -> None:
        """Wait for one that the center has not heard of."""
        known = self.center.incidents()
        self.until(lambda: self.center.incidents() - known, "a new incident comes", BOOT_S)

    def roll_out(self, bundle: Path, version: str) -> None:
        """As an admin does."""
        self.rollout = self._system().get("rollout") or 0
        self.center.fleet.command("boxes", "systems", "add", bundle)
        self.center.fleet.command("boxes", "systems", "rollout", version)
        self.say(f"roll-out of {version}")

    def ends(self, *states: str) -> None:
        """Wait until the roll-out has come to an end, as the box reports it."""

        def over() -> bool:
            now = self._system()
            return (now.get("rollout") or 0) > self.rollout and now["state"] in states and not now["trial"]

        self.until(over, f"the roll-out is {' or '.join(states)}", UPDATE_S)
        now = self._system()
        self.say(f"  {now['state']}: version {now['version']} in slot {now['slot']}. {now['text']}")
        if self.center.box().boot_id != self.boot_id:
            self.heard()

    def _system(self) -> dict[str, Any]:
        return dict(json.loads(self.center.box().system or "{}"))

    def until(self, condition: Callable[[], Any], what: str, limit_s: float) -> None:
        """Look each second whether something has come true."""
        end_s = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < end_s, f"not within {limit_s:.0f} s: {what}; {self.machine.console()[-1500:]}"
            time.sleep(1)

    def _all_stored(self) -> bool:
        """As the witness of this start says, which begins with all that there is."""
        states = dict(_lines(self.folder / f"outbox.{self.boot_id}"))
        return bool(states) and not {"ready", "behind"} & {*states.values()}

    def close(self) -> None:
        """Let all reach the center, end the box in order, and compare the books."""
        self.until(self._all_stored, "the center has all", BOOT_S)
        run(*self.ssh("systemctl poweroff"))
        self.machine.process.wait(300)
        self.machine.disk.flush()
        disk, path = self.machine.disk.path, self.folder / "outbox.db"
        device = f"{disk}?offset={offset_of(disk, 'data')}"
        for end in ("", "-wal"):
            subprocess.run(["debugfs", "-R", f"dump /cityeye/outbox.db{end} {path}{end}", device], check=False)
        fleet = self.center.fleet
        found = compare(read_ledger(path), fleet.store, PictureFiles(fleet.config.data_dir / "evidence"))
        seen = {name.partition(":")[0] for log in self.folder.glob("outbox.*-*") for name, _ in _lines(log)}
        found.pop("behind")  # of incidents that end by being seen clear
        found["lost"] += len(seen - self.center.incidents())
        self.figures |= {"witnessed": len(seen), **found}


def _lines(log: Path) -> list[tuple[str, str]]:
    """Whole ones: message and state."""
    return re.findall(r"(?m)^(\S+:\d+) (\w+)$", log.read_text())


def read_ledger(path: Path) -> Ledger:
    """What an outbox says was committed."""
    ledger = Ledger()
    with sqlite3.connect(path) as db:
        for name, kind in db.execute("select id, kind from outgoing order by number"):
            incident, _, seq = name.partition(":")
            if kind == "incident":
                ledger.seqs[incident] = max(ledger.seqs.get(incident, 0), int(seq))
            elif kind == "picture":
                ledger.pictures.setdefault(incident, set()).add(name)
    return ledger
