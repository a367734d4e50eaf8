"""Names for what stands, from the still picture in colour."""

import numpy as np
import pytest

from agent.vision.detector import Detections
from agent.vision.median import median
from agent.vision.naming import NAME_S, Naming, name_of

NAMES = {0: "person", 1: "bicycle", 2: "chair"}
HERE = (0.2, 0.2, 0.2, 0.2)


def found(*rows):
    """Rows of box, class, score."""
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    return Detections(
        boxes, np.array([score for *_, score in rows], np.float32), np.array([n for _, n, _ in rows], np.int64), NAMES
    )


@pytest.mark.parametrize(
    ("detections", "label"),
    [
        (found((HERE, 2, 0.6)), "chair"),
        (found((HERE, 2, 0.6), ((0.21, 0.2, 0.2, 0.2), 1, 0.9)), "chair"),  # the better fit, not the surer one
        (found(((0.2, 0.2, 0.1, 0.2), 1, 0.5)), "bicycle"),  # a part of the item
        (found(((0.1, 0.1, 0.4, 0.4), 1, 0.5)), "bicycle"),  # the still scene holds a part of the bicycle
        (found(((0.0, 0.0, 1.0, 1.0), 1, 0.9)), None),  # too large to be this
        (found(((0.7, 0.2, 0.2, 0.2), 2, 0.9)), None),  # elsewhere
        (found((HERE, 0, 0.9)), "person"),
        (found((HERE, 0, 0.3)), None),  # too doubtful to throw an item away
        (found(((0.3, 0.2, 0.2, 0.2), 0, 0.9)), None),  # somebody beside it
        (found(), None),
        (None, None),
    ],
)
def test_an_item_takes_the_name_that_lies_over_it(detections, label):
    assert name_of(detections, HERE)[0] == label


class Counting:
    """A detector that says how often it was asked, and what it saw."""

    def __init__(self):
        self.seen = []

    def detect(self, rgb):
        self.seen.append(rgb)
        return found((HERE, 2, 0.8))


def test_the_detector_looks_at_the_still_picture_every_few_seconds_and_only_if_something_waits():
    street, naming, detector = np.full((36, 64, 3), 90, np.uint8), Naming(), Counting()
    for t in range(10):
        naming.take(street, t, detector, wanted=False)
    assert not detector.seen
    for t in range(10, 30):
        passing = street.copy()
        passing[:, 3 * (t - 10) : 3 * (t - 10) + 6] = 200
        naming.take(passing, t, detector, wanted=True)
    assert len(detector.seen) == 20 / NAME_S
    assert all((still == 90).all() for still in detector.seen)
    assert naming.name(HERE) == ("chair", 0.8)


@pytest.mark.parametrize("count", [1, 3, 5, 9])
def test_the_median_is_numpys(count):
    pictures = list(np.random.default_rng(count).integers(0, 256, (count, 12, 16, 3), np.uint8))
    assert (median(pictures) == np.median(pictures, axis=0)).all()


def test_an_even_number_has_no_median_picture():
    with pytest.raises(ValueError, match="odd"):
        median([np.zeros((2, 2), np.uint8)] * 4)
