"""What time it is, and how far that can be trusted."""

import contextlib
import ctypes
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from agent.box.identity import boot_id
from protocol.messages import ClockReport

log = logging.getLogger(__name__)

_STA_UNSYNC: Final = 0x0040
_FILE: Final = "clock"
STEP_S: Final = 2.0
LOST_S: Final = 3600.0
"""A box may have been off for so long; more, and its clock was wrong."""
SAMPLES: Final = 8
DRIFT: Final = 50e-6
"""A quartz that nobody disciplines goes wrong by up to this share; an old sample is worth that much less."""


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
class _Sample:
    """The center's clock minus the box's monotonic one, from one answer."""

    ahead_s: float
    error_s: float
    at_s: float


@dataclass
class CenterTime:
    """The center's time, from the answers to messages: the one that came back quickest tells it best (RFC 5905, 10).

    Reckoned against the monotonic clock: what is known stays right when the box's clock is set.
    """

    _samples: deque[_Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES), init=False)

    def heard(self, center_s: float, asked_s: float, heard_s: float) -> None:
        """Take an answer.

        Args:
            center_s: the center's clock as it answered, seconds since the epoch.
            asked_s: monotonic, when the message was sent.
            heard_s: monotonic, when the answer came.
        """
        if heard_s >= asked_s:
            middle_s = (asked_s + heard_s) / 2
            self._samples.append(_Sample(center_s - middle_s, (heard_s - asked_s) / 2, heard_s))

    def offset(self, box_s: float, monotonic_s: float) -> tuple[float, float] | None:
        """The center's clock minus the box's, and how far that may be off, seconds; None where nothing is known."""
        if not self._samples:
            return None
        worth = [(one.error_s + DRIFT * (monotonic_s - one.at_s), one.ahead_s) for one in list(self._samples)]
        error_s, ahead_s = min(worth)
        return ahead_s - (box_s - monotonic_s), error_s


@dataclass
class Clock:
    """The real clock; tests hand in another."""

    center: CenterTime = field(default_factory=CenterTime)
    lost_s: float = field(default=0.0, init=False)
    """By how much what was kept under an earlier clock is to be moved: that one was never right, this one is."""
    _trusted: bool = field(default=False, init=False)
    """Whether the kernel's clock was disciplined since the start."""
    _least: tuple[float, float] | None = field(default=None, init=False)
    """A time that was once reached, and when it was recalled, by the monotonic clock."""
    _ahead_s: float | None = field(default=None, init=False)
    """The time minus the monotonic clock, since the kernel's was first followed."""
    _astray: bool = field(default=False, init=False)

    def now(self) -> float:
        """Seconds since the epoch.

        It begins as the kernel's, but not before what it was known to be at the last start. Then it follows that one
        where it does not jump (see `follow`).
        """
        return self._system_s() if self._ahead_s is None else self.monotonic() + self._ahead_s

    def _system_s(self) -> float:
        now_s = time.time()
        if self._least is not None:
            least_s = self._least[0] + self.monotonic() - self._least[1]
            if now_s < least_s and not kernel_synchronised():
                return least_s
        return now_s

    def follow(self) -> bool:
        """Follow the kernel's clock; to be called every few seconds. Says whether there is a jump to be followed.

        Until the clock was disciplined for the first time, it may be wrong by years, and the jump that sets it right is
        followed with all that goes by it (see `jump`). After that none is: a day that somebody adds by mistake would
        turn minutes into a day, and what stands there would have stood for long.
        """
        if self._ahead_s is None:
            self._ahead_s = self._system_s() - self.monotonic()
        step_s = self._system_s() - self.now()
        far = abs(step_s) > STEP_S
        if not far:
            self._ahead_s += step_s
            self._trusted = self._trusted or bool(kernel_synchronised())
        elif self._trusted and not self._astray:
            log.warning("the clock was set by %+.0f s; not followed until the agent is started again", step_s)
        self._astray = far and self._trusted
        return far and not self._trusted

    def jump(self) -> float:
        """Follow a jump; returns by how many seconds."""
        step_s = self._system_s() - self.now()
        if self._ahead_s is None or self._trusted or abs(step_s) <= STEP_S:
            return 0.0
        self._ahead_s += step_s
        log.warning("the clock was set by %+.0f s for the first time; what goes on is moved with it", step_s)
        return step_s

    def monotonic(self) -> float:
        """Seconds that never jump, for deadlines."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def recall(self, folder: Path) -> None:
        """Read what time it was when the box ran last: a box without a battery starts in 1970 after a power cut."""
        with contextlib.suppress(OSError, ValueError):
            at, *unsure = (folder / _FILE).read_text("ascii").split()
            self._least = float(at), self.monotonic()
            gap_s = time.time() - self._least[0]
            if unsure and abs(gap_s) > LOST_S and kernel_synchronised():
                self.lost_s = gap_s

    def not_before(self, at_s: float | None) -> None:
        """Something happened then: as long as nobody disciplines the clock, it is later now."""
        if at_s is not None and (self._least is None or at_s > self._least[0]):
            self._least = at_s, self.monotonic()

    def remember(self, folder: Path) -> None:
        """Leave the time in the state folder for the next start."""
        part = folder / f"{_FILE}.part"
        with contextlib.suppress(OSError):
            part.write_text(f"{self.now():.0f}{'' if self._trusted else ' unsure'}", "ascii")
            part.replace(folder / _FILE)

    def heard(self, center_s: float, asked_s: float, heard_s: float) -> None:
        """Take the center's time from an answer; what was recalled is given up if it was ahead of that."""
        self.center.heard(center_s, asked_s, heard_s)
        if self._least is not None and self._least[0] > center_s:
            self._least = None

    def report(self) -> ClockReport:
        """Say what is known of the clock."""
        known = kernel_synchronised()
        state = "unknown" if known is None else "synchronised" if known and not self._astray else "unsynchronised"
        offset = self.center.offset(self.now(), self.monotonic())
        return ClockReport(
            state=state,
            offset_s=None if offset is None else round(offset[0], 3),
            offset_error_s=None if offset is None else round(offset[1], 3),
            boot_id=boot_id(),
            uptime_s=round(time.clock_gettime(time.CLOCK_BOOTTIME), 1),
        )


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def kernel_synchronised() -> bool | None:
    """Whether the kernel's clock is disciplined by somebody (NTP); None where it does not say."""
    timex = _Timex()
    if _libc().adjtimex(ctypes.byref(timex)) < 0:
        return None
    return not timex.status & _STA_UNSYNC
