"""How far two detectors agree on the same pictures: what one is sure of, the other must have found as well.

Against the one in use, not against the truth, which nobody knows on a live picture. Only sure finds count, so that one
that sees more, and says so with low scores, is not held for worse; only classes that both know.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import Detections

SURE: Final = 0.5
"""Score from which on a find counts; the other one may have it with any score that it reports."""
OVERLAP: Final = 0.5


@dataclass(frozen=True)
class Agreement:
    """Sums over pictures.

    Args:
        finds: sure ones of the detector in use.
        shared: of these, found by the other.
        others: sure ones of the other.
        confirmed: of these, found by the one in use.
    """

    finds: int = 0
    shared: int = 0
    others: int = 0
    confirmed: int = 0

    def __add__(self, more: "Agreement") -> "Agreement":
        """Both together."""
        return Agreement(
            self.finds + more.finds,
            self.shared + more.shared,
            self.others + more.others,
            self.confirmed + more.confirmed,
        )

    @property
    def recall(self) -> float | None:
        """Share of what the one in use is sure of that the other has found."""
        return self.shared / self.finds if self.finds else None

    @property
    def precision(self) -> float | None:
        """Share of what the other is sure of that the one in use has found."""
        return self.confirmed / self.others if self.others else None


def agree(present: Detections, other: Detections) -> Agreement:
    """Compare what two detectors found in one picture."""
    names = set(present.names.values()) & set(other.names.values())
    total = Agreement()
    for name in names:
        one, two = present.of(name), other.of(name)
        finds, others = one.of(name, SURE), two.of(name, SURE)
        total += Agreement(len(finds), _found(finds, two), len(others), _found(others, one))
    return total


def _found(sure: Detections, among: Detections) -> int:
    """How many have a partner of their own, best first."""
    overlaps = _overlaps(sure.boxes, among.boxes)
    count = 0
    for row in range(len(sure)):
        best = int(np.argmax(overlaps[row])) if overlaps.shape[1] else -1
        if best >= 0 and overlaps[row, best] >= OVERLAP:
            overlaps[:, best] = 0
            count += 1
    return count


def _overlaps(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of boxes x y w h, shapes `(n, 4)` and `(m, 4)`: `(n, m)`."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)
    whole = a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - inside
    return np.asarray(inside / np.maximum(whole, 1e-12), np.float32)
