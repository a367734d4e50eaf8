"""How often somebody may fail, or ask."""

import ipaddress
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

WINDOW_S: Final = 600.0
PER_ADDRESS: Final = 10
IN_ALL: Final = 1000
ADDRESSES: Final = 10_000
"""That are remembered; the oldest are forgotten, and count in all the same."""
LOOK_S: Final = 60.0
LOOKS: Final = 60
"""That an address without a key has in a minute; a list costs up to 1,000 requests' reading."""
LOOKS_IN_ALL: Final = 1200
"""Of all addresses: 20 a second."""


class RateLimit:
    """Counts what somebody did in the last minutes, by address and in all: failures of ten minutes, or looks of one.

    With 85 random bits nobody guesses a code; this keeps guessing from costing anything.

    Args:
        monotonic: seconds that never jump.
        per_address: that one may have in `window_s`; `in_all`: all together.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        per_address: int = PER_ADDRESS,
        in_all: int = IN_ALL,
        window_s: float = WINDOW_S,
    ) -> None:
        self._monotonic = monotonic
        self._per_address, self._in_all, self._window_s = per_address, in_all, window_s
        self._lock = threading.Lock()
        self._all: deque[float] = deque(maxlen=in_all)
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """How long this address has to wait; 0: not at all."""
        now_s = self._monotonic()
        with self._lock:
            own = self._by_address.get(network_of(address), deque())
            waits = [
                times[0] + self._window_s - now_s
                for times, most in ((own, self._per_address), (self._all, self._in_all))
                if len(times) >= most
            ]
        return max([0.0, *waits])

    def count(self, address: str) -> None:
        """One more failure of this address."""
        now_s = self._monotonic()
        network = network_of(address)
        with self._lock:
            self._all.append(now_s)
            self._by_address.setdefault(network, deque(maxlen=self._per_address)).append(now_s)
            self._by_address.move_to_end(network)
            while len(self._by_address) > ADDRESSES:
                self._by_address.popitem(last=False)


def network_of(address: str) -> str:
    """One subscriber: an IPv4 address, or the /64 that an IPv6 address is in."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if parsed.version == 6:
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def looks_of_anybody(monotonic: Callable[[], float]) -> RateLimit:
    """What who does not sign in may look at: each look works something out."""
    return RateLimit(monotonic, per_address=LOOKS, in_all=LOOKS_IN_ALL, window_s=LOOK_S)
