"""Loitering: nobody may stay in a place for longer than its limit. Who somebody is, is never asked.

A track gives the time that somebody has been in the zone. Trackers lose those who are hidden for a while: who begins
where somebody who stood there was lost a moment ago is taken for the same, and who steps out for a moment has stayed.
Track ids do not leave this module: a breach tells a place and a time.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from agent.camera.demand import Demand
from agent.rules.life import Breach, Record, Sighting, same_place
from agent.vision.stature import Statures
from protocol.geometry import Box, contains
from protocol.settings import GatheringZone

TRACKING_FPS: Final = 5.0
"""Identity F1 is .98 at 5 pictures a second on a public sequence, .86 at 2, .43 at 1."""
REST_FPS: Final = 0.5
AWAY_S: Final = 10.0
"""Who is lost or outside for longer than this has left."""
STOOD_S: Final = 2.0
"""Who is lost for longer than a moment after standing for this long is hidden; who is lost while walking may have gone
through a door, and the next one who comes out of it is somebody else."""
MOMENT_S: Final = 1.0
"""Who begins within this time where somebody was lost is the same, standing or not. A tracker may also follow somebody
under two ids for as long before it drops the older one."""


@dataclass(frozen=True)
class Stay:
    """Somebody's stay in the zone."""

    since_s: float
    last_s: float
    box: Box
    stands_at: Box
    stands_since_s: float
    place: Box | None = None
    """Where they were when they had stayed for too long; None before."""

    @classmethod
    def begin(cls, at_s: float, box: Box) -> Self:
        """Somebody is new in the zone."""
        return cls(at_s, at_s, box, box, at_s)

    def go_on(self, at_s: float, box: Box, limit_s: float) -> Self:
        """They are seen again."""
        stay = replace(self, last_s=at_s, box=box)
        if not same_place(box, self.stands_at):
            stay = replace(stay, stands_at=box, stands_since_s=at_s)
        return replace(stay, place=box) if self.place is None and at_s - self.since_s > limit_s else stay


@dataclass
class Loitering:
    """The people of one zone over time.

    Args:
        zone: its settings; `loiter_s` is set.
    """

    zone: GatheringZone
    _stays: dict[int, Stay] = field(default_factory=dict, init=False)
    _from_s: float | None = field(default=None, init=False)
    """Since when the zone has been watched without a gap."""
    _now_s: float = field(default=float("-inf"), init=False)
    _occupied_s: dict[str, float] = field(default_factory=dict, init=False)
    """When somebody was last seen who keeps an incident going."""

    def step(self, at_s: float, boxes: NDArray[np.float64], ids: NDArray[np.int64]) -> list[Breach]:
        """Take one picture's tracks.

        Args:
            at_s: the picture's time.
            boxes: shape `(n, 4)`, x y w h in picture coordinates.
            ids: shape `(n,)`.

        Returns:
            A breach for each one in the zone who has stayed for too long. Its place is where they were at that moment
            and does not move with them, so that one stay is one incident.
        """
        if self._from_s is None or at_s - self._now_s > AWAY_S:
            self._from_s = at_s
        self._now_s = at_s
        self._stays = {track: stay for track, stay in self._stays.items() if at_s - stay.last_s <= AWAY_S}
        present = set(ids.tolist())
        within = contains(self.zone.polygon, _feet(boxes))
        for track, box in zip(ids[within].tolist(), map(_visible, boxes[within].tolist()), strict=True):
            stay = self._stays.get(track)
            if stay is None or at_s - stay.since_s <= MOMENT_S:
                stay = self._take_over(at_s, box, present) or stay or Stay.begin(at_s, box)
            self._stays[track] = stay.go_on(at_s, box, self._limit_s)
        return [
            Breach(stay.place, stay.since_s)
            for stay in self._stays.values()
            if stay.place is not None and stay.last_s == at_s
        ]

    def demand(self, at_s: float, statures: Statures, aspect: float, *, moves: bool) -> Demand:
        """Ask for pictures that tell who is who while there is anybody.

        Args:
            at_s: the time.
            statures: how tall people are.
            aspect: width of the picture by its height.
            moves: whether anything moves in or near the zone.
        """
        somebody = moves or any(at_s - stay.last_s <= AWAY_S for stay in self._stays.values())
        fps = TRACKING_FPS if somebody else REST_FPS
        return Demand(fps, statures.room(self.zone.polygon, aspect), at_s + AWAY_S)

    def sighting(self, record: Record) -> Sighting:
        """Say what is seen at an open incident's place: clear once the one who stayed is gone."""
        if self._from_s is None:
            return Sighting("not_seen")
        # after a restart nobody has been watched for long enough: whoever is there may be the one
        new = self._now_s - self._from_s <= self._limit_s + AWAY_S
        last_s = [
            stay.last_s
            for stay in self._stays.values()
            if (stay.place is not None and same_place(stay.place, record.place))
            or (new and same_place(stay.box, record.place))
        ]
        clear_s = self.zone.clear_s
        self._occupied_s = {i: when for i, when in self._occupied_s.items() if self._now_s - when <= clear_s + AWAY_S}
        if last_s:
            self._occupied_s[record.incident] = max(last_s)
            return Sighting("occupied")
        return Sighting("clear", clear_since_s=max(self._from_s, self._occupied_s.get(record.incident, self._from_s)))

    @property
    def _limit_s(self) -> float:
        return float("inf") if self.zone.loiter_s is None else self.zone.loiter_s

    def _take_over(self, at_s: float, box: Box, present: set[int]) -> Stay | None:
        """Find the stay of one who was lost here; it goes on under the new track."""
        for track, stay in self._stays.items():
            stood = stay.last_s - stay.stands_since_s >= STOOD_S
            lost = track not in present and (stood or at_s - stay.last_s <= MOMENT_S)
            if lost and same_place(box, stay.box):
                return self._stays.pop(track)
        return None


def _visible(box: Box) -> Box:
    """Cut off what lies outside of the picture."""
    x, y, w, h = box
    left, top = min(max(0.0, x), 1.0), min(max(0.0, y), 1.0)
    return left, top, max(0.0, min(1.0, x + w) - left), max(0.0, min(1.0, y + h) - top)


def _feet(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Middles of the lower edges, shape `(n, 2)`; who is cut off by the picture's edge stands at that edge."""
    points = np.column_stack([boxes[:, 0] + boxes[:, 2] / 2, boxes[:, 1] + boxes[:, 3]])
    # a polygon that reaches the edge includes it
    return np.clip(points, 0, 1 - 1e-6)
