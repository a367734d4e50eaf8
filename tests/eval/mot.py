"""MOTA and IDF1 of tracks, for where the package `trackers` is not at hand; the two agree (`tests/eval/tracking.py`).

MOTA: Bernardin and Stiefelhagen, "Evaluating Multiple Object Tracking Performance", 2008. IDF1: Ristani et al.,
"Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking", 2016.
"""

from dataclasses import dataclass
from typing import Final

import lap
import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
"""Number of the picture, id, x, y, w, h, …; px."""

MIN_IOU: Final = 0.5


@dataclass(frozen=True)
class Tracking:
    """How well tracks follow the truth, both at most 1."""

    mota: float
    idf1: float


def score(truth: Rows, tracks: Rows) -> Tracking:
    """Compare tracks with the truth; rows of any order."""
    kept: dict[int, int] = {}
    misses = false = switches = 0
    shared: dict[tuple[int, int], int] = {}
    for number in np.union1d(truth[:, 0], tracks[:, 0]):
        real, said = truth[truth[:, 0] == number], tracks[tracks[:, 0] == number]
        overlap = _iou(real[:, 2:6], said[:, 2:6])
        for row, column in zip(*np.nonzero(overlap >= MIN_IOU), strict=True):
            pair = (int(real[row, 1]), int(said[column, 1]))
            shared[pair] = shared.get(pair, 0) + 1
        # who was matched before stays so while the boxes overlap
        held = np.array(
            [[float(kept.get(int(who)) == int(name)) for name in said[:, 1]] for who in real[:, 1]]
        ).reshape(overlap.shape)
        pairs = _assign(np.where(overlap >= MIN_IOU, overlap + 1000 * held, 0.0))
        for row, column in pairs:
            who, name = int(real[row, 1]), int(said[column, 1])
            switches += kept.get(who, name) != name
            kept[who] = name
        misses += len(real) - len(pairs)
        false += len(said) - len(pairs)
    real_ids, said_ids = np.unique(truth[:, 1]), np.unique(tracks[:, 1])
    table = np.array([[shared.get((int(who), int(name)), 0) for name in said_ids] for who in real_ids], np.float64)
    right = sum(table[row, column] for row, column in _assign(table.reshape(len(real_ids), len(said_ids))))
    return Tracking(1 - (misses + false + switches) / len(truth), 2 * float(right) / (len(truth) + len(tracks)))


def _assign(gain: Rows) -> list[tuple[int, int]]:
    """Pair rows and columns for the highest sum; pairs that gain nothing are none."""
    if not gain.size:
        return []
    _, columns, _ = lap.lapjv(gain.max() - gain, extend_cost=True)
    return [(row, int(column)) for row, column in enumerate(columns) if column >= 0 and gain[row, column] > 0]


def _iou(a: Rows, b: Rows) -> Rows:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    both = np.maximum(high - low, 0).prod(2)
    return np.asarray(both / (a[:, None, 2:].prod(2) + b[None, :, 2:].prod(2) - both), np.float64)
