"""What the still scene says of zones and places: items, and whether a place is clear, occupied or not seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
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
BAND_PX: Final = 3
NOISE_LEVELS: Final = 0.7
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
        """Mean grey levels between neighbouring samples where nothing moves: in the calmer three quarters."""
        levels = []
        for a, b in zip(self.samples[:-1], self.samples[1:], strict=True):
            apart = cv2.absdiff(a[::3, ::3], b[::3, ::3])
            levels.append(float(apart[apart <= np.quantile(apart, 0.75)].mean()))
        return tuple(levels)

    def shift_px(self, region: Mask) -> float:
        """Mean shift of a region's outline per sample; a change of d grey levels on a slope of g is a shift of d / g.

        Looked at is a band along the outline: who sways shows it there, and may be of one grey inside. Changes that are
        no larger than the noise say nothing: a thing as grey as its ground has hardly an edge.
        """
        part = _around(region, BAND_PX + 1)
        solid = cv2.morphologyEx(region[part].astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        outer, inner = (way(solid, np.ones((2 * BAND_PX + 1,) * 2, np.uint8)) for way in (cv2.dilate, cv2.erode))
        inside = outer > inner
        crops = [sample[part].astype(np.float32) for sample in self.samples]
        slope = float(np.hypot(*gradients(self.still[part].astype(np.float32)))[inside].mean())
        steps = zip(crops[:-1], crops[1:], self._noise, strict=True)
        moved = [max(0.0, float(np.abs(b - a)[inside].mean()) - noise - NOISE_LEVELS) for a, b, noise in steps]
        return float(np.quantile(moved, CALM_SHARE)) / max(slope, 1.0)


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
    peopled: NDArray[np.float32]
    """Share of the time that the look was watched in which a person was found on it."""
    motion: Motion
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
        looks = self.held & self.seen & zone
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
            if self.motion.shift_px(aged) > RESTLESS_PX:
                continue
            ys, xs = np.nonzero(region)
            x, y = int(xs.min()), int(ys.min())
            box = (x / width, y / height, (int(xs.max()) + 1 - x) / width, (int(ys.max()) + 1 - y) / height)
            found.append(StillItem(box, float(len(xs)) / looks.size, float(np.median(self.since_s[aged]))))
        return tuple(found)

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
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    order = sorted(range(1, count), key=lambda label: -int(stats[label, cv2.CC_STAT_AREA]))
    found = [(labels == label) & mask for label in order if stats[label, cv2.CC_STAT_AREA] >= min_px]
    return [region for region in found if int(region.sum()) >= min_px]


def gradients(picture: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Grey levels per pixel along x and y (Scharr)."""
    x = cv2.Scharr(picture, cv2.CV_32F, 1, 0, scale=1 / 32)
    y = cv2.Scharr(picture, cv2.CV_32F, 0, 1, scale=1 / 32)
    return np.asarray(x, np.float32), np.asarray(y, np.float32)


def _around(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The rows and columns that hold a mask, and a few around them."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )
