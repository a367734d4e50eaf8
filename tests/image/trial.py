"""The story of a box: claimed, first ticket, updates good and bad, cuts of the power; and whether anything was lost."""

import json
import random
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
from tests.image.machine import Machine, read_data
from tests.services import Process, run

BOOT_S, UPDATE_S = 1200.0, 3600.0
"""What an emulated start, and an update, may take where others use the machine as well."""
LOST = ("lost", "lost_messages", "lost_pictures", "doubled", "without_ticket")
WITNESS = """
import sqlite3, time
told = 0
while True:
    try:
        db = sqlite3.connect("file:/var/lib/cityeye/outbox.db?mode=ro", uri=True)
        query = "select number, id, kind from outgoing where number > ? order by number"
        for told, name, kind in db.execute(query, (told,)):
            if kind == "incident":
                print(name, flush=True)
        db.close()
    except sqlite3.Error:
        pass
    time.sleep(0.5)
"""
"""Runs on the box: says what its outbox has committed."""

PYTHON = "/opt/cityeye/bin/python -I"
WAITING = """
import sqlite3
db = sqlite3.connect("file:/var/lib/cityeye/outbox.db?mode=ro", uri=True)
print(*db.execute("select count(*) from outgoing where state in ('behind', 'ready')").fetchone())
"""

Say = Callable[[str], None]


@dataclass
class Trial:
    """One box through its story; `figures` is what was seen."""

    center: Center
    machine: Machine
    folder: Path
    ssh_port: int
    chance: random.Random
    say: Say
    figures: dict[str, Any] = field(default_factory=dict)
    boot_id: str = ""
    witness: Process | None = None
    rollout: int = 0
    """The last one before that which goes on."""

    def ssh(self, command: str) -> list[Any]:
        """The command line that runs something on the box, as root."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=20")
        flags = [part for option in options for part in ("-o", option)]
        return ["ssh", *flags, "-i", self.center.ssh, "-p", str(self.ssh_port), "root@127.0.0.1", command]

    def ask(self, command: str, typed: str = "") -> str:
        """Run something on the box; empty where it does not answer."""
        try:
            return run(*self.ssh(command), typed=typed, timeout_s=90).stdout
        except subprocess.TimeoutExpired:
            return ""

    def system(self) -> dict[str, Any]:
        """What the box has said of its slots: `system/reported`."""
        row = self.center.box()
        return {} if row is None or row.system is None else dict(json.loads(row.system))

    # power

    def heard(self) -> float:
        """Wait for a start that the center has not heard of; returns the box's uptime at its `status`, seconds."""

        def new() -> bool:
            row = self.center.box()
            # the second is known with its first health, a moment later
            return row is not None and row.state == "online" and row.boot_id == row.clock_boot != self.boot_id

        until(new, f"the box is heard of; its console: {self.machine.console()[-1500:]}", BOOT_S)
        row = self.center.box()
        assert row is not None
        self.boot_id = row.boot_id
        uptime_s = (row.state_since_ms - (row.started_ms or 0)) / 1000
        self.say(f"  heard {self.machine.up_s:.0f} s after power came, {uptime_s:.1f} s after the kernel's start")
        if self.witness is not None:
            self.witness.stop()
        path = self.folder / f"outbox.{self.machine.starts}"
        self.witness = Process(self.ssh(f"{PYTHON} -uc '{WITNESS}'"), path)
        return uptime_s

    def cut(self) -> None:
        """Take the power away at this very moment."""
        up_s, lost = self.machine.up_s, self.machine.cut(self.chance)
        self.say(f"cut {self.machine.cuts}, {up_s:.0f} s after power came: {lost} sectors lost")

    def cut_within(self, seconds: float, *, heard: bool = True) -> None:
        """Cut the power at a random moment of the next seconds and give it back; `heard`: wait for it."""
        time.sleep(self.chance.uniform(0, seconds))
        self.cut()
        self.machine.start()
        if heard:
            self.heard()

    def incident(self) -> None:
        """Wait for one that the center has not heard of."""
        known = set(self.center.incidents())
        until(lambda: set(self.center.incidents()) - known, "a new incident comes", BOOT_S)

    # updates

    def roll_out(self, bundle: Path, version: str) -> None:
        """As an admin does."""
        self.rollout = self.system().get("rollout") or 0
        self.center.fleet.command("boxes", "systems", "add", bundle)
        self.center.fleet.command("boxes", "systems", "rollout", version)
        self.say(f"roll-out of {version}")

    def ends(self, *states: str) -> None:
        """Wait until the roll-out has come to an end on the box."""

        def over() -> bool:
            now = self.system()
            return (now.get("rollout") or 0) > self.rollout and now["state"] in states and not now["trial"]

        until(over, f"the roll-out is {' or '.join(states)}", UPDATE_S)
        now = self.system()
        self.say(f"  {now['state']}: version {now['version']} in slot {now['slot']}. {now['text']}")
        self.heard_again()

    def heard_again(self) -> None:
        """What started anew by itself is heard of."""
        row = self.center.box()
        if row is None or row.boot_id != self.boot_id:
            self.heard()

    # the books

    def close(self) -> dict[str, Any]:
        """Let all reach the center, end the box in order, and compare its outbox with what the center has."""
        until(lambda: self.ask(f"{PYTHON} -", typed=WAITING).strip() == "0", "the outbox is empty", BOOT_S)
        self.ask("systemctl poweroff")
        assert self.machine.ended(120), "expected the box to end in order"
        path = self.folder / "outbox.db"
        disk = self.machine.disk.path
        for suffix in ("", "-wal"):
            read_data(disk, offset_of(disk, "data"), f"/cityeye/outbox.db{suffix}", path.with_name(path.name + suffix))
        ledger = read_ledger(path)
        fleet = self.center.fleet
        found = compare(ledger, fleet.store, PictureFiles(fleet.config.data_dir / "evidence"))
        seen = {line for one in self.folder.glob("outbox.[0-9]*") for line in one.read_text().split()}
        ids = {line.rpartition(":")[0] for line in seen if ":" in line}
        found["witnessed"] = len(ids)
        found["lost"] = max(found["lost"], len(ids - set(self.center.incidents())))
        found.pop("behind")
        return found


def until(condition: Callable[[], Any], what: str, limit_s: float) -> None:
    """Look each second whether something has come true."""
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, f"not within {limit_s:.0f} s: {what}"
        time.sleep(1)


def read_ledger(path: Path) -> Ledger:
    """What an outbox says was committed."""
    ledger = Ledger()
    with sqlite3.connect(path) as db:
        for name, kind in db.execute("select id, kind from outgoing order by number"):
            if kind == "incident":
                incident, _, seq = name.rpartition(":")
                ledger.seqs[incident] = max(ledger.seqs.get(incident, 0), int(seq))
            elif kind == "picture":
                ledger.pictures.setdefault(name.partition(":")[0], set()).add(name)
    return ledger
