"""Cutting labelled things out of photos."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

ITERATIONS: Final = 3


def opacity(photo: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Tell a thing from its ground (GrabCut; Rother et al., 2004), from its box alone.

    Args:
        photo: shape `(h, w, 3)`.
        box: x, y, width and height, px, at least a pixel inside the photo.

    Returns:
        Shape `(height, width)` of the box: 1 where the thing is, else 0.
    """
    x, y, wide, high = box
    mask = np.zeros(photo.shape[:2], np.uint8)
    cv2.setRNGSeed(1)
    cv2.grabCut(photo, mask, box, np.zeros((1, 65)), np.zeros((1, 65)), ITERATIONS, cv2.GC_INIT_WITH_RECT)
    return (mask[y : y + high, x : x + wide] & 1).astype(np.float32)
