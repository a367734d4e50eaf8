"""What merely passes before a camera: lightning, headlights, rain and snow, the switch between day and night."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.signature import Luma, Signature, Tiles, shows

RISE: Final = 1.35
"""Growth of light in a tile that is more than a cloud's in one sample."""
RISE_LEVELS: Final = 12.0
FLASH_SHARE: Final = 0.7
"""Lightning lights nearly all of the view at once, a lamp a part of it."""
FLASH_S: Final = 2.5
"""A flash of lightning with its after-flashes is over by then; a lamp that was switched on, or the sun, stays."""
BEAM_SHARES: Final = (0.04, 0.6)
NIGHT: Final = 60.0
"""Grey level of a tile by night, at most."""
RECENT: Final = 9
"""Samples whose median is the light before."""

SPECK_PX: Final = 7
"""Flakes and drops are narrower, people are wider."""
SPECK: Final = 10.0
"""Grey levels by which a flake stands out, at least."""
SPECK_NOISES: Final = 6.0
SPECK_EDGES: Final = 2.0
"""Added for each grey level per pixel of the edges behind: a camera that shakes lets edges flicker."""
SPECKS_IN_TILE: Final = 0.002
"""Share of a tile's pixels: two of them."""
SPECKED_TILES: Final = 0.5
"""It snows all over the view; insects fly in a part of it."""
FALLING: Final = (6, 10)
"""So many of so many samples."""

GREY: Final = 0.5
COLOURED: Final = 2.0
"""Mean chroma of a picture without colour, and with: infrared gives 0, overcast streets 3 to 12."""
SWITCH_SAMPLES: Final = 2
"""The filter swings within a second; dusk takes longer."""
SHOWN_AGAIN: Final = 0.4
"""Median agreement of the view before and after: infrared changes greys, not edges."""
SETTLE_S: Final = 10.0
"""Lamp, exposure and white balance have settled by then."""


@dataclass
class Flashes:
    """Tells lightning: nearly all of the view is far brighter for one or two samples."""

    dazzled: bool = field(default=False, init=False)
    """Whether this sample lies in a flash, or in what may become one."""
    _before: Tiles | None = field(default=None, init=False)
    _calm: Tiles | None = field(default=None, init=False)
    _began_s: float = field(default=0.0, init=False)

    def follow(self, now: Signature, time_s: float) -> bool:
        """Take one sample; says whether a flash has just ended."""
        level, before = now.level, self._before
        self._before = level
        if before is None or before.shape != level.shape:
            self.dazzled, self._calm = False, None
            return False
        if self._calm is None:
            if _risen(level, before) >= FLASH_SHARE:
                self._calm, self._began_s, self.dazzled = before, time_s, True
            return False
        if time_s - self._began_s > FLASH_S:
            self.dazzled, self._calm = False, None
            return False
        over = _risen(level, self._calm) < 1 - FLASH_SHARE
        if over:
            self.dazzled, self._calm = False, None
        return over


@dataclass
class Headlights:
    """Tells beams of light: a part of the view is far brighter than a moment ago and shows the same things."""

    _levels: deque[Tiles] = field(default_factory=lambda: deque(maxlen=RECENT), init=False)

    def follow(self, now: Signature, same: NDArray[np.bool_] | None) -> bool:
        """Take one sample.

        Args:
            now: the sample.
            same: tiles that show the clear place, whatever its light; None where that is not known.
        """
        if self._levels and self._levels[0].shape != now.level.shape:
            self._levels.clear()
        lit = False
        if len(self._levels) == RECENT and same is not None:
            usual = np.median(np.stack(self._levels), axis=0)
            bright = (now.level > RISE * usual) & (now.level > usual + RISE_LEVELS)
            # by day what is bright and another thing may be a van; by night it is its light that is seen
            share = float((bright & (same | (usual < NIGHT))).mean())
            lit = BEAM_SHARES[0] <= share <= BEAM_SHARES[1] and share >= 0.6 * float(bright.mean())
        self._levels.append(now.level)
        return lit

    def forget(self) -> None:
        """Note that a sample shows something else: the light before it says nothing any more."""
        self._levels.clear()


@dataclass
class Precipitation:
    """Tells rain and snow: small bright specks all over the view, in one sample each."""

    _lumas: deque[Luma] = field(default_factory=lambda: deque(maxlen=3), init=False)
    _specked: deque[bool] = field(default_factory=lambda: deque(maxlen=FALLING[1]), init=False)

    def follow(self, now: Signature) -> bool:
        """Take one sample; says whether it rains or snows."""
        if self._lumas and self._lumas[0].shape != now.luma.shape:
            self._lumas.clear()
        self._lumas.append(now.luma)
        if len(self._lumas) == self._lumas.maxlen:
            self._specked.append(self._specked_share(now) >= SPECKED_TILES)
        return sum(self._specked) >= FALLING[0]

    def _specked_share(self, now: Signature) -> float:
        """Share of the tiles in which the sample before was specked."""
        first, middle, last = self._lumas
        around = cv2.max(first, last)
        above = cv2.subtract(middle, around)
        noise = float(np.median(cv2.absdiff(first[::3, ::3], last[::3, ::3])))
        kernel = np.ones((SPECK_PX, SPECK_PX), np.uint8)
        narrow = cv2.morphologyEx(above, cv2.MORPH_TOPHAT, kernel)
        edges = cv2.morphologyEx(around, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        limit = max(SPECK, SPECK_NOISES * noise) + SPECK_EDGES / 2 * edges.astype(np.float32)
        return float((now.tiled((narrow > limit).astype(np.float32)) >= SPECKS_IN_TILE).mean())


@dataclass
class Colour:
    """Tells the day–night switch: an infrared filter swings away, and all colour is gone at once, or comes back."""

    grey: bool = field(default=False, init=False)
    """Whether the picture has no colour now."""
    _before: Signature | None = field(default=None, init=False)
    """The last sample before the colour changed."""
    _samples_since: int = field(default=0, init=False)
    _switched_s: float | None = field(default=None, init=False)

    def follow(self, now: Signature, chroma: float, time_s: float) -> bool:
        """Take one sample and its mean chroma; says whether the camera has just switched.

        The colour has gone, or come back, within SWITCH_SAMPLES, and the edges of the view stay: else it was a cap or a
        coloured cloth.
        """
        self._samples_since += 1
        if GREY < chroma < COLOURED:
            return False
        grey = chroma <= GREY
        if self._before is None:
            self.grey = grey
        if grey == self.grey:
            self._before, self._samples_since = now, 0
            return False
        if self._samples_since > SWITCH_SAMPLES or self._before is None or not shows(now, self._before, SHOWN_AGAIN):
            return False
        self.grey, self._switched_s, self._before, self._samples_since = grey, time_s, now, 0
        return True

    def settling(self, time_s: float) -> bool:
        """Whether a switch was a moment ago."""
        return self._switched_s is not None and time_s - self._switched_s < SETTLE_S


def _risen(level: Tiles, before: Tiles) -> float:
    """Share of the tiles that are far brighter than before."""
    return float(((level > RISE * before) & (level > before + RISE_LEVELS)).mean())
