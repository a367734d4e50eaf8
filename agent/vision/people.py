"""Counting people: by their feet in a zone, in a whole photo, or as heads in a crowd."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.crowds import CrowdCounter
from agent.vision.detector import Detections
from agent.vision.tiles import Detects, detect_tiled, grid
from protocol.geometry import Polygon, contains

MIN_SCORE: Final = 0.25
PHOTO_SCORE: Final = 0.4
"""For few people the error is least at 0.4 to 0.5 (vtest.avi, yolo26n: 0.5 people); 0.25 doubles some."""
SATURATION: Final = 12
"""From so many people in one picture on, a count is a lower bound: on street photos with 41, 101 and 249 people the
detectors find 14 to 15 each time (measured at 640 pixels)."""


@dataclass(frozen=True)
class Headcount:
    """How many people there are."""

    count: int
    lower_bound: bool


def count_people(found: Detections, polygon: Polygon) -> Headcount:
    """Count the people whose feet are in a zone.

    Feet are the middle of a box's lower edge. A body that is cut off by the picture's lower edge stands at that edge.
    """
    persons = found.of("person", min_score=MIN_SCORE)
    feet = np.stack(
        [persons.boxes[:, 0] + persons.boxes[:, 2] / 2, persons.boxes[:, 1] + persons.boxes[:, 3]], axis=1
    ).astype(np.float64)
    # a polygon that reaches the edge includes it
    feet = np.clip(feet, 0, 1 - 1e-6)
    return Headcount(int(contains(polygon, feet).sum()), len(persons) >= SATURATION)


def count_photo(detector: Detects, rgb: NDArray[np.uint8]) -> Headcount:
    """Count the people that a detector finds in a photo of shape `(h, w, 3)`, looking closer at its quarters."""
    height, width = rgb.shape[:2]
    quarters = grid(width, height, 2, 2)
    found = detect_tiled(detector, rgb, (*grid(width, height, 1, 1), *quarters)).of("person", min_score=PHOTO_SCORE)
    middles = (found.boxes[:, :2] + found.boxes[:, 2:] / 2) * (width, height)
    fullest = max(
        int(((middles >= (tile.x, tile.y)) & (middles < (tile.x + tile.width, tile.y + tile.height))).all(1).sum())
        for tile in quarters
    )
    return Headcount(len(found), fullest >= SATURATION)


def count_heads(counter: CrowdCounter, rgb: NDArray[np.uint8]) -> Headcount:
    """Count the heads in a photo of shape `(h, w, 3)`."""
    return Headcount(round(counter.look(rgb).count), lower_bound=False)
