"""Gathering: no more people than a place bears, for longer than its dwell."""

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from agent.rules.life import Breach, Sighting
from protocol.geometry import polygon_bounds
from protocol.messages import People
from protocol.settings import GatheringZone

SMOOTHING: Final = 3
"""Samples whose median is the count: one missed or doubled person is no change."""
RELEASE: Final = 0.9
"""Hysteresis: a crowd is over only at this share of the limit, and at least one person, below it."""

OVER: Final = "over"
WITHIN: Final = "within"


@dataclass
class Gathering:
    """The count of one zone over time."""

    zone: GatheringZone
    _counts: deque[tuple[float, int, bool]] = field(default_factory=lambda: deque(maxlen=SMOOTHING), init=False)
    _over_since_s: float | None = field(default=None, init=False)
    _below_since_s: float | None = field(default=None, init=False)

    def count(self, at_s: float, people: int, *, lower_bound: bool) -> None:
        """Take one count of people whose feet are in the zone."""
        self._counts.append((at_s, people, lower_bound))
        smooth = self.smooth
        release = min(self.zone.max_people - 1, math.floor(RELEASE * self.zone.max_people))
        if smooth > self.zone.max_people:
            self._below_since_s = None
            if self._over_since_s is None:
                # the first of the samples that made the median rise
                self._over_since_s = min(when for when, n, _ in self._counts if n > self.zone.max_people)
        elif smooth <= release:
            self._over_since_s = None
            if self._below_since_s is None:
                self._below_since_s = at_s

    @property
    def smooth(self) -> int:
        """Median of the last counts, the higher one of two in the middle rounded down."""
        return int(median(people for _, people, _ in self._counts))

    @property
    def people(self) -> People:
        """What a message says of the count."""
        level = OVER if self._over_since_s is not None else WITHIN
        return People(count=self.smooth, lower_bound=any(bound for _, _, bound in self._counts), level=level)

    def breaches(self, at_s: float) -> list[Breach]:
        """Tell a crowd that has been there for the zone's dwell."""
        if self._over_since_s is None or at_s - self._over_since_s < self.zone.dwell_s:
            return []
        return [Breach(polygon_bounds(self.zone.polygon), self._over_since_s, people=self.people)]

    def sighting(self) -> Sighting:
        """Say what is seen at the zone, its only place: between the two limits an incident goes on."""
        if not self._counts:
            return Sighting("not_seen")
        if self._below_since_s is not None and not self.people.lower_bound:
            return Sighting("clear", clear_since_s=self._below_since_s)
        return Sighting("occupied", people=self.people)
