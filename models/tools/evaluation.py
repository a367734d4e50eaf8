"""How good a detector is on labelled photos: COCO's mean average precision."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

IOUS: Final = np.linspace(0.5, 0.95, 10)
RECALLS: Final = np.linspace(0, 1, 101)
ANY_SIZE: Final = (0.0, float("inf"))
SIZES_PX2: Final = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}
"""Areas of COCO's three sizes."""
EVALUATION_SCORE: Final = 0.001
"""Precision is averaged over all recalls, so that doubtful boxes count as well."""
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

    def of(self, classes: Collection[int]) -> "Labelled":
        """Keep some classes."""
        kept = np.isin(self.classes, list(classes))
        return Labelled(self.boxes[kept], self.classes[kept])


@dataclass(frozen=True, eq=False)
class Found:
    """Detections of one photo, px: as `Labelled`, with scores of shape `(n,)`."""

    boxes: Array
    classes: NDArray[np.int64]
    scores: Array

    def of(self, classes: Collection[int]) -> "Found":
        """Keep some classes."""
        kept = np.isin(self.classes, list(classes))
        return Found(self.boxes[kept], self.classes[kept], self.scores[kept])


@dataclass(frozen=True)
class Quality:
    """Average precisions, 0 to 1; classes without a label in the photos are left out.

    Args:
        map50_95: mean over classes and IoUs.
        map50: mean over classes at IoU .5.
        ap50: of each class at IoU .5.
        sizes: `map50_95` of small, medium and large things alone, where there are any.
    """

    map50_95: float
    map50: float
    ap50: dict[int, float]
    sizes: dict[str, float]


@dataclass(frozen=True, eq=False)
class Ranking:
    """All boxes of one class in all photos, best first; b boxes, p photos.

    Args:
        photos: shape `(b,)`: in which photo each is.
        hits: shape `(10, b)`: whether it hits a truth, for each IoU.
        asked: shape `(10, b)`: whether it counts; what matches a thing of another size does not.
        wanted: shape `(p,)`: truths in each photo.
    """

    photos: NDArray[np.int64]
    hits: NDArray[np.bool_]
    asked: NDArray[np.bool_]
    wanted: NDArray[np.int64]

    def precisions(self, weights: Array | None = None) -> Array | None:
        """Average precision for each IoU, shape `(10,)`; None where nothing was to be found.

        Args:
            weights: of the photos, shape `(p,)`: how often each is counted; None: once.
        """
        each = np.ones(len(self.wanted)) if weights is None else weights
        count = float((self.wanted * each).sum())
        if not count:
            return None
        weighted = each[self.photos] * self.asked
        true = np.cumsum(weighted * self.hits, axis=1)
        said = np.cumsum(weighted, axis=1)
        precision, recall = true / np.maximum(said, 1e-9), true / count
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        result = np.zeros(len(IOUS))
        for row in range(len(IOUS)):
            at = np.searchsorted(recall[row], RECALLS, side="left")
            result[row] = np.append(envelope[row], 0)[at].mean()
        return result


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


def evaluate(photos: Sequence[tuple[Labelled, Found]]) -> Quality:
    """Average precision as COCO defines it: ten IoUs from .50 to .95, 101 recalls, at most 100 boxes a photo."""
    precisions = {number: found for number, one in rank(photos).items() if (found := one.precisions()) is not None}
    if not precisions:
        return Quality(0.0, 0.0, {}, {})
    table = np.array(list(precisions.values()))
    sizes = {}
    for name, limits in SIZES_PX2.items():
        of_size = [one for ranking in rank(photos, limits).values() if (one := ranking.precisions()) is not None]
        if of_size:
            sizes[name] = float(np.mean(of_size))
    ap50 = {number: float(row[0]) for number, row in precisions.items()}
    return Quality(float(table.mean()), float(table[:, 0].mean()), ap50, sizes)


def rank(photos: Sequence[tuple[Labelled, Found]], limits_px2: tuple[float, float] = ANY_SIZE) -> dict[int, Ranking]:
    """Match boxes with truths and order them by score, class by class.

    Args:
        photos: what is in them and what was found.
        limits_px2: areas between which things are asked for; others are neither right nor wrong.
    """
    rows: dict[int, list[tuple[int, Array, NDArray[np.bool_], NDArray[np.bool_]]]] = defaultdict(list)
    wanted: dict[int, NDArray[np.int64]] = defaultdict(lambda: np.zeros(len(photos), np.int64))
    for index, (labelled, found) in enumerate(photos):
        best = np.argsort(-found.scores, kind="stable")
        for number in np.union1d(labelled.classes, found.classes).tolist():
            truth = labelled.boxes[labelled.classes == number]
            mine = best[found.classes[best] == number][:MAX_DETECTIONS]
            asked = _within(truth, limits_px2)
            wanted[number][index] = int(asked.sum())
            hits, left = _match(truth, asked, found.boxes[mine])
            counts = hits | (~left & _within(found.boxes[mine], limits_px2))
            rows[number].append((index, found.scores[mine], hits, counts))
    return {number: _ranked(parts, wanted[number]) for number, parts in rows.items()}


def _ranked(
    parts: Sequence[tuple[int, Array, NDArray[np.bool_], NDArray[np.bool_]]], wanted: NDArray[np.int64]
) -> Ranking:
    scores = np.concatenate([part[1] for part in parts])
    photos = np.concatenate([np.full(len(part[1]), part[0]) for part in parts])
    order = np.argsort(-scores, kind="stable")
    hits, asked = (np.concatenate([part[n] for part in parts], axis=1)[:, order] for n in (2, 3))
    return Ranking(photos[order], hits, asked, wanted)


def _within(boxes: Array, limits_px2: tuple[float, float]) -> NDArray[np.bool_]:
    areas = boxes[:, 2:].prod(1)
    return np.asarray((areas >= limits_px2[0]) & (areas <= limits_px2[1]), np.bool_)


def _match(truth: Array, asked: NDArray[np.bool_], boxes: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say for each IoU and box, best first, whether it hits a truth that no better box has hit.

    Gives the hits of truths that are asked for, and of those that are not, each of shape `(10, n)`.
    """
    hits, left = (np.zeros((len(IOUS), len(boxes)), np.bool_) for _ in range(2))
    if not len(truth):
        return hits, left
    low = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    high = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], truth[None, :, :2] + truth[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(2)
    union = boxes[:, 2:].prod(1)[:, None] + truth[:, 2:].prod(1)[None] - shared
    iou = shared / np.maximum(union, 1e-9)
    for row, limit in enumerate(IOUS):
        free = np.ones(len(truth), np.bool_)
        for index in range(len(boxes)):
            for kind, result in ((asked, hits), (~asked, left)):
                open_iou = np.where(free & kind, iou[index], 0)
                best = int(open_iou.argmax())
                if open_iou[best] >= limit:
                    result[row, index] = True
                    free[best] = False
                    break
    return hits, left
