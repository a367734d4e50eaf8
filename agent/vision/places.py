"""What the still scene says of zones and places: items, and whether a place is clear, occupied or not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from protocol.geometry import Box, Polygon

Luma = NDArray[np.uint8]
Mask = NDArray[np.bool_]

RESTLESS_PX: Final = 0.15
"""Mean shift of a region's edges between two samples, in pixels at WIDTH_PX, beyond the camera's noise. Measured: a bag
0.00 to 0.03, parked cars 0.02, people who stand for ten seconds and more 0.24 to 6."""
SPOT_PX: Final = 9
"""Window in which edges are asked together."""
SPOT_SLOPE: Final = 1.0
"""Mean slope of a spot, grey levels per pixel, from which it tells whether something moves."""
LED_PX: Final = 15.0
"""Reach of an edge over a plain inside; a coat at 320 pixels width is no wider."""
EDGE_SLOPE: Final = 4.0
HIDDEN_LEVELS: Final = 20
"""A sample that is so many grey levels off in most of a spot shows something in front of it."""
CALM_REGION: Final = 0.55
"""A region of which less keeps still is a person, of whom one part or the other is calm by chance."""
JOINED_PX: Final = 9
"""Gaps of up to 8 pixels at 320 are within one thing: between a top and its legs."""
LIGHT_PX: Final = 13
"""Window in which brightness is evened out: wider than a sway, narrower than a shadow."""
MIN_STEPS: Final = 2
CALM_LIFE: Final = 0.5
"""A thing keeps still for so much of the time in which that could be told; who stands sways for half of it and more."""
TRIMMED: Final = 1.55
"""Mean distance of normal noise from its middle, by that of its calmer three quarters: (2 / pi)^0.5 / 0.515."""
SHIFT_PX: Final = (11, 11)
"""Window in which edges are asked whether they shift together."""
SHIFT_NOISE: Final = 0.26
"""Share of the noise that is left in that window: a softened picture's noise is alike within some 8 pixels, and
(8 / 121)^0.5 is left."""
NOISE_LEVELS: Final = 0.3
"""Grey levels by which codec and flicker of a thing that stands may exceed the noise of its surroundings."""
CALM_SHARE: Final = 0.75
"""So many of the steps must be calm: people do stand still for seconds; a passer-by in front of a thing takes one."""
PERSON_SHARE: Final = 0.3
"""A look on which a person was found for so much of the time that it was watched is a person who stands: a detector
misses one who stands in some pictures, and takes a thing for one in few."""
CLEAR_SHARE: Final = 0.9
"""So much of a place must be seen clear; the rest may be noise at its edges."""


class PlaceState(Enum):
    """What can be said of a place right now."""

    CLEAR = "clear"
    OCCUPIED = "occupied"
    NOT_SEEN = "not_seen"


@dataclass(frozen=True)
class StillItem:
    """A region that has kept one look for longer than was asked."""

    box: Box
    area: float
    """Share of the picture."""
    since_s: float


@dataclass(frozen=True, eq=False)
class Motion:
    """How much moved between the samples of the window, each of shape `(h, w)`."""

    samples: Sequence[Luma]
    still: Luma

    @cached_property
    def _noise(self) -> tuple[float, ...]:
        """Mean grey levels between neighbouring samples where nothing moves, by those of the calmer three quarters."""
        levels = []
        for a, b in pairwise(self.samples):
            apart = cv2.absdiff(a[::3, ::3], b[::3, ::3])
            levels.append(TRIMMED * float(apart[apart <= np.quantile(apart, 0.75)].mean()))
        return tuple(levels)

    @cached_property
    def _trembles_px(self) -> tuple[tuple[float, float], ...]:
        """How far the whole picture shifts between two samples, x and y: the camera trembles.

        Least squares over the edges (Lucas and Kanade, 1981), with a change of exposure, twice: the second time without
        what fits badly, which moves by itself.
        """
        x, y = (slope[::2, ::2] for slope in gradients(self.still.astype(np.float32)))
        edges = x * x + y * y >= EDGE_SLOPE * EDGE_SLOPE
        if int(edges.sum()) < 100:
            return ((0.0, 0.0),) * (len(self.samples) - 1)
        found = []
        for a, b in pairwise(self.samples):
            before = a[::2, ::2][edges].astype(np.float32)
            apart = b[::2, ::2][edges].astype(np.float32) - before
            design = np.stack([-x[edges], -y[edges], before], 1)
            kept = np.ones(len(apart), np.bool_)
            for _ in range(2):
                few = design[kept]
                shift = np.linalg.solve(few.T @ few + np.eye(3, dtype=np.float32), few.T @ apart[kept])
                off = np.abs(apart - design @ shift)
                kept = off <= 2 * np.median(off) + 1
            found.append((float(shift[0]), float(shift[1])))
        return tuple(found)

    def keeps_still(self, among: Mask) -> tuple[Mask, Mask]:
        """Say of which pixels it can be told whether what they show keeps still, and which do.

        Each spot's upright edges tell it, for people sway sideways: a change of d grey levels on a slope of g is a
        shift of d / g. It is read twice: from all changes, as limbs move each for itself, and from what changes as it
        would by one shift, which is seen in the noise of a night as well. Spots without an edge go with the nearest one
        that has, so that a grey coat goes with its outline, and a thing beside somebody with its own. Light that
        wanders over a thing does not move it, and what shakes with the whole camera stands. Samples in which something
        else is in front of a spot are left out.
        """
        judged, calm = np.zeros(among.shape, np.bool_), np.zeros(among.shape, np.bool_)
        part = _around(among, SPOT_PX)
        still = self.still[part].astype(np.float32)
        crops = [sample[part].astype(np.float32) for sample in self.samples]
        hidden = [_spots((np.abs(crop - still) > HIDDEN_LEVELS).astype(np.float32)) > 0.5 for crop in crops]
        lit = [crop * (_brightness(still) / _brightness(crop)) for crop in crops]
        along_x, along_y = gradients(still)
        slope = _spots(np.abs(along_x))
        power = np.maximum(cv2.blur(along_x * along_x, SHIFT_PX), 1.0)
        shifts = []
        for (a, b), (before, after), noise, (x, y) in zip(
            pairwise(lit), pairwise(hidden), self._noise, self._trembles_px, strict=True
        ):
            apart = b - a + x * along_x + y * along_y
            any_px = (_spots(np.abs(apart)) - noise - NOISE_LEVELS) / np.maximum(slope, 1.0)
            # as one, by least squares: noise goes both ways and mostly cancels out
            whole_px = np.abs(cv2.blur(apart * along_x, SHIFT_PX)) / power - SHIFT_NOISE * noise / np.sqrt(power)
            shifts.append(np.where(before | after, np.inf, np.maximum(any_px, whole_px)))
        moved = np.maximum(np.stack(shifts), 0)
        steps = np.isfinite(moved).sum(0)
        moved.sort(axis=0)
        at = np.maximum(np.floor(CALM_SHARE * (steps - 1)), 0).astype(np.intp)
        shift_px = np.take_along_axis(moved, at[None], 0)[0]
        known = steps >= MIN_STEPS
        near = cv2.dilate(among[part].astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        telling = near & known & (slope >= SPOT_SLOPE)
        if telling.any():
            away_px, nearest = cv2.distanceTransformWithLabels(
                (~telling).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
            )
            of_label = np.zeros(int(nearest.max()) + 1, np.float32)
            of_label[nearest[telling]] = shift_px[telling]
            led = away_px <= LED_PX
            shift_px, known = np.where(led, of_label[nearest], shift_px), known | led
        judged[part] = among[part] & known
        calm[part] = judged[part] & (shift_px <= RESTLESS_PX)
        return judged, calm


@dataclass(frozen=True, eq=False)
class StillView:
    """What the still scene knows after one sample. Arrays are `(h, w)` at `WIDTH_PX` width."""

    time_s: float
    sure: Mask
    """The reference is known."""
    clear: Mask
    held: Mask
    """A look other than the reference is remembered."""
    seen: Mask
    """The remembered look is seen right now."""
    since_s: NDArray[np.float64]
    """Since when the look was kept; meaningless where not held."""
    clear_since_s: NDArray[np.float64]
    """Since when the place was seen clear; meaningless where not clear."""
    calm: NDArray[np.float32]
    """Share of the time in which the look kept still, of that in which it could be told."""
    peopled: NDArray[np.float32]
    """Share of the time that the look was watched in which a person was found on it."""
    still: Luma
    """The still picture, laid over the reference."""
    disturbed: bool

    def learned_share(self, zone: Mask) -> float:
        """Share of a zone whose clear look is known."""
        return float(self.sure[zone].mean()) if zone.any() else 1.0

    def items(self, zone: Mask, min_area: float, min_age_s: float) -> tuple[StillItem, ...]:
        """Find regions in a zone that have kept their look, and still, for at least `min_age_s`.

        Args:
            zone: shape `(h, w)`.
            min_area: smallest region, as a share of the picture.
            min_age_s: 0 for everything that settled.
        """
        looks = self._still_things(self.held & self.seen & zone)
        if not looks.any():
            return ()
        age_s = self.time_s - self.since_s
        height, width = looks.shape
        min_px = max(1, round(min_area * looks.size))
        found = []
        # what is half as old belongs to the same thing: its parts settle one after the other
        for region in regions(looks & (age_s >= min_age_s / 2), min_px):
            aged = region & (age_s >= min_age_s)
            if int(aged.sum()) < min_px or float(np.median(self.peopled[aged])) > PERSON_SHARE:
                continue
            ys, xs = np.nonzero(region)
            x, y = int(xs.min()), int(ys.min())
            box = (x / width, y / height, (int(xs.max()) + 1 - x) / width, (int(ys.max()) + 1 - y) / height)
            found.append(StillItem(box, float(len(xs)) / looks.size, float(np.median(self.since_s[aged]))))
        return tuple(found)

    def _still_things(self, looks: Mask) -> Mask:
        """Leave out people: regions that mostly sway, and the parts of others that do."""
        calm = self.calm >= CALM_LIFE
        # parts that lie close to each other are of one thing, or of one person
        joined = cv2.dilate(looks.astype(np.uint8), np.ones((JOINED_PX, JOINED_PX), np.uint8))
        count, labels = cv2.connectedComponents(joined, connectivity=8)
        labels[~looks] = 0
        sizes = np.bincount(labels.ravel(), minlength=count)
        shares = np.bincount(labels.ravel(), (calm & looks).ravel(), count) / np.maximum(sizes, 1)
        return np.asarray(looks & calm & (shares >= CALM_REGION)[labels], np.bool_)

    def place(self, zone: Mask, box: Box, min_area: float) -> tuple[PlaceState, float]:
        """Say whether a place inside a zone is clear, occupied or not seen, and for clear since when.

        Clear needs nearly all of it to be seen clear; occupied needs half as much of a remembered look as an item.
        """
        inside = zone & box_mask(box, zone.shape)
        total = int(inside.sum())
        if total == 0 or self.disturbed:
            return PlaceState.NOT_SEEN, self.time_s
        if int((self.held & self.seen & (self.peopled <= PERSON_SHARE) & inside).sum()) >= max(
            1.0, min_area * zone.size / 2
        ):
            return PlaceState.OCCUPIED, self.time_s
        clear = self.clear & inside
        if int(clear.sum()) >= CLEAR_SHARE * total:
            return PlaceState.CLEAR, float(np.quantile(self.clear_since_s[clear], CLEAR_SHARE))
        return PlaceState.NOT_SEEN, self.time_s


def zone_mask(polygon: Polygon, shape: tuple[int, int]) -> Mask:
    """Rasterise a polygon of picture coordinates at `(h, w)`."""
    height, width = shape
    corners = np.round(np.asarray(polygon) * (width, height) * 16).astype(np.int32) - 8
    raster = np.zeros(shape, np.uint8)
    cv2.fillPoly(raster, [corners], 1, shift=4)
    return raster.astype(np.bool_)


def box_mask(box: Box, shape: tuple[int, ...]) -> Mask:
    """Rasterise a box of picture coordinates at `(h, w)`."""
    height, width = shape
    mask = np.zeros((height, width), np.bool_)
    x, y, w, h = box
    mask[int(y * height) : int(np.ceil((y + h) * height)), int(x * width) : int(np.ceil((x + w) * width))] = True
    return mask


def regions(mask: Mask, min_px: int) -> list[Mask]:
    """Connected regions after small gaps are closed, without the gaps; largest first."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((JOINED_PX, JOINED_PX), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    order = sorted(range(1, count), key=lambda label: -int(stats[label, cv2.CC_STAT_AREA]))
    found = [(labels == label) & mask for label in order if stats[label, cv2.CC_STAT_AREA] >= min_px]
    return [region for region in found if int(region.sum()) >= min_px]


def gradients(picture: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Grey levels per pixel along x and y (Scharr)."""
    x = cv2.Scharr(picture, cv2.CV_32F, 1, 0, scale=1 / 32)
    y = cv2.Scharr(picture, cv2.CV_32F, 0, 1, scale=1 / 32)
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def _brightness(crop: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.blur(crop, (LIGHT_PX, LIGHT_PX)) + 4, np.float32)


def _spots(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.blur(values, (SPOT_PX, SPOT_PX)), np.float32)


def _around(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The rows and columns that hold a mask, and a few around them."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )
