"""Gathering: no more people than a place bears, for longer than its dwell.

```
          count above the limit                 for dwell_s
 within ─────────────────────────▶ over ──────────────────────▶ breach
        ◀─────────────────────────
          seen at RELEASE of the limit or fewer
```

A count that is a lower bound can raise this state, never lower it.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final, Literal

from agent.camera.demand import Demand
from agent.rules.life import Breach, Sighting
from agent.vision.stature import Statures
from protocol.geometry import polygon_bounds
from protocol.messages import People
from protocol.plane import Plane, PlaneError
from protocol.settings import GatheringZone

GAP_S: Final = 130.0
"""Counts come at least every `sample_s` (60 s at most); after twice that, or after three of the intervals to which a
busy box has come, nobody knows what was in between."""
NEAR: Final = 0.7
"""Share of the limit from which each change may be the one that matters."""
NEAR_FPS: Final = 0.5
RARE_FPS: Final = 0.25
COUNTS_IN_DWELL: Final = 4.0
DEMAND_S: Final = 30.0
SMOOTHING: Final = 3
"""Samples whose median is the count: one missed or doubled person is no change."""
RELEASE: Final = 0.9
"""Hysteresis: a crowd is over only at this share of the limit, and at least one person, below it. Levels fall alike."""

OVER: Final = "over"
WITHIN: Final = "within"

SQUARE_FOOT_M2: Final = 0.3048**2
FRUIN_M2: Final = tuple((level, ft2 * SQUARE_FOOT_M2) for level, ft2 in zip("ABCDE", (13, 10, 7, 3, 2), strict=True))
"""Levels of service of people who stand and wait: each with the least area per person, m²; what is below the last one
is F. J. J. Fruin, *Pedestrian Planning and Design*, 1971, queueing: 13, 10, 7, 3 and 2 square feet. In words: A free
circulation, B restricted circulation, C within the comfort of strangers, D without touching, E touching, F pressed."""


def fruin_level(density: float, before: str | None = None) -> str:
    """Name Fruin's level of a standing crowd, `A` (free) to `F` (pressed together).

    Args:
        density: people per m².
        before: the level so far; it falls only when the density is at RELEASE of the boundary or below.
    """
    now = _level(density)
    return now if before is None or now >= before else min(before, _level(density / RELEASE))


def _level(density: float) -> str:
    return next((level for level, area_m2 in FRUIN_M2 if density * area_m2 <= 1), "F")


@dataclass
class Gathering:
    """The count of one zone over time.

    Args:
        zone: its settings.
        plane: the camera's ground plane; None: no density is known.
    """

    zone: GatheringZone
    plane: Plane | None = None
    area_m2: float | None = field(init=False)
    """Ground of the zone, whatever stands on it; None where it is not known, or reaches above the horizon."""
    _limit: int = field(init=False)
    _counts: deque[tuple[float, int, bool]] = field(default_factory=lambda: deque(maxlen=SMOOTHING), init=False)
    _over_since_s: float | None = field(default=None, init=False)
    _below_since_s: float | None = field(default=None, init=False)
    _fruin: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.area_m2 = _ground_m2(self.zone, self.plane)
        limits = [] if self.zone.max_people is None else [self.zone.max_people]
        if self.zone.max_density is not None and self.area_m2 is not None:
            # 0.5 people per m² on 10 m² are 5, also where rounding left a hair less
            limits.append(math.floor(self.zone.max_density * self.area_m2 + 1e-6))
        self._limit = min(limits)

    def count(self, at_s: float, people: int, *, lower_bound: bool) -> None:
        """Take one count of people whose feet are in the zone."""
        if self._counts and at_s - self._counts[-1][0] > max(GAP_S, 3 * self._usual_gap_s):
            # nobody was watched meanwhile: it begins anew
            self._counts.clear()
            self._over_since_s = self._below_since_s = None
        self._counts.append((at_s, people, lower_bound))
        if self.smooth > self._limit:
            self._below_since_s = None
            if self._over_since_s is None:
                # the first of the samples that made the median rise
                self._over_since_s = min(when for when, n, _ in self._counts if n > self._limit)
        elif self.smooth <= self._release and not self._lower_bound:
            self._over_since_s = None
            if self._below_since_s is None:
                self._below_since_s = at_s
        density = self._density
        if density is not None:
            level = fruin_level(density, self._fruin)
            if self._fruin is None or level > self._fruin or not self._lower_bound:
                self._fruin = level

    @property
    def smooth(self) -> int:
        """Median of the last counts, the higher one of two in the middle rounded down."""
        return int(median(people for _, people, _ in self._counts))

    @property
    def _usual_gap_s(self) -> float:
        times_s = [when for when, _, _ in self._counts]
        return max((after - before for before, after in pairwise(times_s)), default=0.0)

    @property
    def over_since_s(self) -> float | None:
        """Since when the limit is exceeded; None where it is not."""
        return self._over_since_s

    @property
    def people(self) -> People:
        """What a message says of the count."""
        over = self._over_since_s is not None
        density = self._density
        return People(
            count=self.smooth,
            lower_bound=self._lower_bound,
            density=None if density is None else round(density, 3),
            over=over,
            level=self._fruin or (OVER if over else WITHIN),
        )

    def breaches(self, at_s: float) -> list[Breach]:
        """Tell a crowd that has been there for the zone's dwell."""
        if self._over_since_s is None or at_s - self._over_since_s < self.zone.dwell_s:
            return []
        if self.smooth <= self._release:
            # saturated: more may be there, which keeps an incident going but opens none
            return []
        return [Breach(polygon_bounds(self.zone.polygon), self._over_since_s, people=self.people)]

    def demand(self, at_s: float, statures: Statures, aspect: float) -> Demand:
        """Ask for counts: more of them near the limit, and enough of them in the time that a crowd must last.

        Args:
            at_s: the time.
            statures: how tall people are.
            aspect: width of the picture by its height.
        """
        near = not self._counts or self._over_since_s is not None or self.smooth >= NEAR * self._limit
        fps = max(NEAR_FPS if near else RARE_FPS, COUNTS_IN_DWELL / self.zone.dwell_s)
        return Demand(fps, statures.room(self.zone.polygon, aspect), at_s + DEMAND_S)

    def sighting(self) -> Sighting:
        """Say what is seen at the zone, its only place: between the two limits an incident goes on."""
        if not self._counts:
            return Sighting("not_seen")
        if self._below_since_s is not None and not self._lower_bound:
            return Sighting("clear", clear_since_s=self._below_since_s)
        return Sighting("occupied", people=self.people)

    def judge(self, people: int, *, lower_bound: bool) -> Literal["clear", "occupied", "not_seen"]:
        """Say what one count alone means; what is over goes on being so until few enough are seen."""
        if people > (self._limit if self._over_since_s is None else self._release):
            return "occupied"
        return "not_seen" if lower_bound else "clear"

    @property
    def _lower_bound(self) -> bool:
        return any(bound for _, _, bound in self._counts)

    @property
    def _release(self) -> int:
        return max(0, min(self._limit - 1, math.floor(RELEASE * self._limit)))

    @property
    def _density(self) -> float | None:
        return None if self.area_m2 is None else self.smooth / self.area_m2


def _ground_m2(zone: GatheringZone, plane: Plane | None) -> float | None:
    if plane is None:
        return None
    try:
        return plane.area_m2(zone.polygon)
    except PlaneError:
        # the settings let this pass only where no limit depends on it
        return None
