"""Aim and focus: how sharp a picture is, and how large people and goods are in it."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.stature import PERSON_M, on_plane
from protocol.plane import Plane

Array = NDArray[np.float64]

MIDDLE: Final = 0.6
"""Of width and height: lenses are soft at the edge."""
TILES: Final = 6
SHARPEST: Final = 0.8
"""Quantile of the tiles: sky and bare walls tell nothing."""
LEAST_CONTRAST: Final = 4.0
PERSON_PX: Final = 50
ITEM_PX: Final = 40
"""For 0.5 m: what is 0.5 m wide and 0.83 m tall, such as a board on the pavement, then has 40 × 66 pixels."""
ITEM_M: Final = 0.5
ENOUGH: Final = 3
REMEMBERED: Final = 300
ROWS: Final = ("near", "middle", "far")
EDGE: Final = 0.005
SPREAD: Final = 0.05
"""Of the rows of feet; with less nobody knows how sizes change with the distance."""
ALONE: Final = 0.1


def sharpness(luma: NDArray[np.uint8]) -> float:
    """How much fine detail there is, 0 to 100 and more; a blurred picture of the same scene has less.

    How a Laplacian deviates over the picture's middle, tile by tile, by the contrast of it all: a cloud before the sun
    changes both.

    Args:
        luma: shape `(h, w)`, at full size.
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
    """How large things are at one distance.

    Args:
        row: `near`, `middle` or `far`.
        y: where the feet are, a share of the picture's height.
        person_px: height of a person of 1.7 m.
        item_px: of 0.5 m.
    """

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
    _seen: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=REMEMBERED), init=False)
    """Feet y, height."""

    def see(self, persons: NDArray[np.float32]) -> None:
        """Take people, boxes `(n, 4)` in picture coordinates; those cut off by an edge tell nothing."""
        for x, y, w, h in persons.tolist():
            if min(x, y) > EDGE and max(x + w, y + h) < 1 - EDGE:
                self._seen.append((y + h, h))

    def sizes(self, zones: list[tuple[tuple[float, float], ...]], width: int, height: int) -> list[Size]:
        """Sizes near, in the middle and far; empty while too little is known.

        Args:
            zones: polygons between whose nearest and farthest corner is measured; none: the picture's lower two thirds.
            width: of the picture in pixels.
            height: of the picture in pixels.
        """
        corners = [y for polygon in zones for _, y in polygon]
        if self.plane is not None:
            near, far = (max(corners), min(corners)) if corners else (0.98, 0.33)
            rows = np.linspace(near, far, len(ROWS))
            feet = np.column_stack([np.full(len(ROWS), 0.5), rows])
            tall = on_plane(self.plane, feet, width / height)
        else:
            seen = np.array(self._seen, np.float64).reshape(-1, 2)
            if len(seen) < ENOUGH:
                return []
            near, far = (max(corners), min(corners)) if corners else np.quantile(seen[:, 0], (0.95, 0.05)).tolist()
            rows = np.linspace(near, far, len(ROWS))
            tall = self._along(seen, rows)
        return [
            Size(
                row,
                float(y),
                round(px),
                round(px / PERSON_M * ITEM_M),
                px >= PERSON_PX,
                px / PERSON_M * ITEM_M >= ITEM_PX,
            )
            for row, y, px in zip(ROWS, rows, tall * height, strict=True)
            if np.isfinite(px)
        ]

    @staticmethod
    def _along(seen: Array, rows: Array) -> Array:
        """Heights at rows: on level ground they grow in proportion to how far the feet are below the horizon."""
        y, h = seen.T
        spread = float(np.ptp(np.quantile(y, (0.1, 0.9))))
        if spread < SPREAD:  # all at one distance: what is farther or nearer is not known
            near = np.abs(rows - np.median(y)) <= ALONE
            return np.asarray(np.where(near, np.median(h), np.nan), np.float64)
        slope, at_zero = np.polyfit(y, h, 1)
        if slope <= 0:
            return np.full(len(rows), np.median(h))
        return np.maximum(slope * rows + at_zero, 0.0)
