"""Where the detector looks: one detector for all cameras of a box, and a fixed share of its processor.

A camera asks at each sample, and says how soon it wants a look (`Wish`). As long as all wishes together cost no more
than the budget, each is granted; else all intervals are stretched by one factor, so that nobody starves, whoever needs
looks more often still gets them more often, and how late a look may be is known. What the wishes leave of the budget is
spent on closer looks where people are counted.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

AWAY_S: Final = 120.0
"""A camera that asked for nothing for so long has no part in the budget."""
EARLY: Final = 0.25
"""Share of an interval by which a sample may come too early and still be looked at: the next one may be far away."""
WAITS: Final = 2000
COSTS: Final = 32
SMOOTH: Final = 0.1
FREELY_MS: Final = 60_000.0


@dataclass(frozen=True)
class Wish:
    """How soon a camera wants a look.

    Args:
        every_s: at most so long after the last one; 0: at each sample.
        closer: whether people are counted, so that closer looks may be of use.
    """

    every_s: float
    closer: bool = False


@dataclass(frozen=True)
class Grant:
    """A look that may be taken now.

    Args:
        budget_ms: what it may cost with all closer looks.
    """

    budget_ms: float


@dataclass(frozen=True)
class AttentionFigures:
    """What the detector was doing.

    Args:
        looks: since the start, closer ones included.
        stretch: factor of all intervals; 1 while the budget suffices.
        wait_p50_s: time from a granted look to its beginning, half of the last ones.
        wait_p99_s: nearly all of them.
        late_s: the longest time that a look at a changed scene has come after it was wanted, of the last ones.
    """

    looks: int
    stretch: float
    wait_p50_s: float
    wait_p99_s: float
    late_s: float


@dataclass
class _Customer:
    """One camera."""

    wish: Wish = Wish(0.0)
    asked_s: float = float("-inf")
    sample_s: float = 1.0
    looked_s: float = float("-inf")
    wanted_since_s: float | None = None

    @property
    def rate_hz(self) -> float:
        """Looks a second that it wants."""
        return 1 / max(self.wish.every_s, self.sample_s, 0.05)


@dataclass
class Attention:
    """Shares out the detector of one box; may be used by several threads.

    Args:
        budget: processor seconds a second that looks may take; infinite where time does not matter, as in a replay.
        workers: looks at a time; of more, some wait.
        threads: cores that one look keeps busy.
        timer: a clock for costs, s.
    """

    budget: float = float("inf")
    workers: int = 1
    threads: int = 1
    timer: Callable[[], float] = time.perf_counter
    _customers: dict[str, _Customer] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _gate: threading.Semaphore = field(init=False)
    _costs_s: deque[float] = field(default_factory=lambda: deque(maxlen=COSTS), init=False)
    _waits_s: deque[float] = field(default_factory=lambda: deque(maxlen=WAITS), init=False)
    _late_s: deque[float] = field(default_factory=lambda: deque(maxlen=WAITS), init=False)
    _looks: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._gate = threading.Semaphore(self.workers)

    def ask(self, camera: str, wish: Wish, at_s: float, *, changed: bool = True) -> Grant | None:
        """Ask for a look at a sample; None: not this time.

        Args:
            camera: its id.
            wish: how soon it wants one.
            at_s: time of the sample.
            changed: whether the scene has changed since the last look; if not, there is no hurry.
        """
        with self._lock:
            customer = self._customers.setdefault(camera, _Customer())
            gap_s = at_s - customer.asked_s
            if 0 < gap_s < AWAY_S:
                customer.sample_s += SMOOTH * (gap_s - customer.sample_s)
            elif gap_s < 0:  # the box's clock was set back
                customer.looked_s = float("-inf")
            customer.asked_s, customer.wish = at_s, wish
            stretch, spare = self._stretch(at_s)
            if changed and customer.wanted_since_s is None:
                customer.wanted_since_s = at_s
            paced_s = max(wish.every_s, customer.sample_s)
            interval_s = wish.every_s if stretch <= 1 else stretch * paced_s
            since_s = at_s - customer.looked_s
            if since_s < interval_s - min(EARLY * interval_s, customer.sample_s / 2):
                return None
            if customer.wanted_since_s is not None:
                self._late_s.append(max(0.0, at_s - customer.wanted_since_s - wish.every_s))
            customer.looked_s, customer.wanted_since_s = at_s, None
            return Grant(FREELY_MS if spare == float("inf") else (self._cost_s + spare * paced_s) * 1000)

    @contextmanager
    def turn(self, *, usual: bool = True) -> Iterator[None]:
        """Wait until a look may be taken, and take it inside; an unusual one does not tell what looks cost."""
        asked_s = self.timer()
        with self._gate:
            began_s = self.timer()
            yield
            spent_s = self.timer() - began_s
        with self._lock:
            self._looks += 1
            self._waits_s.append(began_s - asked_s)
            if usual:
                self._costs_s.append(spent_s * self.threads)

    @property
    def figures(self) -> AttentionFigures:
        """What was done so far."""
        with self._lock:
            waits = sorted(self._waits_s) or [0.0]
            latest_s = max((customer.asked_s for customer in self._customers.values()), default=0.0)
            return AttentionFigures(
                looks=self._looks,
                stretch=round(self._stretch(latest_s)[0], 2),
                wait_p50_s=round(waits[len(waits) // 2], 4),
                wait_p99_s=round(waits[len(waits) * 99 // 100], 4),
                late_s=round(max(self._late_s, default=0.0), 2),
            )

    @property
    def _cost_s(self) -> float:
        """What a look costs: the fastest of the last ones, as the others say what else the box was doing."""
        return min(self._costs_s, default=0.0)

    def _stretch(self, at_s: float) -> tuple[float, float]:
        """Factor of all intervals, and what is left for closer looks, per camera that counts: seconds a second."""
        if self.budget == float("inf"):
            return 1.0, float("inf")
        here = [customer for customer in self._customers.values() if at_s - customer.asked_s < AWAY_S]
        load = sum(customer.rate_hz for customer in here) * self._cost_s
        counting = sum(customer.wish.closer for customer in here)
        return max(1.0, load / self.budget), max(0.0, self.budget - load) / max(1, counting)
