"""How far two detectors agree on the same pictures: what one is sure of, the other must have found as well.

Only sure finds of classes that both know count: one that sees more, and says so with low scores, is not held for worse.
"""

from typing import Final, NamedTuple

import numpy as np

from agent.vision.detector import Detections

SURE: Final = 0.5
"""Score from which on a find counts; the other one may have it with any score that it reports."""
OVERLAP: Final = 0.5
"""Intersection over union."""


class Agreement(NamedTuple):
    """Sure finds of the detector in use, those of them that the other has; and the other way round."""

    finds: int = 0
    shared: int = 0
    others: int = 0
    confirmed: int = 0


def agree(present: Detections, other: Detections) -> Agreement:
    """Compare what two detectors found in one picture."""
    total = Agreement()
    for name in set(present.names.values()) & set(other.names.values()):
        one, two = present.of(name), other.of(name)
        finds, others = one.of(name, SURE), two.of(name, SURE)
        counts = len(finds), _found(finds, two), len(others), _found(others, one)
        total = Agreement(*map(sum, zip(total, counts, strict=True)))
    return total


def _found(sure: Detections, among: Detections) -> int:
    """How many have a partner of their own, best first."""
    a, b = sure.boxes, among.boxes
    if not len(b):
        return 0
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    overlaps = inside / np.maximum(a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - inside, 1e-12)
    count = 0
    for row in overlaps:
        best = row.argmax()
        if row[best] >= OVERLAP:
            overlaps[:, best] = 0
            count += 1
    return count
