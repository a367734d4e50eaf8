"""Looking closer: a detector on overlapping tiles of a picture, where people are too small for one pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import Detections
from protocol.geometry import Box

OVERLAP: Final = 0.2
"""Share of a tile; whoever is smaller than that is whole in one of two neighbours."""
CUT_PX: Final = 3.0
"""A box that ends so near to an inner edge of its tile was cut there; a neighbour or the whole picture has it whole."""
SAME_IOU: Final = 0.55
SAME_SHARE: Final = 0.7
"""Of the smaller box inside the larger one: half a person from a tile and the whole one from the picture."""
MAX_ZOOM: Final = 2.0
"""Enlarged further than this, a picture shows nothing more."""
WORTH: Final = 1.2
"""Tiles that enlarge by less are not worth their time."""
MAX_SIDE: Final = 4
"""Rows, and columns, of tiles at most."""


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

    def crop(self, width: int, height: int) -> Box:
        """What a frame of this size is to be asked for: half a pixel less, as it is cut at even ones, rounded out."""
        return (self.x + 0.5) / width, (self.y + 0.5) / height, (self.width - 1) / width, (self.height - 1) / height


def grid(width: int, height: int, rows: int, columns: int) -> tuple[Tile, ...]:
    """Cover a picture with tiles that overlap by OVERLAP."""
    across, down = _spans(width, columns), _spans(height, rows)
    return tuple(Tile(x, y, w, h) for y, h in down for x, w in across)


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    if count == 1:
        return [(0, length)]
    size = round(length / (count - (count - 1) * OVERLAP))
    return [(round(n * (length - size) / (count - 1)), size) for n in range(count)]


def tiling(
    region: Tile, fit: Callable[[int, int], tuple[int, int]], zoom: float, wanted: float, affordable: int
) -> tuple[Tile, ...]:
    """Cover a region with the fewest tiles that enlarge it as wanted; where none do, with those that enlarge most.

    Args:
        region: the part of the picture, px.
        fit: size at which the detector wants a picture of a size.
        zoom: at which the detector sees the whole picture, its pixels per pixel of the picture.
        wanted: zoom at which people are tall enough for it; no tile goes beyond MAX_ZOOM.
        affordable: tiles at most.
    """
    best: tuple[Tile, ...] = ()
    best_zoom = WORTH * zoom
    wanted = min(max(wanted, best_zoom), MAX_ZOOM)
    sides = sorted(product(range(1, MAX_SIDE + 1), repeat=2), key=lambda side: side[0] * side[1])
    for rows, columns in sides:
        if rows * columns > affordable:
            break
        tiles = grid(region.width, region.height, rows, columns)
        its_zoom = min(fit(tiles[0].width, tiles[0].height)[0] / tiles[0].width, MAX_ZOOM)
        if its_zoom >= best_zoom and (not best or its_zoom > 1.05 * best_zoom):
            best, best_zoom = tiles, its_zoom
        if best and best_zoom >= wanted:
            break
    return tuple(Tile(region.x + tile.x, region.y + tile.y, tile.width, tile.height) for tile in best)


def detect_tiled(detector: Detects, rgb: NDArray[np.uint8], tiles: Sequence[Tile]) -> list[Detections]:
    """Find things in each tile of a picture of shape `(h, w, 3)`; as `detect_each`."""

    def detect(tile: Tile) -> Detections:
        part = rgb[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
        return detector.detect(np.ascontiguousarray(part))

    return detect_each(tiles, (rgb.shape[1], rgb.shape[0]), detect)


def detect_each(tiles: Sequence[Tile], size: tuple[int, int], detect: Callable[[Tile], Detections]) -> list[Detections]:
    """Find things in each tile.

    Args:
        tiles: the parts.
        size: width and height of the picture, px.
        detect: finds things in a tile, in its own coordinates; its own suppression has been done.

    Returns:
        One for each tile, in coordinates of the picture, without boxes that an inner edge of the tile cuts.
    """
    return [_whole(detect(tile), tile, size) for tile in tiles]


def merged(looks: Sequence[Detections], size: tuple[int, int]) -> Detections:
    """Put together what several looks saw; `size` is the picture's width and height, px. At least one look."""
    boxes = np.concatenate([one.boxes for one in looks])
    scores = np.concatenate([one.scores for one in looks])
    classes = np.concatenate([one.classes for one in looks])
    # in pixels: shares are distorted by the picture's proportions
    kept = merge(boxes * np.array([*size, *size], np.float32), scores, classes)
    return Detections(boxes[kept], scores[kept], classes[kept], looks[0].names)


def _whole(found: Detections, tile: Tile, size: tuple[int, int]) -> Detections:
    width, height = size
    boxes = found.boxes * np.array([tile.width, tile.height, tile.width, tile.height], np.float32)
    right, low = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    cut = (boxes[:, 0] < CUT_PX) & (tile.x > 0)
    cut |= (boxes[:, 1] < CUT_PX) & (tile.y > 0)
    cut |= (right > tile.width - CUT_PX) & (tile.x + tile.width < width)
    cut |= (low > tile.height - CUT_PX) & (tile.y + tile.height < height)
    boxes[:, :2] += (tile.x, tile.y)
    boxes /= np.array([width, height, width, height], np.float32)
    return Detections(boxes[~cut], found.scores[~cut], found.classes[~cut], found.names)


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
