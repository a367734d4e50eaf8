"""Lines and letters on a picture, readable on any ground. All of it changes the array `(h, w, 3)`, RGB, in place."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Colour = tuple[int, int, int]
Area = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

WHITE: Final = (255, 255, 255)
BLACK: Final = (0, 0, 0)
# Okabe and Ito, Color Universal Design (2008): apart for every kind of colour vision
ORANGE: Final = (230, 159, 0)
SKY: Final = (86, 180, 233)
GREEN: Final = (0, 158, 115)
YELLOW: Final = (240, 228, 66)
VERMILLION: Final = (213, 94, 0)
GREY: Final = (150, 150, 150)

REGULAR: Final = 400
BOLD: Final = 650
PAD_PX: Final = 6
DASH_PX: Final = 9


@cache
def _face() -> cv2.FontFace:
    """The typeface that OpenCV brings along (Rubik)."""
    return cv2.FontFace("sans")


def text_width(text: str, size: int, weight: int = REGULAR) -> int:
    """Pixels from the first letter to the last."""
    return int(cv2.getTextSize((0, 0), text, (0, 0), _face(), size, weight)[2])


def write(picture: Rgb, text: str, x: int, y: int, size: int, colour: Colour = WHITE, weight: int = REGULAR) -> None:
    """Write a line whose letters stand on `y`."""
    cv2.putText(picture, text, (x, y), colour, _face(), size, weight)


def shorten(text: str, width: int, size: int, weight: int = REGULAR) -> str:
    """Cut a text's end off so that it fits."""
    if text_width(text, size, weight) <= width:
        return text
    while text and text_width(text + "…", size, weight) > width:
        text = text[:-1]
    return text + "…"


def ink(colour: Colour) -> Colour:
    """Black or white, whichever is easier to read on a colour (luma of BT.601)."""
    return BLACK if 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128 else WHITE


def outline(picture: Rgb, corners: NDArray[np.int32], colour: Colour, width: int, *, dashed: bool = False) -> None:
    """Draw a closed line through corners `(n, 2)`, with a dark one beneath so that it shows on light ground too."""
    for one, its_width in ((BLACK, width + 2), (colour, width)):
        if not dashed:
            cv2.polylines(picture, [corners], True, one, its_width, cv2.LINE_AA)
            continue
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            steps = max(1, int(np.hypot(*(end - start)) / DASH_PX))
            points = np.linspace(start, end, steps + 1).round().astype(int)
            for a, b in zip(points[:-1:2], points[1::2], strict=False):
                cv2.line(picture, tuple(map(int, a)), tuple(map(int, b)), one, its_width, cv2.LINE_AA)


def box_corners(area: Area) -> NDArray[np.int32]:
    """Corners `(4, 2)` of an area."""
    left, top, right, bottom = area
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.int32)


def bar(picture: Rgb, area: Area, share: float, colour: Colour) -> None:
    """Fill an area from the left up to a share, the rest dark."""
    left, top, right, bottom = area
    cv2.rectangle(picture, (left, top), (right, bottom), (45, 45, 45), -1)
    end = left + round(min(1.0, max(0.0, share)) * (right - left))
    if end > left:
        cv2.rectangle(picture, (left, top), (end, bottom), colour, -1)


def tint(picture: Rgb, where: NDArray[np.bool_], colour: Colour, strength: float) -> None:
    """Colour a part `(h, w)` of a picture through."""
    picture[where] = (picture[where] * (1 - strength) + np.array(colour) * strength).astype(np.uint8)


@dataclass
class Labels:
    """Sets labels into one picture so that none covers another, where there is room."""

    picture: Rgb
    size: int
    _taken: list[Area] = field(default_factory=list, init=False)

    def keep_free(self, area: Area) -> None:
        """Set no label here."""
        self._taken.append(area)

    def set(self, text: str, beside: Area, colour: Colour, weight: int = BOLD) -> Area:
        """Write a text on its colour: above an area, else below, else inside; returns where."""
        width = self.picture.shape[1]
        text = shorten(text, width - 2 * PAD_PX, self.size, weight)
        wide = text_width(text, self.size, weight) + 2 * PAD_PX
        high = round(self.size * 1.3)
        left, top, right, bottom = beside
        corners: Sequence[tuple[int, int]] = (
            *((x, y) for y in (top - high, bottom) for x in (left, right - wide)),
            *((left + 2, y) for y in range(top + 2, max(top + 3, bottom - high), high)),
            *((left, y) for n in range(1, 6) for y in (top - (n + 1) * high, bottom + n * high)),
        )
        places = [self._inside(x, y, wide, high) for x, y in corners]
        area = next((one for one in places if not any(_overlap(one, other) for other in self._taken)), places[0])
        self._taken.append(area)
        cv2.rectangle(self.picture, area[:2], (area[2] - 1, area[3] - 1), colour, -1)
        write(self.picture, text, area[0] + PAD_PX, area[3] - round(self.size * 0.36), self.size, ink(colour), weight)
        return area

    def _inside(self, x: int, y: int, wide: int, high: int) -> Area:
        """Shift an area into the picture."""
        left = min(max(0, x), max(0, self.picture.shape[1] - wide))
        top = min(max(0, y), max(0, self.picture.shape[0] - high))
        return left, top, left + wide, top + high


def _overlap(a: Area, b: Area) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
