"""Looking closer: a detector on overlapping tiles of a picture, where people are too small for one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import Detections

OVERLAP: Final = 0.2
"""Share of a tile; whoever is smaller than that is whole in one of two neighbours."""
CUT_PX: Final = 3.0
"""A box that ends so near to an inner edge of its tile was cut there; a neighbour or the whole picture has it whole."""
SAME_IOU: Final = 0.55
SAME_SHARE: Final = 0.7
"""Of the smaller box inside the larger one: half a person from a tile and the whole one from the picture."""


class Detects(Protocol):
    """What tiles ask of a detector."""

    def detect(self, rgb: NDArray[np.uint8]) -> Detections:
        """Find things in a picture of shape `(h, w, 3)`."""
        ...


@dataclass(frozen=True)
class Tile:
    """A part of a picture, px."""

    x: int
    y: int
    width: int
    height: int


def grid(width: int, height: int, rows: int, columns: int) -> tuple[Tile, ...]:
    """Cover a picture with tiles that overlap by OVERLAP."""
    across, down = _spans(width, columns), _spans(height, rows)
    return tuple(Tile(x, y, w, h) for y, h in down for x, w in across)


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    if count == 1:
        return [(0, length)]
    size = round(length / (count - (count - 1) * OVERLAP))
    return [(round(n * (length - size) / (count - 1)), size) for n in range(count)]


def detect_tiled(detector: Detects, rgb: NDArray[np.uint8], tiles: Sequence[Tile]) -> Detections:
    """Find things in each tile and merge what several tiles saw.

    Args:
        detector: its own suppression has been done within each tile.
        rgb: shape `(h, w, 3)`.
        tiles: at least one; the whole picture should be among them, for what is larger than a tile.
    """
    height, width = rgb.shape[:2]
    found = [_in_tile(detector, rgb, tile) for tile in tiles]
    boxes = np.concatenate([one.boxes for one in found])
    scores = np.concatenate([one.scores for one in found])
    classes = np.concatenate([one.classes for one in found])
    # in pixels: shares are distorted by the picture's proportions
    kept = merge(boxes * np.array([width, height, width, height], np.float32), scores, classes)
    return Detections(boxes[kept], scores[kept], classes[kept], found[0].names)


def _in_tile(detector: Detects, rgb: NDArray[np.uint8], tile: Tile) -> Detections:
    height, width = rgb.shape[:2]
    part = rgb[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
    found = detector.detect(np.ascontiguousarray(part))
    boxes = found.boxes * np.array([tile.width, tile.height, tile.width, tile.height], np.float32)
    right, low = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    cut = (boxes[:, 0] < CUT_PX) & (tile.x > 0)
    cut |= (boxes[:, 1] < CUT_PX) & (tile.y > 0)
    cut |= (right > tile.width - CUT_PX) & (tile.x + tile.width < width)
    cut |= (low > tile.height - CUT_PX) & (tile.y + tile.height < height)
    boxes[:, :2] += (tile.x, tile.y)
    boxes /= np.array([width, height, width, height], np.float32)
    whole = ~cut
    return Detections(boxes[whole], found.scores[whole], found.classes[whole], found.names)


def merge(boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Say which boxes stay: of two of one class that show the same, the better one. Indices, best first.

    Args:
        boxes: shape `(n, 4)`, x y w h, px.
        scores: shape `(n,)`.
        classes: shape `(n,)`.
    """
    order = np.argsort(-scores, kind="stable")
    low, high, area = boxes[:, :2], boxes[:, :2] + boxes[:, 2:], boxes[:, 2] * boxes[:, 3]
    kept: list[int] = []
    for index in order:
        rivals = np.array(kept, np.int64)
        shared = np.maximum(np.minimum(high[rivals], high[index]) - np.maximum(low[rivals], low[index]), 0).prod(1)
        same = (shared > SAME_IOU * (area[rivals] + area[index] - shared)) | (
            shared > SAME_SHARE * np.minimum(area[rivals], area[index])
        )
        if not (same & (classes[rivals] == classes[index])).any():
            kept.append(int(index))
    return np.array(kept, np.int64)
