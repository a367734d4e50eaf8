"""Who is who from picture to picture: boxes in, boxes with ids out; nobody is identified.

Association in two stages as in ByteTrack (Zhang et al., 2022): sure boxes first, then the doubtful ones for the tracks
that are left, so that somebody half hidden is kept and a false box starts nothing. Each track predicts itself with a
constant-velocity Kalman filter; the four dimensions of a box are independent of each other, so all tracks are a few
arrays. Times are seconds, so that 25, 5 or 3 pictures a second, and gaps, are the same thing.
"""

from dataclasses import dataclass, field
from typing import Final

import lap
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MEASURED: Final = 0.05
"""Standard deviation of a measured box, as a share of its height (ByteTrack: 1/20)."""
SPEED: Final = 0.6
"""Standard deviation of an unknown speed, heights per second: people walk 0.8 of their height in a second."""
UNREST: Final = 0.15
"""Spectral density of the acceleration, heights² per second³: after a second the speed is off by .39 heights per
second, half of what people walk at. As a white noise in continuous time (Bar-Shalom et al., "Estimation with
Applications to Tracking and Navigation", section 6.2) it is the same at 25 and at 3 pictures a second. An acceleration
that is constant from picture to picture is not, and mixed neighbours up at 3. Of .1 to .4 none is better at all rates
(`tests/eval/tracking.py`)."""
SIZE_CALM: Final = 0.25
"""Sizes change so much less than places."""
GATE: Final = 16.0
"""Squared Mahalanobis distance of two degrees of freedom: 99.97 % of the true pairs are nearer (χ²)."""
DISTANCE_COST: Final = 0.05
RATIO_COST: Final = 0.5
MAX_COST: Final = 1.8
"""A pair at the gate that does not overlap: somebody who was missed must not take a neighbour's box because any pair is
better than none."""
FAR_COST: Final = 1e3
PATIENCE: Final = 5
"""Pictures in a row in which somebody may be missed: where three of ten boxes are missing, 0.2 % are missed longer. It
counts where pictures are so rare that `keep_s` would be over sooner, up to twice `keep_s`."""


@dataclass(frozen=True, eq=False)
class Tracked:
    """The tracks that were seen in one picture.

    Args:
        boxes: shape `(n, 4)`, x y w h, as measured.
        ids: shape `(n,)`; an id is never used again.
        sources: shape `(n,)`, index of the detection.
    """

    boxes: Array
    ids: NDArray[np.int64]
    sources: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


def _empty() -> Array:
    return np.zeros((0, 4))


