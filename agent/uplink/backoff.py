"""How long to wait before the next try to connect, by what the broker said to the last one."""

import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from paho.mqtt.reasoncodes import ReasonCode

FIRST_S: Final = 3.0
MAX_S: Final = 60.0
BUSY_S: Final = (10.0, 300.0)
SHUT_S: Final = (60.0, 600.0)
"""A person has to do something first; boxes that are let in again are back within ten minutes."""

NOT_ALLOWED: Final = frozenset(
    {
        "Client identifier not valid",
        "Bad user name or password",
        "Not authorized",
        "Banned",
        "Bad authentication method",
        "Unsupported protocol version",
    }
)
MOVED: Final = frozenset({"Use another server", "Server moved"})
BUSY: Final = frozenset({"Server busy", "Server unavailable", "Quota exceeded", "Connection rate exceeded"})


@dataclass
class Backoff:
    """Waits that grow from try to try, each a random part of its limit, so that many boxes do not come back in step.

    Args:
        uniform: a random number between two.
    """

    uniform: Callable[[float, float], float] = random.uniform
    _tries: int = field(default=0, init=False)
    _limits: tuple[float, float] = field(default=(FIRST_S, MAX_S), init=False)

    def let_in(self) -> None:
        """The last try worked."""
        self._tries, self._limits = 0, (FIRST_S, MAX_S)

    def refused(self, code: str) -> None:
        """The broker answered with a reason code that means no."""
        limits = SHUT_S if code in NOT_ALLOWED | MOVED else BUSY_S if code in BUSY else (FIRST_S, MAX_S)
        if limits != self._limits:
            self._tries, self._limits = 0, limits

    def next_s(self) -> float:
        """How long to wait before the next try."""
        first_s, max_s = self._limits
        limit_s = min(max_s, first_s * 2 ** min(self._tries, 10))
        self._tries += 1
        return self.uniform(limit_s / 6, limit_s)


def refusal_text(code: ReasonCode, server: str | None) -> str:
    """Say what the broker's refusal means, and what to do."""
    name = str(code)
    if name in MOVED:
        return f"{name}: it names {server or 'no other'}; if that is right, set it as [center] url"
    if name in BUSY:
        return f"{name}; trying again, less often"
    if name in NOT_ALLOWED:
        return f"{name}; is this box enrolled, and are cert and key its own? trying again every few minutes"
    return f"{name}; trying again"


def failure_text(fault: BaseException | None) -> str:
    """Say why no connection came about."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({fault.verify_message}); check ca, and the box's clock"
    if isinstance(fault, ssl.SSLError):
        return f"TLS failed ({fault}); check ca, cert and key"
    if isinstance(fault, OSError) and fault.strerror:
        return f"does not answer ({fault.strerror}); what happens is kept, trying again"
    return "does not answer; what happens is kept, trying again"
