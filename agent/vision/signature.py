"""What a picture shows, coarsely: edges and grey levels in tiles of about 32 px, and how two pictures agree in them.

Edges are compared by where they lie and along which axis they run, whichever side is the brighter one (orientation
correlation: Fitch et al., 2002, with the angle doubled). So neither light, shadow nor an infrared lamp matters much.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]
Tiles = NDArray[np.float32]
"""One number for each tile, shape `(rows, columns)`."""

TILE_PX: Final = 32
EDGES: Final = 0.08
"""Structure from which a tile can be recognised. Measured: paving 0.2 to 0.8, a plain wall 0.02."""
EDGE: Final = 0.7
"""Grey levels per pixel of the half-size picture below which a slope is noise: a third of the weakest paving joint by
night, three times what noise of 4 levels leaves."""


@dataclass(frozen=True, eq=False)
class Signature:
    """A picture at the samples' width, softened, and what is derived from it."""

    luma: Luma

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Columns and rows of tiles."""
        height, width = self.luma.shape
        return max(1, round(width / TILE_PX)), max(1, round(height / TILE_PX))

    @cached_property
    def _half(self) -> NDArray[np.float32]:
        half = cv2.resize(self.luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(half.astype(np.float32), (0, 0), 1.2), np.float32)

    @cached_property
    def axes(self) -> NDArray[np.float32]:
        """Axis of the edge at each pixel of the half-size picture, cosine and sine of the doubled angle.

        Shape `(h / 2, w / 2, 2)`; the length goes from 0 (no edge) to 1.
        """
        x = cv2.Scharr(self._half, cv2.CV_32F, 1, 0, scale=1 / 32)
        y = cv2.Scharr(self._half, cv2.CV_32F, 0, 1, scale=1 / 32)
        xx, yy = x * x, y * y
        strength = xx + yy + EDGE * EDGE
        return np.dstack([(xx - yy) / strength, 2 * x * y / strength]).astype(np.float32)

    @cached_property
    def structure(self) -> Tiles:
        """How full of edges each tile is, 0 to 1."""
        return self.tiled((self.axes * self.axes).sum(2))

    @cached_property
    def level(self) -> Tiles:
        """Mean grey level of each tile."""
        return self.tiled(self._half)

    @cached_property
    def bands(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Details of 2 to 5 px, shape `(h, w)`, and of 5 to 15 px, shape `(h / 2, w / 2)`."""
        full = self.luma.astype(np.float32)
        fine = full - cv2.GaussianBlur(full, (0, 0), 2.0)
        coarse = self._half - cv2.GaussianBlur(self._half, (0, 0), 3.5)
        return np.asarray(fine, np.float32), np.asarray(coarse, np.float32)

    def tiled(self, values: NDArray[np.float32]) -> Tiles:
        """Mean of a picture's values in each tile."""
        return np.asarray(cv2.resize(values, self.grid, interpolation=cv2.INTER_AREA), np.float32)


def agreement(now: Signature, then: Signature) -> Tiles:
    """How far the edges of two pictures agree in each tile: 1 the same, about 0 nothing in common."""
    shared = now.tiled((now.axes * then.axes).sum(2))
    # a little is added so that a tile without edges agrees with nothing, rather than by chance
    return np.asarray(shared / np.sqrt((now.structure + 0.02) * (then.structure + 0.02)), np.float32)


def shows(now: Signature, then: Signature, least: float) -> bool:
    """Say whether a picture shows what another does, whatever the light: half of its tiles agree at least so far."""
    able = then.structure > EDGES
    return bool(able.any()) and float(np.median(agreement(now, then)[able])) >= least


def sharpness(now: Signature, then: Signature) -> Tiles:
    """How much of the fine detail is left in each tile, relative to what is left of coarser detail: 1 all, 0 none.

    Slopes of a regression on the other picture: noise and contrast cancel out.
    """
    (fine_now, coarse_now), (fine_then, coarse_then) = now.bands, then.bands
    fine = now.tiled(fine_now * fine_then) / (now.tiled(fine_then * fine_then) + 0.1)
    coarse = now.tiled(coarse_now * coarse_then) / (now.tiled(coarse_then * coarse_then) + 0.1)
    # a strong blur takes the coarser detail too: a quarter of the contrast between tiles stands in for it
    spread = float(now.level.std()) / max(float(then.level.std()), 1.0)
    return np.asarray(fine / np.maximum(coarse, max(0.05, spread / 4)), np.float32)


def detail(now: Signature, before: Signature) -> Tiles:
    """Energy of the fine detail that two samples share, squared grey levels: noise is not shared."""
    return np.maximum(now.tiled(now.bands[0] * before.bands[0]), 0)


def contrast(now: Signature) -> float:
    """Contrast between tiles, relative to their mean level: a change of exposure leaves it alone."""
    return float(now.level.std()) / max(float(now.level.mean()), 1.0)


def likeness(now: Signature, then: Signature) -> float:
    """How far the grey levels of two pictures are related, over all tiles: Pearson's correlation, -1 to 1."""
    a, b = now.level - now.level.mean(), then.level - then.level.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-6))
