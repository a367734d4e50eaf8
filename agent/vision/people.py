"""Counting people: by their feet in a zone, in a whole photo, or as heads in a crowd."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.crowds import CrowdCounter
from agent.vision.detector import Detections
from agent.vision.tiles import Detects, detect_tiled, grid, merged
from protocol.geometry import Polygon, contains

MIN_SCORE: Final = 0.25
"""From this score on a box fills a look, and may be somebody."""
COUNT_SCORE: Final = 0.45
"""From this score on somebody is counted. The error is flat from 0.4 to 0.6 on vtest.avi and COCO's photos with few
people (yolo26n); below, some are doubled, above, some are lost."""
SATURATION: Final = 11
"""People in one look from which on there may be any number: of 39 photos with 20 to 500 people, one look at 640 pixels
finds 11 to 19 in each."""


@dataclass(frozen=True)
class Headcount:
    """How many people there are."""

    count: int
    lower_bound: bool


def count_people(found: Detections, polygon: Polygon) -> int:
    """Count the people whose feet are in a zone.

    Feet are the middle of a box's lower edge. A body that is cut off by the picture's lower edge stands at that edge.
    """
    persons = found.of("person", min_score=COUNT_SCORE)
    feet = np.stack(
        [persons.boxes[:, 0] + persons.boxes[:, 2] / 2, persons.boxes[:, 1] + persons.boxes[:, 3]], axis=1
    ).astype(np.float64)
    # a polygon that reaches the edge includes it
    feet = np.clip(feet, 0, 1 - 1e-6)
    return int(contains(polygon, feet).sum())


def fullest(looks: Sequence[Detections]) -> int:
    """People in the look that holds most."""
    return max((len(look.of("person", min_score=MIN_SCORE)) for look in looks), default=0)


def count_photo(detector: Detects, rgb: NDArray[np.uint8]) -> Headcount:
    """Count the people that a detector finds in a photo of shape `(h, w, 3)`, looking closer at its quarters."""
    height, width = rgb.shape[:2]
    looks = detect_tiled(detector, rgb, (*grid(width, height, 1, 1), *grid(width, height, 2, 2)))
    found = merged([look.of("person") for look in looks], (width, height))
    return Headcount(len(found.of("person", min_score=COUNT_SCORE)), fullest(looks) >= SATURATION)


def count_heads(counter: CrowdCounter, rgb: NDArray[np.uint8]) -> Headcount:
    """Count the heads in a photo of shape `(h, w, 3)`."""
    return Headcount(round(counter.look(rgb).count), lower_bound=False)
