"""Photos with people in them, and what is known of each person.

Three kinds: people labelled by hand (a dataset folder in YOLO format), people found by teachers (the same, with a sixth
column: the score), and crowds of which every head is marked and some bodies have a teacher's box.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.tools import photos
from models.tools.photos import LabelledPhoto

Photo = NDArray[np.uint8]
Boxes = NDArray[np.float32]
"""Shape `(n, 4)`: x1 y1 x2 y2, px."""

SURE: Final = 0.35
"""Score of a teacher from which its box is a person; one below says that there may be somebody."""
HEAD_SHARE: Final = 0.4
"""A head lies in so much of a body's box, from the top."""
UPRIGHT: Final = 2.2
"""Height by width from which a box shows a whole body."""
WIDTH_SHARE: Final = 0.38
"""Width of a body by its height: the median of boxes that show a whole one."""
ABOVE_SHARE: Final = 0.07
"""A head's middle lies so much of the body's height below its top."""
LEAST_PX: Final = 16.0
"""A smaller body is not asked for."""
INFERRED: Final = 0.3
"""Trust in a box that is inferred from a head and the perspective."""


@dataclass(frozen=True, eq=False)
class Peopled:
    """A photo and its people.

    Args:
        rgb: shape `(h, w, 3)`.
        boxes: shape `(n, 4)`.
        trust: shape `(n,)`: 1 for a box that was seen, INFERRED for one that a head stands for.
        ignored: shape `(m, 4)`: where there may be somebody.
    """

    rgb: Photo
    boxes: Boxes
    trust: NDArray[np.float32]
    ignored: Boxes


def read_folder(folder: Path, *, unlabelled: bool = True) -> list[Peopled]:
    """Read a dataset folder in YOLO format: `images/` and `labels/`, class 0 a person.

    Args:
        folder: of the dataset.
        unlabelled: whether a photo without a label file shows nobody; False: it is left out.
    """
    found = []
    for path in sorted((folder / "images").iterdir()):
        label = folder / "labels" / f"{path.stem}.txt"
        rgb = read_photo(path)
        if rgb is None or not (unlabelled or label.exists()):
            continue
        rows = [line.split() for line in label.read_text().splitlines() if line] if label.exists() else []
        people = [row for row in rows if row[0] == "0"]
        scores = np.array([float(row[5]) if len(row) > 5 else 1.0 for row in people])
        boxes = _corners([[float(part) for part in row[1:5]] for row in people], rgb)
        sure = scores >= SURE
        found.append(Peopled(rgb, boxes[sure], np.ones(int(sure.sum()), np.float32), boxes[~sure]))
    return found


def peopled(photo: LabelledPhoto) -> Peopled:
    """Take the people of a photo that was labelled by hand, class 0."""
    boxes = photo.labelled.boxes[photo.labelled.classes == 0].astype(np.float32)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return Peopled(photo.rgb, corners, np.ones(len(boxes), np.float32), corners[:0])


def read_crowd(folder: Path, prefix: str) -> list[Peopled]:
    """Read photos in which every head is marked: `heads.json`, `images/`, and `persons/` with boxes of teachers."""
    marks = json.loads((folder / "heads.json").read_text("utf-8"))
    found = []
    for name in sorted(name for name in marks if name.startswith(prefix)):
        rgb = read_photo(folder / "images" / name)
        label = folder / "persons" / f"{Path(name).stem}.txt"
        if rgb is None or not label.exists():
            continue
        rows = [[float(part) for part in line.split()[1:5]] for line in label.read_text().splitlines() if line]
        found.append(with_heads(rgb, _corners(rows, rgb), np.array(marks[name], np.float32).reshape(-1, 2)))
    return found


def with_heads(rgb: Photo, boxes: Boxes, heads: NDArray[np.float32]) -> Peopled:
    """Give each marked head a body: a teacher's box, else one of the height that people have at that place.

    Boxes without a head are no person for sure, and ignored. Heads so far away that a body is smaller than LEAST_PX are
    ignored as well.
    """
    owners = _heads_of(boxes, heads)
    seen = owners >= 0
    upright = seen & (boxes[:, 3] - boxes[:, 1] >= UPRIGHT * (boxes[:, 2] - boxes[:, 0]))
    rest = np.setdiff1d(np.arange(len(heads)), owners[seen])
    slope, level = _perspective(heads[owners[upright], 1], boxes[upright, 3] - boxes[upright, 1])
    heights = np.maximum(slope * heads[rest, 1] + level, 4.0)
    tops = heads[rest, 1] - ABOVE_SHARE * heights
    halves = WIDTH_SHARE / 2 * heights
    limit = np.array([rgb.shape[1], rgb.shape[0]] * 2, np.float32)
    bodies = np.stack([heads[rest, 0] - halves, tops, heads[rest, 0] + halves, tops + heights], 1).clip(0, limit)
    near = heights >= LEAST_PX
    return Peopled(
        rgb,
        np.concatenate([boxes[seen], bodies[near]]).astype(np.float32),
        np.concatenate([np.ones(int(seen.sum())), np.full(int(near.sum()), INFERRED)]).astype(np.float32),
        np.concatenate([boxes[~seen], bodies[~near]]).astype(np.float32),
    )


def ious(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of corners, shape `(4,)`, with others, shape `(n, 4)`."""
    shared = (np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])).clip(0).prod(1)
    both = (others[:, 2:] - others[:, :2]).prod(1) + (box[2:] - box[:2]).prod() - shared
    return np.asarray(shared / np.maximum(both, 1e-6), np.float32)


def read_photo(path: Path) -> Photo | None:
    """Read a photo as RGB; None: it is none."""
    try:
        return photos.read_photo(path)
    except photos.NoPhotoError:
        return None


def _corners(rows: Sequence[Iterable[float]], rgb: Photo) -> Boxes:
    values = np.array([list(row) for row in rows], np.float32).reshape(-1, 4)
    size = np.array([rgb.shape[1], rgb.shape[0]] * 2, np.float32)
    return np.concatenate([values[:, :2] - values[:, 2:] / 2, values[:, :2] + values[:, 2:] / 2], 1) * size


def _heads_of(boxes: Boxes, heads: NDArray[np.float32]) -> NDArray[np.int64]:
    """Number of each box's head, one for each at most, the nearest first; -1 where it has none."""
    owners = np.full(len(boxes), -1, np.int64)
    if not len(boxes) or not len(heads):
        return owners
    sizes = boxes[:, 2:] - boxes[:, :2]
    x, y = ((heads[None, :, n] - boxes[:, None, n]) / np.maximum(sizes[:, None, n], 1) for n in (0, 1))
    fits = (x > 0) & (x < 1) & (y > -0.1) & (y < HEAD_SHARE)
    apart = np.where(fits, np.hypot(x - 0.5, y - 0.1), np.inf)
    for n in np.argsort(apart, axis=None):
        box, head = divmod(int(n), len(heads))
        if not np.isfinite(apart[box, head]):
            break
        if owners[box] < 0 and head not in owners:
            owners[box] = head
    return owners


def _perspective(ys: NDArray[np.float32], heights: NDArray[np.float32]) -> tuple[float, float]:
    """Height of a body by its head's row: slope and level of a line (median of the slopes, Theil 1950, Sen 1968)."""
    if len(ys) < 4 or float(np.ptp(ys)) < 20:
        return 0.0, float(np.median(heights)) if len(heights) else 0.0
    apart = ys[None] - ys[:, None]
    far = apart > 5
    slope = max(0.0, float(np.median((heights[None] - heights[:, None])[far] / apart[far])))
    return slope, float(np.median(heights - slope * ys))