@dataclass
class Tracker:
    """Follows boxes of one class.

    Args:
        sure_score: from this score on a box may start a track.
        least_score: boxes below it are ignored.
        keep_s: a track that is not seen for longer than this, and in more than PATIENCE pictures, is forgotten; at
            twice this time it is in any case.
        confirmations: sightings after which a track gets its id.
    """

    sure_score: float = 0.6
    least_score: float = 0.1
    keep_s: float = 1.0
    confirmations: int = 2
    _place: Array = field(default_factory=_empty, init=False)
    """Centre x, centre y, width, height."""
    _speed: Array = field(default_factory=_empty, init=False)
    _pp: Array = field(default_factory=_empty, init=False)
    """Variance of the place, its covariance with the speed, and variance of the speed, per dimension."""
    _ps: Array = field(default_factory=_empty, init=False)
    _ss: Array = field(default_factory=_empty, init=False)
    _ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), init=False)
    _seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), init=False)
    _seen_s: Array = field(default_factory=lambda: np.zeros(0), init=False)
    _missed: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), init=False)
    _last_s: float | None = field(default=None, init=False)
    _next_id: int = field(default=1, init=False)

    def step(self, boxes: Array, scores: Array, time_s: float) -> Tracked:
        """Take one picture's boxes.

        Args:
            boxes: shape `(n, 4)`, x y w h, in any unit that is the same along x and y.
            scores: shape `(n,)`.
            time_s: never earlier than the last one.
        """
        measured = np.column_stack([boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]]).astype(np.float64)
        self._predict(0.0 if self._last_s is None else max(0.0, time_s - self._last_s))
        self._last_s = time_s
        away_s = time_s - self._seen_s
        self._keep((away_s <= self.keep_s) | ((away_s <= 2 * self.keep_s) & (self._missed < PATIENCE)))
        sure = np.flatnonzero(scores >= self.sure_score)
        doubtful = np.flatnonzero((scores >= self.least_score) & (scores < self.sure_score))
        source_of = np.full(len(self._ids), -1, np.int64)
        for stage in (sure, doubtful):
            free = np.flatnonzero(source_of < 0)
            tracks, found = self._associate(free, measured[stage])
            source_of[free[tracks]] = stage[found]
        matched = np.flatnonzero(source_of >= 0)
        self._correct(matched, measured[source_of[matched]])
        self._seen[matched] += 1
        self._missed += 1
        self._missed[matched] = 0
        self._seen_s[matched] = time_s
        new = np.setdiff1d(sure, source_of[matched])
        self._start(measured[new], time_s)
        sources = np.concatenate([source_of, new])
        # a track that was seen once only and not again was a false box
        alive = (self._seen >= self.confirmations) | (sources >= 0)
        self._keep(alive)
        sources = sources[alive]
        ripe = np.flatnonzero((self._seen >= self.confirmations) & (self._ids == 0))
        self._ids[ripe] = np.arange(self._next_id, self._next_id + len(ripe))
        self._next_id += len(ripe)
        shown = (sources >= 0) & (self._ids > 0)
        return Tracked(boxes[sources[shown]].astype(np.float64), self._ids[shown].copy(), sources[shown])

    def _predict(self, dt_s: float) -> None:
        unrest = UNREST * self._scale() ** 2
        self._place = self._place + dt_s * self._speed
        self._place[:, 2:] = np.maximum(self._place[:, 2:], 1e-6)
        self._pp = self._pp + 2 * dt_s * self._ps + dt_s**2 * self._ss + unrest * dt_s**3 / 3
        self._ps = self._ps + dt_s * self._ss + unrest * dt_s**2 / 2
        self._ss = self._ss + unrest * dt_s

    def _scale(self) -> Array:
        """Height of each track, for each dimension."""
        return np.asarray(self._place[:, 3:] * np.array([1.0, 1.0, SIZE_CALM, SIZE_CALM]), np.float64)

    def _correct(self, tracks: NDArray[np.int64], measured: Array) -> None:
        if not len(tracks):
            return
        noise = (MEASURED * self._place[tracks, 3:]) ** 2
        gain_p = self._pp[tracks] / (self._pp[tracks] + noise)
        gain_s = self._ps[tracks] / (self._pp[tracks] + noise)
        surprise = measured - self._place[tracks]
        self._place[tracks] += gain_p * surprise
        self._speed[tracks] += gain_s * surprise
        self._ss[tracks] -= gain_s * self._ps[tracks]
        self._ps[tracks] *= 1 - gain_p
        self._pp[tracks] *= 1 - gain_p

    def _associate(self, tracks: NDArray[np.int64], measured: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pair tracks and boxes at the least cost: what overlaps badly and lies far off its prediction costs most."""
        if not len(tracks) or not len(measured):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        place = self._place[tracks]
        spread = self._pp[tracks, :2] + 2 * (MEASURED * place[:, 3:]) ** 2
        apart = measured[None, :, :2] - place[:, None, :2]
        distance = (apart**2 / spread[:, None]).sum(2)
        overlap = _iou(place, measured)
        ratio = np.abs(np.log(np.maximum(measured[None, :, 3], 1e-6) / place[:, None, 3]))
        cost = 1 - overlap + DISTANCE_COST * distance + RATIO_COST * ratio
        possible = ((distance <= GATE) | (overlap >= 0.3)) & (ratio < 0.5)
        cost[~possible] = FAR_COST
        _, _, pairs = lap.lapjv(cost, extend_cost=True, cost_limit=MAX_COST, return_cost=True)
        found = np.flatnonzero(pairs >= 0)
        chosen = pairs[found].astype(np.int64)
        good = possible[chosen, found]
        return chosen[good], found[good]

    def _start(self, measured: Array, time_s: float) -> None:
        count = len(measured)
        height = np.repeat(measured[:, 3:], 4, axis=1) * np.array([1.0, 1.0, SIZE_CALM, SIZE_CALM])
        self._place = np.concatenate([self._place, measured])
        self._speed = np.concatenate([self._speed, np.zeros((count, 4))])
        self._pp = np.concatenate([self._pp, np.repeat((MEASURED * measured[:, 3:]) ** 2, 4, axis=1)])
        self._ps = np.concatenate([self._ps, np.zeros((count, 4))])
        self._ss = np.concatenate([self._ss, (SPEED * height) ** 2])
        self._ids = np.concatenate([self._ids, np.zeros(count, np.int64)])
        self._seen = np.concatenate([self._seen, np.ones(count, np.int64)])
        self._seen_s = np.concatenate([self._seen_s, np.full(count, time_s)])
        self._missed = np.concatenate([self._missed, np.zeros(count, np.int64)])

    def _keep(self, alive: NDArray[np.bool_]) -> None:
        for name in ("_place", "_speed", "_pp", "_ps", "_ss", "_ids", "_seen", "_seen_s", "_missed"):
            setattr(self, name, getattr(self, name)[alive])


def _iou(a: Array, b: Array) -> Array:
    """IoU of centre boxes, shapes `(n, 4)` and `(m, 4)`: `(n, m)`."""
    low = np.maximum((a[:, :2] - a[:, 2:] / 2)[:, None], (b[:, :2] - b[:, 2:] / 2)[None])
    high = np.minimum((a[:, :2] + a[:, 2:] / 2)[:, None], (b[:, :2] + b[:, 2:] / 2)[None])
    shared = np.maximum(high - low, 0).prod(2)
    union = a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1)[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-12), np.float64)
