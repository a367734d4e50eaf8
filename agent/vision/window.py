"""Looking at the part of a picture that matters, where that is cheaper at the same size of things.

A detector whose input has free sides sees a part at the scale at which it sees the whole, on an input that is as much
smaller. One of a fixed input would see the part larger and take as long: it goes on with the whole.
"""

import math
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from agent.vision.counting import Eye
from agent.vision.detector import Detections
from agent.vision.tiles import Tile
from protocol.geometry import Box

STRIDE: Final = 32
"""Sides of an input are multiples of it."""
WORTH: Final = 0.7
"""A part is looked at alone where its input has at most so many of the pixels of the whole's."""
NEARLY: Final = 1e-6


class Resizable(Eye, Protocol):
    """What is asked of a detector besides: whether it takes other inputs as well."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of its input, px."""
        ...

    def resized(self, width: int, height: int) -> Eye | None:
        """The same detector with another input; None where its input is fixed."""
        ...


@dataclass(frozen=True)
class Window:
    """What of a picture is looked at, and by what.

    Args:
        eye: the detector, with an input that suits.
        size: width and height to which what is looked at is scaled, px.
        share: pixels of the input, of those that the whole takes.
        tile: the part, px; None: the whole.
        picture: width and height of the whole, px.
    """

    eye: Eye
    size: tuple[int, int]
    share: float
    tile: Tile | None
    picture: tuple[int, int]

    @property
    def part(self) -> Box | None:
        """The part in picture coordinates; None: the whole."""
        if self.tile is None:
            return None
        (width, height), tile = self.picture, self.tile
        return tile.x / width, tile.y / height, tile.width / width, tile.height / height

    @property
    def crop(self) -> Box | None:
        """What a frame is to be asked for."""
        return None if self.tile is None else self.tile.crop(*self.picture)

    def in_picture(self, found: Detections) -> Detections:
        """Turn what was found in it, shares of the part, to coordinates of the whole picture."""
        if self.part is None:
            return found
        x, y, w, h = self.part
        boxes = found.boxes * np.array([w, h, w, h], np.float32) + np.array([x, y, 0, 0], np.float32)
        return Detections(boxes, found.scores, found.classes, found.names)


def window(detector: Resizable, width: int, height: int, region: Box | None = None) -> Window:
    """Look at a region and what is around it, where that is worth it; else at the whole.

    What the input has beyond the region, as its sides are multiples of STRIDE, shows more of the picture. Where the
    whole leaves much of the input empty, as a wide picture does in a square one, an input without that is enough.

    Args:
        detector: the detector.
        width: of the picture, px.
        height: of the picture, px.
        region: in picture coordinates, cut at the picture's edges; None: the whole matters.
    """
    size = detector.fit(width, height)
    x, y, w, h = region or (0.0, 0.0, 1.0, 1.0)
    across, down = _Side.of(x, w, width, size[0]), _Side.of(y, h, height, size[1])
    share = across.input_px * down.input_px / math.prod(detector.input_size)
    eye = detector.resized(across.input_px, down.input_px) if share <= WORTH else None
    if eye is None:
        return Window(detector, size, 1.0, None, (width, height))
    tile = Tile(across.first, down.first, across.length, down.length)
    everything = (tile.width, tile.height) == (width, height)
    return Window(eye, (across.size, down.size), share, None if everything else tile, (width, height))


@dataclass(frozen=True)
class _Side:
    """Where a window lies along one side of a picture: `first` and `length` there, even; `size` of it in the input."""

    first: int
    length: int
    size: int
    input_px: int

    @classmethod
    def of(cls, begin: float, extent: float, picture_px: int, seen_px: int) -> "_Side":
        """Fit it; the whole side of `picture_px` is seen at `seen_px`."""
        low = max(0, math.floor(begin * picture_px / 2) * 2)
        high = min(picture_px, math.ceil((begin + extent) * picture_px / 2) * 2)
        scale = seen_px / picture_px
        # what is a whole number of pixels but for rounding is that number
        input_px = max(1, math.ceil((high - low) * scale / STRIDE - NEARLY)) * STRIDE
        length = int(input_px / scale + NEARLY) // 2 * 2
        if length >= picture_px:
            return cls(0, picture_px, seen_px, math.ceil(seen_px / STRIDE) * STRIDE)
        first = min(max(0, (low + high - length) // 4 * 2), picture_px - length)
        return cls(first, length, input_px, input_px)
