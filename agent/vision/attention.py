"""Where the detector looks: one detector for all cameras of a box, and a share of its processor.

A camera asks at each sample, and says how soon it wants a look. As long as all wishes together cost no more than the
budget, each is granted. Else those who want more than their share get that share: looks as good as ever, only more
rarely. So nobody starves, quiet cameras feel nothing of busy ones, and how late a look may be is known.

The budget is what the settings say at most, and less where the box has to do too much else: pictures that nobody gets
round to are worse than looks that come more rarely.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

AWAY_S: Final = 120.0
"""A camera that asked for nothing for so long has no part in the budget."""
EARLY: Final = 0.25
"""Share of an interval by which a sample may come too early and still be looked at: the next one may be far away."""
HALF: Final = 0.55
"""Of the distance of two samples; a little more, as clocks waver."""
FULL: Final = 0.83
"""Share of its cores that a box is kept below by looking more rarely: beyond it, work waits in line."""
LEAST: Final = 0.05
"""Share of its budget that is left in any case: each camera is to decide, however late."""
FOLLOW: Final = 0.5
"""Of the cores that are too many or too few, so many are taken from the budget at a time."""
WAITS: Final = 2000
COSTS: Final = 32
SMOOTH: Final = 0.1


@dataclass(frozen=True)
class AttentionFigures:
    """What the detector was doing.

    Args:
        looks: since the start, closer ones included.
        stretch: the largest factor by which intervals are longer than wanted; 1 while the budget suffices.
        wait_p50_s: time from a granted look to its beginning, half of the last ones.
        wait_p99_s: nearly all of them.
        late_s: the longest time that a look at a changed scene has come after it was wanted, of the last ones.
        look_s: time that a look at a whole picture takes, half of the last ones; None where there was none.
    """

    looks: int
    stretch: float
    wait_p50_s: float
    wait_p99_s: float
    late_s: float
    look_s: float | None


@dataclass
class _Line:
    """Where looks wait for one of the workers: whoever was let in first goes first, with all of its closer looks.

    If all took turns, each would hold up its camera until nearly all were done.
    """

    workers: int
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _waiting: list[tuple[int, int]] = field(default_factory=list, init=False)
    _working: int = field(default=0, init=False)
    _tickets: int = field(default=0, init=False)

    @property
    def full(self) -> bool:
        """Whether as many wait as there are workers."""
        return len(self._waiting) >= self.workers

    @contextmanager
    def turn(self, rank: int) -> Iterator[None]:
        """Wait, and be inside; lower ranks go first."""
        with self._changed:
            self._tickets += 1
            ticket = rank, self._tickets
            heapq.heappush(self._waiting, ticket)
            while self._working >= self.workers or self._waiting[0] != ticket:
                self._changed.wait()
            heapq.heappop(self._waiting)
            self._working += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()


@dataclass
class _Customer:
    """One camera."""

    every_s: float = 0.0
    asked_s: float = float("-inf")
    sample_s: float = 1.0
    looked_s: float = float("-inf")
    wanted_since_s: float | None = None
    rank: int = 0
    """In which order it was let in."""
    looks: dict[bool, float] = field(default_factory=dict)
    """Usual ones and others since the last one was granted, which they belong to; a look at a part is a part of one."""
    usual: float = 1.0
    others: float = 0.0
    """How many of both a granted look brings with it, smoothed."""

    @property
    def paced_s(self) -> float:
        """Time between two looks that it wants; more than one a sample there cannot be."""
        return max(self.every_s, self.sample_s, 0.05)

    def load(self, usual_s: float, other_s: float) -> float:
        """Processor seconds a second that it wants, of what a usual look and another one cost."""
        return (self.usual * usual_s + self.others * other_s) / self.paced_s


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
    left: float = field(init=False)
    """Of the budget, what the rest of the box leaves."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _line: _Line = field(init=False)
    _ranks: int = field(default=0, init=False)
    _costs_s: dict[bool, deque[float]] = field(init=False)
    _waits_s: deque[float] = field(default_factory=lambda: deque(maxlen=WAITS), init=False)
    _late_s: deque[float] = field(default_factory=lambda: deque(maxlen=WAITS), init=False)
    _looks: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.left = self.budget
        self._line = _Line(self.workers)
        self._costs_s = {usual: deque(maxlen=COSTS) for usual in (True, False)}

    def ask(self, camera: str, every_s: float, at_s: float, *, changed: bool = True) -> bool:
        """Ask for a look at a sample; says whether it may be taken.

        Where others wait already, it may not: what comes with the next sample is as good, and no picture waits.

        Args:
            camera: its id.
            every_s: at most so long after the last one; 0: at each sample.
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
            customer.asked_s, customer.every_s = at_s, every_s
            if changed and customer.wanted_since_s is None:
                customer.wanted_since_s = at_s
            stretch = self._stretch(customer, at_s)
            interval_s = every_s if stretch <= 1 else stretch * customer.paced_s
            if (
                at_s - customer.looked_s < interval_s - min(EARLY * interval_s, HALF * customer.sample_s)
                or self._line.full
            ):
                return False
            if customer.wanted_since_s is not None:
                self._late_s.append(max(0.0, at_s - customer.wanted_since_s - every_s))
            if customer.looks:
                customer.usual += SMOOTH * (customer.looks.get(True, 0.0) - customer.usual)
                customer.others += SMOOTH * (customer.looks.get(False, 0.0) - customer.others)
                customer.looks.clear()
            customer.looked_s, customer.wanted_since_s = at_s, None
            self._ranks += 1
            customer.rank = self._ranks
            return True

    @contextmanager
    def turn(self, camera: str, *, usual: bool = True, share: float = 1.0) -> Iterator[None]:
        """Wait until a look may be taken, and take it inside.

        Args:
            camera: on whose account.
            usual: by the detector; another one costs something else.
            share: of the pixels of a look at a whole picture, which it costs as much of.
        """
        asked_s = self.timer()
        with self._lock:
            rank = self._customers.setdefault(camera, _Customer()).rank
        with self._line.turn(rank):
            began_s = self.timer()
            yield
            spent_s = self.timer() - began_s
        with self._lock:
            self._looks += 1
            self._waits_s.append(began_s - asked_s)
            self._costs_s[usual].append(spent_s * self.threads / share)
            looks = self._customers.setdefault(camera, _Customer()).looks
            looks[usual] = looks.get(usual, 0.0) + share

    @property
    def figures(self) -> AttentionFigures:
        """What was done so far."""
        with self._lock:
            waits = sorted(self._waits_s) or [0.0]
            here = list(self._customers.values())
            latest_s = max((one.asked_s for one in here), default=0.0)
            return AttentionFigures(
                looks=self._looks,
                stretch=round(max((self._stretch(one, latest_s) for one in here), default=1.0), 2),
                wait_p50_s=round(waits[len(waits) // 2], 4),
                wait_p99_s=round(waits[len(waits) * 99 // 100], 4),
                late_s=round(max(self._late_s, default=0.0), 2),
                look_s=round(median(self._costs_s[True]) / self.threads, 4) if self._costs_s[True] else None,
            )

    def _stretch(self, customer: _Customer, at_s: float) -> float:
        """Factor by which a camera's interval is longer than it wants.

        Nobody gets more than an equal share of what is left when all who want less have got what they want (max-min
        fairness: Bertsekas and Gallager, Data Networks, 6.5.2).
        """
        if self.left == float("inf"):
            return 1.0
        # as they are, not as they would be on an idle box: cores that share one's units are slower together
        usual_s, other_s = (median(self._costs_s[usual] or [0.0]) for usual in (True, False))
        here = [one for one in self._customers.values() if at_s - one.asked_s < AWAY_S]
        loads = sorted(one.load(usual_s, other_s) for one in here)
        left, most = self.left, float("inf")
        for number, load in enumerate(loads):
            share = left / (len(loads) - number)
            if load > share:
                most = share
                break
            left -= load
        return max(1.0, customer.load(usual_s, other_s) / most)

    def fit(self, busy: float, cores: int) -> None:
        """Take from the budget, or give back, what keeps the box below FULL; to be called every few seconds.

        Args:
            busy: cores that were busy since the last time, with all that runs on the box.
            cores: that there are.
        """
        with self._lock:
            self.left += FOLLOW * (FULL * cores - busy)
            self.left = min(self.budget, max(LEAST * self.budget, self.left))

    def forget_figures(self) -> None:
        """Begin anew with what `figures` says of the last looks."""
        with self._lock:
            self._waits_s.clear()
            self._late_s.clear()
