"""Naming what stands: a detector looks at the still picture in colour, every few seconds, where a name is wanted.

On the still picture things are not hidden by those who pass, and who passes is not found in it.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import Detections
from agent.vision.median import median
from agent.vision.tiles import Detects
from protocol.geometry import Box, box_intersection, box_iou

NAME_S: Final = 5.0
SPACING_S: Final = 1.0
STALE_S: Final = 30.0
"""A picture that is so much older than the next one shows another scene."""
PICTURES: Final = 5
MIN_IOU: Final = 0.3
COVERED: Final = 0.6
"""So much of an item inside a named thing, or of the thing inside the item, is a name as well: a second thing beside it
makes an item larger, and the still scene may hold only a part of a bicycle."""
PERSON: Final = "person"
PERSON_IOU: Final = 0.4
PERSON_SCORE: Final = 0.4

Rgb = NDArray[np.uint8]


@dataclass
class StillPicture:
    """The last pictures of one camera at the detector's size: 5 of 640 × 360 are 3.5 MB."""

    _kept: deque[tuple[float, Rgb]] = field(default_factory=lambda: deque(maxlen=PICTURES))

    def add(self, rgb: Rgb, time_s: float) -> None:
        """Take a picture, unless the last one is too fresh to tell anything new."""
        if self._kept and (self._kept[-1][1].shape != rgb.shape or time_s - self._kept[-1][0] > STALE_S):
            self._kept.clear()
        if not self._kept or time_s - self._kept[-1][0] >= SPACING_S:
            self._kept.append((time_s, rgb))

    def picture(self) -> Rgb | None:
        """Median of the last pictures, shape `(h, w, 3)`; None while there are too few."""
        return median([rgb for _, rgb in self._kept]) if len(self._kept) == PICTURES else None


@dataclass
class Naming:
    """The names of what stands before one camera."""

    found: Detections | None = None
    """What the detector saw on the last still picture."""
    _pictures: StillPicture = field(default_factory=StillPicture)
    _looked_s: float = field(default=float("-inf"))

    def take(self, rgb: Rgb, time_s: float, detector: Detects, *, wanted: bool) -> None:
        """Take a picture of shape `(h, w, 3)`, and look closer now and then, where something waits for a name."""
        if not wanted:
            return
        self._pictures.add(rgb, time_s)
        if time_s - self._looked_s < NAME_S:
            return
        still = self._pictures.picture()
        if still is not None:
            self.found, self._looked_s = detector.detect(still), time_s

    def name(self, box: Box) -> tuple[str | None, float | None]:
        """Give an item's label and score; None twice where the detector has no word for it."""
        return name_of(self.found, box)


def name_of(found: Detections | None, box: Box) -> tuple[str | None, float | None]:
    """Name an item by the detection that lies over it best; `person` where somebody stands as still as a thing."""
    best, label, score = 0.0, None, None
    for row, number, its_score in zip(
        *((found.boxes, found.classes, found.scores) if found is not None else ((), (), ())), strict=True
    ):
        candidate, its_label = _box(row), found.names[int(number)] if found is not None else ""
        overlap = box_iou(box, candidate)
        smaller = min(box[2] * box[3], candidate[2] * candidate[3])
        fits = overlap >= MIN_IOU or (
            smaller > 0 and overlap > 0.1 and box_intersection(box, candidate) >= COVERED * smaller
        )
        # a name of a person throws an item away: it has to fit well and be sure
        if its_label == PERSON:
            fits = overlap >= PERSON_IOU and its_score >= PERSON_SCORE
        if fits and overlap > best:
            best, label, score = overlap, its_label, round(float(its_score), 3)
    return label, score


def _box(row: NDArray[np.float32]) -> Box:
    x, y, w, h = (float(number) for number in row)
    return x, y, w, h
