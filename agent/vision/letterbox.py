"""Fitting a picture into a detector's input without changing its proportions, and boxes back out of it."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

PAD_GREY: Final = 114


@dataclass(frozen=True)
class Letterbox:
    """Where a picture lies in an input of `width` × `height` pixels."""

    width: int
    height: int
    content_width: int
    content_height: int
    left: int
    top: int

    @classmethod
    def fit(cls, picture: tuple[int, int], canvas: tuple[int, int], *, centred: bool) -> "Letterbox":
        """Place a picture of `(width, height)`: as large as it goes, in the middle or at the top left."""
        scale = min(canvas[0] / picture[0], canvas[1] / picture[1])
        content = [max(1, min(side, round(size * scale))) for size, side in zip(picture, canvas, strict=True)]
        free = [side - size for side, size in zip(canvas, content, strict=True)]
        left, top = (free[0] // 2, free[1] // 2) if centred else (0, 0)
        return cls(canvas[0], canvas[1], content[0], content[1], left, top)

    def paste(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Put a picture of shape `(h, w, 3)` in, scaled if need be; returns shape `(height, width, 3)`."""
        if rgb.shape[:2] != (self.content_height, self.content_width):
            way = cv2.INTER_AREA if rgb.shape[1] > self.content_width else cv2.INTER_LINEAR
            rgb = np.asarray(cv2.resize(rgb, (self.content_width, self.content_height), interpolation=way), np.uint8)
        canvas = np.full((self.height, self.width, 3), PAD_GREY, np.uint8)
        canvas[self.top : self.top + self.content_height, self.left : self.left + self.content_width] = rgb
        return canvas

    def to_picture(self, corners: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn corners `(n, 4)` in input pixels (x1 y1 x2 y2) to boxes `(n, 4)` in picture coordinates, cut at 0-1."""
        size = np.array([self.content_width, self.content_height] * 2, np.float32)
        origin = np.array([self.left, self.top] * 2, np.float32)
        shares = np.clip((corners - origin) / size, 0, 1)
        return np.concatenate([shares[:, :2], shares[:, 2:] - shares[:, :2]], axis=1).astype(np.float32)
