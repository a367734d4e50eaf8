"""Laying a sample over the reference: a nudged camera and a changed exposure are neither things nor light on them."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

REACH_PX: Final = 12.0
"""A camera that moved further shows another view."""
STEADY_PX: Final = 0.45
"""Less is left alone: shake, and the estimate's own noise."""
MIN_RESPONSE: Final = 0.08
"""Peak of the phase correlation below which it says nothing. Measured: 0.2 to 0.9 for one view, under 0.05 for two."""
RIM_PX: Final = 2
"""Width of the border that interpolation spoils."""
EXPOSURE_LIMITS: Final = (0.25, 4.0)


@cache
def _window(width: int, height: int) -> NDArray[np.float32]:
    return np.asarray(cv2.createHanningWindow((width, height), cv2.CV_32F), np.float32)


def _half(luma: Luma) -> NDArray[np.float32]:
    half = cv2.resize(luma, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(half, np.float32)


def estimate_shift(luma: Luma, reference: Luma) -> tuple[float, float] | None:
    """How far a picture lies from the reference, x and y in px; None where the two show nothing in common.

    Phase correlation at half the size (Kuglin and Hines, 1975; `cv2.phaseCorrelate`): it answers to structure alone.
    """
    a, b = _half(reference), _half(luma)
    (x, y), response = cv2.phaseCorrelate(a, b, _window(a.shape[1], a.shape[0]))
    if response < MIN_RESPONSE:
        return None
    return 2 * x, 2 * y


def expose(luma: Luma, reference: Luma) -> Luma:
    """Bring a picture to the reference's exposure: one gain for all of it, the median over its pixels."""
    few, wanted = luma[::6, ::6].astype(np.float32) + 4, reference[::6, ::6].astype(np.float32) + 4
    gain = float(np.clip(np.median(wanted / few), *EXPOSURE_LIMITS))
    if abs(gain - 1) < 0.03:
        return luma
    return np.asarray(cv2.convertScaleAbs(luma, alpha=gain), np.uint8)


@dataclass
class Alignment:
    """Follows where the camera looks. A shift is believed once two samples in a row show it."""

    offset: tuple[float, float] = (0.0, 0.0)
    """Of the samples from the reference, px."""
    _candidate: tuple[float, float] | None = None

    def follow(self, luma: Luma, reference: Luma) -> bool:
        """Take a sample's shift into account; says whether the offset changed."""
        shift = estimate_shift(luma, reference)
        if shift is None or max(abs(shift[0]), abs(shift[1])) > REACH_PX or _apart(shift, self.offset) <= STEADY_PX:
            self._candidate = None
            return False
        if self._candidate is None or _apart(shift, self._candidate) > STEADY_PX:
            self._candidate = shift
            return False
        self.offset, self._candidate = shift, None
        return True

    def outside(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Where a sample that was laid over the reference shows nothing of its own, shape `(h, w)`."""
        mask = np.zeros(shape, np.bool_)
        x, y = self.offset
        if max(abs(x), abs(y)) <= STEADY_PX:
            return mask
        wide, tall = math.ceil(abs(x)) + RIM_PX, math.ceil(abs(y)) + RIM_PX
        # the picture has moved right: what was at the right edge has left it
        mask[:, -wide:] |= x > 0
        mask[:, :wide] |= x < 0
        mask[-tall:] |= y > 0
        mask[:tall] |= y < 0
        return mask

    def lay(self, luma: Luma) -> Luma:
        """Shift a sample back over the reference; what is outside the picture repeats its edge."""
        x, y = self.offset
        if max(abs(x), abs(y)) <= STEADY_PX:
            return luma
        matrix = np.array([[1, 0, -x], [0, 1, -y]], np.float32)
        size = (luma.shape[1], luma.shape[0])
        return np.asarray(cv2.warpAffine(luma, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _apart(a: tuple[float, float], b: tuple[float, float]) -> float:
    return max(abs(a[0] - b[0]), abs(a[1] - b[1]))
