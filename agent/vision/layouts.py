"""The three ways in which detectors take a picture and answer; recognised from the shapes in the file.

| layout | input | output |
| --- | --- | --- |
| `end-to-end` (YOLO26) | RGB 0–1, centred letterbox | 1×N×6: x1 y1 x2 y2 score class |
| `anchor-free` (YOLOv8, YOLO11) | RGB 0–1, centred letterbox | 1×(4+classes)×A: cx cy w h, scores; needs NMS |
| `yolox` | BGR 0–255, top-left letterbox | 1×A×(5+classes): offsets on a grid, objectness, scores; needs NMS |

A is the number of cells at strides 8, 16 and 32.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Name = Literal["end-to-end", "anchor-free", "yolox"]

STRIDES: Final = (8, 16, 32)
NMS_IOU: Final = 0.6
EXPECTED: Final = "1×N×6 (YOLO26), 1×(4+classes)×A (YOLOv8, YOLO11) or 1×A×(5+classes) (YOLOX)"


@dataclass(frozen=True)
class Found:
    """Raw detections: corners `(n, 4)` in input pixels, scores `(n,)`, classes `(n,)`."""

    corners: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """How a detector with an input of `width` × `height` pixels answers."""

    name: Name
    width: int
    height: int
    classes: int | None
    """None where the shapes do not tell (end-to-end)."""

    @property
    def centred(self) -> bool:
        """Whether the picture lies in the middle of its letterbox."""
        return self.name != "yolox"

    def blob(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn an input picture `(height, width, 3)` into what the network takes, `(1, 3, height, width)`."""
        if self.name == "yolox":
            picture = rgb[:, :, ::-1].astype(np.float32)
        else:
            picture = rgb.astype(np.float32) / np.float32(255)
        return np.ascontiguousarray(picture.transpose(2, 0, 1)[None])

    def read(self, output: NDArray[np.float32], min_score: float) -> Found:
        """Read the network's answer."""
        rows = output[0]
        if self.name == "end-to-end":
            kept = rows[rows[:, 4] >= min_score]
            return Found(kept[:, :4], kept[:, 4], kept[:, 5].astype(np.int64))
        if self.name == "anchor-free":
            rows = rows.T
            scores = rows[:, 4:]
        else:
            rows = _on_grid(rows, self.width, self.height)
            scores = rows[:, 5:] * rows[:, 4:5]
        classes = scores.argmax(1)
        best = scores[np.arange(len(scores)), classes]
        kept = best >= min_score
        centre, size = rows[kept, :2], rows[kept, 2:4]
        corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        return suppress(Found(corners, best[kept], classes[kept].astype(np.int64)))


def recognise(input_shape: Sequence[object], output_shape: Sequence[object], size: tuple[int, int]) -> Layout | None:
    """Tell the layout from the shapes; None for one that is not known.

    Args:
        input_shape: as in the file; sides that are not fixed are names.
        output_shape: as found by running the network.
        size: width and height of the input.
    """
    width, height = size
    shape = [side if isinstance(side, int) else 0 for side in output_shape]
    if len(shape) != 3 or shape[0] != 1 or len(input_shape) != 4:
        return None
    cells = sum((width // stride) * (height // stride) for stride in STRIDES)
    if shape[2] == 6 and shape[1] != cells:
        return Layout("end-to-end", width, height, None)
    if shape[2] == cells and shape[1] > 4:
        return Layout("anchor-free", width, height, shape[1] - 4)
    if shape[1] == cells and shape[2] > 5:
        return Layout("yolox", width, height, shape[2] - 5)
    return None


def suppress(found: Found) -> Found:
    """Non-maximum suppression within each class; best first."""
    if not len(found.scores):
        return found
    sizes = found.corners[:, 2:] - found.corners[:, :2]
    boxes = np.concatenate([found.corners[:, :2], sizes], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(boxes.tolist(), found.scores.tolist(), found.classes.tolist(), 0.0, NMS_IOU)
    order = np.asarray(kept, np.int64).reshape(-1)
    return Found(found.corners[order], found.scores[order], found.classes[order])


def _on_grid(rows: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Turn YOLOX's offsets into pixels: centre = (offset + cell) × stride, size = exp(size) × stride."""
    cells, strides = [], []
    for stride in STRIDES:
        ys, xs = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([xs, ys], axis=-1).reshape(-1, 2))
        strides.append(np.full((cells[-1].shape[0], 1), stride))
    cell, stride_px = np.concatenate(cells), np.concatenate(strides)
    placed = rows.copy()
    placed[:, :2] = (rows[:, :2] + cell) * stride_px
    placed[:, 2:4] = np.exp(rows[:, 2:4]) * stride_px
    return placed
