"""How much the agent writes to flash, which wears out: counted by the kernel for it and its reading processes."""

import logging
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.findings import Finding

log = logging.getLogger(__name__)

DAY_S: Final = 86400.0
IDLE_BYTES: Final = 200_000_000
"""A day, where nothing happens."""
EACH: Final = 3
"""What is committed goes into the log, from there into the file, and pages are written whole."""


class Writes:
    """What was written within the last day, or since the start; `written` says how much so far."""

    def __init__(self, monotonic: Callable[[], float], written: Callable[[], int | None] | None = None) -> None:
        self._monotonic, self._written = monotonic, written or written_bytes
        self._notes: deque[tuple[float, int, int]] = deque()
        self._over = False
        self.note(0)

    def note(self, owed_bytes: int) -> None:
        """Look; to be called each minute, with what incidents and pictures have brought so far."""
        now_s, written = self._monotonic(), self._written()
        if written is None:
            return
        before = self._notes[-1][1] if self._notes else 0
        self._notes.append((now_s, max(before, written), owed_bytes))
        while now_s - self._notes[0][0] > DAY_S:
            self._notes.popleft()
        over = self.bytes is not None and self.bytes > self.limit_bytes
        if over and not self._over:
            log.warning("%s", self.finding().line())
        self._over = over

    @property
    def bytes(self) -> int | None:
        """Written within the day."""
        return self._notes[-1][1] - self._notes[0][1] if self._notes else None

    @property
    def limit_bytes(self) -> int:
        """What is right for a day with as many incidents."""
        return IDLE_BYTES + (EACH * (self._notes[-1][2] - self._notes[0][2]) if self._notes else 0)

    def finding(self) -> Finding:
        """As the doctor says it."""
        if self.bytes is None:
            return Finding("writes", "ok", "this kernel does not count them")
        hours = (self._notes[-1][0] - self._notes[0][0]) / 3600
        says = f"{self.bytes / 1e6:.0f} MB in {hours:.1f} h; {self.limit_bytes / 1e6:.0f} MB a day are right"
        if self.bytes <= self.limit_bytes:
            return Finding("writes", "ok", says)
        return Finding("writes", "warn", says, "fetch diagnostics and ask: this wears the card out", "many_writes")


def written_bytes(proc: Path = Path("/proc"), pid: int | None = None) -> int | None:
    """What a process, its children and those that it has waited for gave to disks, bytes (proc_pid_io(5))."""
    own = proc / str(pid or os.getpid())
    try:
        counts = dict(line.split(": ") for line in (own / "io").read_text("ascii").splitlines())
        total = int(counts["write_bytes"])
        children = [int(one) for path in own.glob("task/*/children") for one in path.read_text("ascii").split()]
    except (OSError, ValueError, KeyError):
        return None
    return total + sum(written_bytes(proc, child) or 0 for child in children)
