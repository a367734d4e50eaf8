"""Who is let in: whoever knows the PIN on the box, with few tries."""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

FREE_TRIES: Final = 5
FIRST_WAIT_S: Final = 30.0
LONGEST_WAIT_S: Final = 3600.0
SESSION_S: Final = 4 * 3600.0
MOST_SESSIONS: Final = 8


@dataclass
class Gate:
    """Tries and sessions, in memory: who cuts the power stands before the box.

    Args:
        pin: the right one.
        monotonic: seconds that never jump.
    """

    pin: str
    monotonic: Callable[[], float]
    _failed: int = field(default=0, init=False)
    _not_before_s: float = field(default=float("-inf"), init=False)
    _sessions: "OrderedDict[str, float]" = field(default_factory=OrderedDict, init=False)

    @property
    def wait_s(self) -> float:
        """How long nobody is let in, right PIN or not."""
        return max(0.0, self._not_before_s - self.monotonic())

    def enter(self, pin: str) -> str | None:
        """Begin a session; None for a wrong PIN, or where the gate is shut for a while."""
        if self.wait_s:
            return None
        if not hmac.compare_digest(pin.encode(), self.pin.encode()):
            self._failed += 1
            over = self._failed - FREE_TRIES
            if over >= 0:
                self._not_before_s = self.monotonic() + min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(over, 10))
            return None
        self._failed = 0
        session = secrets.token_urlsafe(32)
        self._sessions[session] = self.monotonic() + SESSION_S
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def knows(self, session: str) -> bool:
        """Whether a session is good."""
        return self._sessions.get(session, float("-inf")) > self.monotonic()
