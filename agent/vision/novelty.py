"""Whether anything has changed in front of a camera since the detector last looked: if not, it would see the same."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.places import Luma, Mask, zone_mask
from protocol.geometry import Polygon

CELL_PX: Final = 4
LEVELS: Final = 3.0
"""Mean grey levels of a cell. Noise of 4 levels leaves 0.3 of it in a mean of 16 pixels that were made of 36 each; the
pulse of a codec's key frames is 1 to 2."""
CELLS: Final = 2
"""A person at 320 pixels width covers ten cells and more; a fly covers one."""
ABOVE: Final = 0.25
"""Share of the picture's height above a zone that is looked at as well: feet are in the zone, bodies above it."""
AROUND: Final = 0.05

Cells = NDArray[np.float32]


@dataclass
class Novelty:
    """Compares samples with the one that was last looked at, in and around some zones.

    Args:
        polygons: of the zones; none: the whole picture counts.
    """

    polygons: Sequence[Polygon]
    near: tuple[bool, ...] = field(default=(), init=False)
    """In and around which polygons the last sample showed something else."""
    anywhere: bool = field(default=True, init=False)
    """Whether it did anywhere in the picture, zones or not."""
    _seen: Cells | None = field(default=None, init=False)
    _now: Cells | None = field(default=None, init=False)
    _masks: tuple[Mask, ...] = field(default=(), init=False)
    """Of each polygon, and of all together."""

    def changed(self, luma: Luma) -> bool:
        """Take a sample of shape `(h, w)`; says whether it shows something else than the one last looked at."""
        size = (max(1, luma.shape[1] // CELL_PX), max(1, luma.shape[0] // CELL_PX))
        self._now = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.float32)
        if self._seen is None or self._seen.shape != self._now.shape:
            self.near, self.anywhere = (True,) * len(self.polygons), True
            return True
        if not self._masks or self._masks[0].shape != self._now.shape:
            self._masks = self._around(self._now.shape[0], self._now.shape[1])
        apart = np.abs(self._now - self._seen) >= LEVELS
        *near, changed = (int((apart & mask).sum()) >= CELLS for mask in self._masks)
        self.near, self.anywhere = tuple(near), int(apart.sum()) >= CELLS
        return changed

    def looked(self) -> None:
        """The last sample was looked at."""
        self._seen = self._now

    def _around(self, rows: int, columns: int) -> tuple[Mask, ...]:
        if not self.polygons:
            return (np.ones((rows, columns), np.bool_),)
        up, side = round(ABOVE * rows), round(AROUND * columns)
        kernel = np.ones((up + 1, 2 * side + 1), np.uint8)
        masks = []
        for polygon in self.polygons:
            mask = zone_mask(polygon, (rows, columns)).astype(np.uint8)
            # the anchor lies at the upper edge: what is set reaches upwards
            masks.append(np.asarray(cv2.dilate(mask, kernel, anchor=(side, 0)), np.bool_))
        return (*masks, np.logical_or.reduce(masks))
