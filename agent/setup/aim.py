"""Aim and focus: how sharp a picture is, and how large people and goods are in it."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.stature import ENOUGH, MARGIN, PERSON_M, on_plane
from protocol.geometry import Polygon
from protocol.plane import Plane
from protocol.settings import MIN_AREA

MIDDLE: Final = 0.6
"""Of width and height: lenses are soft at the edge."""
TILES: Final = 6
SHARPEST: Final = 0.8
"""Quantile of the tiles: sky and bare walls tell nothing."""
LEAST_CONTRAST: Final = 4.0
PERSON_PX: Final = 50
ITEM_PX: Final = 40
"""For 0.5 m, at least: a board of 0.5 × 0.83 m then has 40 × 66 pixels."""
ITEM_TALL: Final = 1.65
KNOWN: Final = 0.6
"""How much of a small thing the still scene makes out. With it, of 16 rendered crates that are just large enough for
the default, 57 px in 1080p, all are reported; of 40 × 66 px 6 are (tests/agent/setup/test_aim.py has half of them)."""
ITEM_M: Final = 0.5
ROWS: Final = ("near", "middle", "far")
SPREAD: Final = 0.05
"""Of the rows of feet; with less nobody knows how sizes change with the distance."""
ALONE: Final = 0.1


def item_needs_px(width: int, height: int, min_area: float = MIN_AREA) -> int:
    """How many pixels 0.5 m must have in a picture of that size for an item to be reported.

    Args:
        width: of the picture, pixels.
        height: the same.
        min_area: of the zone, a share of the picture.
    """
    return max(ITEM_PX, math.ceil(math.sqrt(min_area / KNOWN * width * height / ITEM_TALL)))


def sharpness(luma: NDArray[np.uint8]) -> float:
    """How much fine detail a picture of shape `(h, w)` has; blurred, it has less.

    How a Laplacian deviates in tiles of the picture's middle, by the contrast of it all: a cloud before the sun
    changes both.
    """
    height, width = luma.shape
    top, left = round(height * (1 - MIDDLE) / 2), round(width * (1 - MIDDLE) / 2)
    part = np.ascontiguousarray(luma[top : height - top, left : width - left], np.float32)
    soft = cv2.GaussianBlur(part, (0, 0), 0.8)  # noise is no detail
    edges = cv2.Laplacian(soft, cv2.CV_32F)
    tiles = [tile for rows in np.array_split(edges, TILES) for tile in np.array_split(rows, TILES, 1)]
    return 100 * float(np.quantile([tile.std() for tile in tiles], SHARPEST) / (soft.std() + LEAST_CONTRAST))


@dataclass(frozen=True)
class Size:
    """How many pixels a person of 1.7 m and 0.5 m have, with the feet at `y` of the picture's height."""

    row: str
    y: float
    person_px: int
    item_px: int
    person_good: bool
    item_good: bool


@dataclass
class Measure:
    """Sizes before one camera: from its ground plane, else from people who were seen."""

    plane: Plane | None = None
    _seen: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=300), init=False)
    """Feet y, height."""

    def see(self, persons: NDArray[np.float32]) -> None:
        """Take people, boxes `(n, 4)`; those cut off by an edge tell nothing."""
        for x, y, w, h in persons.tolist():
            if min(x, y) > MARGIN and max(x + w, y + h) < 1 - MARGIN:
                self._seen.append((y + h, h))

    def sizes(self, zones: Sequence[Polygon], width: int, height: int, item_px: int = ITEM_PX) -> list[Size]:
        """Sizes from the nearest to the farthest corner of the zones, or where people are; empty: not known yet.

        `item_px`: which are enough for 0.5 m.
        """
        seen = np.array(self._seen, np.float64).reshape(-1, 2)
        if self.plane is None and len(seen) < ENOUGH:
            return []
        corners = [y for polygon in zones for _, y in polygon]
        if corners:
            near, far = max(corners), min(corners)
        else:
            near, far = (0.98, 0.33) if self.plane else np.quantile(seen[:, 0], (0.95, 0.05)).tolist()
        rows = np.linspace(near, far, len(ROWS))
        if self.plane is not None:
            tall = on_plane(self.plane, np.column_stack([np.full(len(ROWS), 0.5), rows]), width / height)
        else:
            tall = _along(seen, rows)
        return [
            Size(row, float(y), round(px), round(item), bool(px >= PERSON_PX), bool(round(item) >= item_px))
            for row, y, px, item in zip(ROWS, rows, tall * height, tall * height / PERSON_M * ITEM_M, strict=True)
            if np.isfinite(px)
        ]


def _along(seen: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heights at rows: on level ground they grow with how far the feet are below the horizon."""
    y, h = seen.T
    if np.ptp(np.quantile(y, (0.1, 0.9))) < SPREAD:  # all at one distance
        near = np.abs(rows - np.median(y)) <= ALONE
        return np.asarray(np.where(near, np.median(h), np.nan), np.float64)
    slope, at_zero = np.polyfit(y, h, 1)
    return np.maximum(slope * rows + at_zero, 0.0) if slope > 0 else np.full(len(rows), np.median(h))
