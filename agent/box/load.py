"""How busy the box is, with all that runs on it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

STAT: Final = Path("/proc/stat")
_IDLE: Final = (3, 4)
"""Of a line of /proc/stat: idle, and idle while something is read from a disk (proc(5))."""
_COUNTED: Final = 8
"""What guests use comes after these, and is in `user` already; what another guest took from this one is the eighth."""


@dataclass
class Load:
    """Cores in use, of those that this process may use.

    Args:
        read: gives what /proc/stat says.
    """

    read: Callable[[], str] = STAT.read_text
    _before: tuple[int, int] | None = field(default=None, init=False)

    def busy_share(self) -> float | None:
        """Share of their time since it was last asked in which the cores were busy; None where that is not known."""
        try:
            now = self._ticks()
        except (OSError, ValueError, IndexError):
            return None
        before, self._before = self._before, now
        if before is None or now[1] <= before[1]:
            return None
        return (now[0] - before[0]) / (now[1] - before[1])

    def _ticks(self) -> tuple[int, int]:
        """Busy ones and all, since the start."""
        ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        busy = total = 0
        for name, *fields in map(str.split, self.read().splitlines()):
            if name in ours:
                ticks = [int(one) for one in fields[:_COUNTED]]
                total += sum(ticks)
                busy += sum(ticks) - sum(ticks[number] for number in _IDLE)
        return busy, total
