"""Who is let in: whoever knows the PIN on the box, with few tries."""

import hmac
import secrets
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
    """Tries and sessions, in memory: who cuts the power stands before the box."""

    pin: str
    monotonic: Callable[[], float]
    _failed: int = field(default=0, init=False)
    _not_before_s: float = field(default=float("-inf"), init=False)
    _sessions: dict[str, float] = field(default_factory=dict, init=False)

    @property
    def wait_s(self) -> float:
        """How long nobody is let in, right PIN or not."""
        return max(0.0, self._not_before_s - self.monotonic())

    def enter(self, pin: str) -> str | None:
        """Begin a session; None for a wrong PIN, or while the gate is shut."""
        if self.wait_s:
            return None
        if not hmac.compare_digest(pin.encode("utf-8", "replace"), self.pin.encode()):
            over, self._failed = self._failed + 1 - FREE_TRIES, self._failed + 1
            if over >= 0:
                self._not_before_s = self.monotonic() + min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(over, 10))
            return None
        self._failed = 0
        session = secrets.token_urlsafe(32)
        self._sessions[session] = self.monotonic() + SESSION_S
        if len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return session

    def knows(self, session: str) -> bool:
        """Whether a session is good."""
        return self._sessions.get(session, float("-inf")) > self.monotonic()
