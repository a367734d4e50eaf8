"""What time it is, and how far that can be trusted."""

import ctypes
import time
from dataclasses import dataclass
from typing import Final

from agent.box.identity import boot_id
from protocol.messages import ClockReport

_STA_UNSYNC: Final = 0x0040
_STA_NANO: Final = 0x2000


class _Timex(ctypes.Structure):
    """The head of the kernel's `struct timex` (adjtimex(2)); the rest is room that it fills."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


@dataclass(frozen=True)
class Clock:
    """The real clock; tests hand in another."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump, for deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def report(self) -> ClockReport:
        """Say what the kernel knows of the clock."""
        state, offset_s = _kernel_state()
        uptime_s = round(time.clock_gettime(time.CLOCK_BOOTTIME), 1)
        return ClockReport(state=state, offset_s=offset_s, boot_id=boot_id(), uptime_s=uptime_s)


def _kernel_state() -> tuple[str, float | None]:
    timex = _Timex()
    if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
        return "unknown", None
    if timex.status & _STA_UNSYNC:
        return "unsynchronised", None
    return "synchronised", round(timex.offset / (1e9 if timex.status & _STA_NANO else 1e6), 6)
