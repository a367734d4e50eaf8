"""How good a detector is on labelled photos: COCO's mean average precision."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

IOUS: Final = np.linspace(0.5, 0.95, 10)
RECALLS: Final = np.linspace(0, 1, 101)
MAX_DETECTIONS: Final = 100
"""Per photo and class, as COCO counts."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Boxes of one photo, px.

    Args:
        boxes: shape `(n, 4)`, x y w h.
        classes: shape `(n,)`.
    """

    boxes: Array
    classes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Found:
    """Detections of one photo, px: as `Labelled`, with scores of shape `(n,)`."""

    boxes: Array
    classes: NDArray[np.int64]
    scores: Array


@dataclass(frozen=True)
class Quality:
    """Average precisions, 0 to 1; classes without a label in the photos are left out."""

    map50_95: float
    map50: float
    ap50: dict[int, float]


def read_labels(text: str, width: int, height: int) -> Labelled:
    """Read one label file in YOLO format (class, centre x, centre y, width, height; 0 to 1).

    Raises:
        ValueError: a line that is no label.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    rows = np.array([_label(number, line) for number, line in lines], np.float64).reshape(-1, 5)
    sizes = rows[:, 3:5] * (width, height)
    low = rows[:, 1:3] * (width, height) - sizes / 2
    return Labelled(np.column_stack([low, sizes]), rows[:, 0].astype(np.int64))


def _label(number: int, line: str) -> list[float]:
    try:
        kind, *box = (float(part) for part in line.split()[:5])
    except ValueError:
        kind, box = -1.0, []
    if len(box) != 4 or kind != int(max(kind, 0)) or not np.isfinite(box).all():
        raise ValueError(f"line {number}: expected class, centre x, centre y, width and height, got {line[:60]!r}")
    return [kind, *box]


def evaluate(photos: Iterable[tuple[Labelled, Found]]) -> Quality:
    """Average precision as COCO defines it: ten IoUs from .50 to .95, 101 recalls, at most 100 boxes a photo."""
    wanted: dict[int, int] = defaultdict(int)
    scores: dict[int, list[Array]] = defaultdict(list)
    hits: dict[int, list[NDArray[np.bool_]]] = defaultdict(list)
    for labelled, found in photos:
        best = np.argsort(-found.scores, kind="stable")
        for number in np.union1d(labelled.classes, found.classes).tolist():
            truth = labelled.boxes[labelled.classes == number]
            mine = best[found.classes[best] == number][:MAX_DETECTIONS]
            wanted[number] += len(truth)
            scores[number].append(found.scores[mine])
            hits[number].append(_match(truth, found.boxes[mine]))
    precisions = {
        number: _average_precisions(np.concatenate(scores[number]), np.concatenate(hits[number], axis=1), count)
        for number, count in wanted.items()
        if count
    }
    if not precisions:
        return Quality(0.0, 0.0, {})
    table = np.array(list(precisions.values()))
    return Quality(
        float(table.mean()), float(table[:, 0].mean()), {number: float(row[0]) for number, row in precisions.items()}
    )


def _match(truth: Array, boxes: Array) -> NDArray[np.bool_]:
    """Say for each IoU and box, best first, whether it hits a truth that no better box has hit. Shape `(10, n)`."""
    hits = np.zeros((len(IOUS), len(boxes)), np.bool_)
    if not len(truth):
        return hits
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], truth[None, :, :2] + truth[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(2)
    union = boxes[:, 2:].prod(1)[:, None] + truth[:, 2:].prod(1)[None] - shared
    iou = shared / np.maximum(union, 1e-9)
    for row, limit in enumerate(IOUS):
        free = np.ones(len(truth), np.bool_)
        for index in range(len(boxes)):
            open_iou = np.where(free, iou[index], 0)
            best = int(open_iou.argmax())
            if open_iou[best] >= limit:
                hits[row, index] = True
                free[best] = False
    return hits


def _average_precisions(scores: Array, hits: NDArray[np.bool_], count: int) -> Array:
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(hits[:, order], axis=1)
    precision = true / np.arange(1, len(order) + 1) if len(order) else np.zeros((len(IOUS), 0))
    recall = true / count
    result = np.zeros(len(IOUS))
    for row in range(len(IOUS)):
        envelope = np.maximum.accumulate(precision[row][::-1])[::-1]
        at = np.searchsorted(recall[row], RECALLS, side="left")
        result[row] = np.where(at < len(envelope), np.append(envelope, 0)[np.minimum(at, len(envelope))], 0).mean()
    return result
