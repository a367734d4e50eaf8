"""Finding faces with YuNet, in pictures of any size: by parts of the size that its file was made for.

On one thread ONNX Runtime takes half of the time that OpenCV's own runtime does for the same network.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.vision.runtime import open_on_processor

SCORE: Final = 0.3
"""Lower than for recognition: a sign that is pixelated costs nothing, a face that is not costs somebody's privacy."""
MAX_IOU: Final = 0.3
STRIDES: Final = (8, 16, 32)
MAX_SEARCHED_PX: Final = 2048
"""Faces are searched in the whole, which shows large ones, and at double size, so that small ones are found, no further
than this."""
SHARED_PX: Final = 128
"""By so much parts overlap; a larger face is found where the picture is small enough for one part."""
BLANK: Final = 256
APART_PX: Final = 32
"""Between small pictures that are searched at once."""

Bgr = NDArray[np.uint8]
Boxes = NDArray[np.float64]
"""Shape `(n, 4)`, x y w h, px."""


class FaceModelError(Exception):
    """A file that is no YuNet."""


@dataclass(frozen=True, eq=False)
class _Part:
    """A piece of a picture at a scale; `left` and `top` are where it begins, px at that scale."""

    bgr: Bgr
    scale: float
    left: int
    top: int


@dataclass(frozen=True)
class FaceFinder:
    """A loaded YuNet; may be used by several threads, of which all but one wait.

    Source of the network and of how its answers are read: Wu, Peng and Yu, YuNet: A Tiny Millisecond-level Face
    Detector, 2023, and OpenCV's `FaceDetectorYN`.
    """

    _session: Any = field(repr=False)
    _side_px: int
    _blank: OrderedDict[bytes, None] = field(default_factory=OrderedDict, repr=False)
    """Digests of the last searches that found nobody. Evidence is searched until nothing is found any more, and most of
    it stays as it was."""
    # one search at a time, for the memory
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a file and try it; raises FaceModelError."""
        try:
            session = open_on_processor(path)
            height, width = session.get_inputs()[0].shape[2:]
            # other files leave it free
            side_px = width if isinstance(width, int) and width == height else 640
            finder = cls(session, side_px)
            finder.search(np.zeros((side_px, side_px, 3), np.uint8))
        except Exception as fault:  # noqa: BLE001 - ONNX Runtime's own classes share nothing but Exception
            raise FaceModelError(f"expected a YuNet face model, it fails ({type(fault).__name__})") from None
        return finder

    def search(self, bgr: Bgr) -> Boxes:
        """Find faces in a picture of shape `(h, w, 3)` at several scales; one may be found more than once."""
        height, width = bgr.shape[:2]
        longest = max(height, width)
        scales = {min(1.0, self._side_px / longest), min(2.0, MAX_SEARCHED_PX / longest)}
        parts = [part for scale in sorted(scales) for part in self._parts(bgr, scale)]
        found = [np.zeros((0, 4))]
        for shelf in self._shelves(parts):
            canvas, top = np.zeros((self._side_px, self._side_px, 3), np.uint8), 0
            for part in shelf:
                canvas[top : top + part.bgr.shape[0], : part.bgr.shape[1]] = part.bgr
                top += part.bgr.shape[0] + APART_PX
            boxes, top = self._faces(canvas), 0
            for part in shelf:
                below = top + part.bgr.shape[0]
                middles = boxes[:, 1] + boxes[:, 3] / 2
                here = boxes[(middles >= top - APART_PX / 2) & (middles < below + APART_PX / 2)]
                found.append((here + np.array([part.left, part.top - top, 0, 0])) / part.scale)
                top = below + APART_PX
        return np.concatenate(found)

    def _parts(self, bgr: Bgr, scale: float) -> Iterator[_Part]:
        """Cut a picture at a scale into parts that overlap."""
        size = (max(1, round(bgr.shape[1] * scale)), max(1, round(bgr.shape[0] * scale)))
        scaled = bgr if scale == 1 else np.asarray(cv2.resize(bgr, size), np.uint8)
        rows, columns = (_spans(length, self._side_px) for length in scaled.shape[:2])
        for (top, below), (left, right) in product(rows, columns):
            yield _Part(scaled[top:below, left:right], scale, left, top)

    def _shelves(self, parts: list[_Part]) -> Iterator[list[_Part]]:
        """Put parts above each other, as many as fit into one search."""
        shelf: list[_Part] = []
        for part in parts:
            taken = sum(one.bgr.shape[0] + APART_PX for one in shelf)
            if taken + part.bgr.shape[0] > self._side_px:
                yield shelf
                shelf = []
            shelf.append(part)
        yield shelf

    def _faces(self, canvas: Bgr) -> Boxes:
        digest = blake2b(canvas.tobytes(), digest_size=16).digest()
        blob = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32)
        names = [one.name for one in self._session.get_outputs()]
        with self._lock:
            if digest in self._blank:
                self._blank.move_to_end(digest)
                return np.zeros((0, 4))
            answers = dict(zip(names, self._session.run(None, {self._session.get_inputs()[0].name: blob}), strict=True))
        boxes, scores = [], []
        for stride in STRIDES:
            columns = self._side_px // stride
            chances = np.sqrt(
                answers[f"cls_{stride}"].reshape(-1).clip(0, 1) * answers[f"obj_{stride}"].reshape(-1).clip(0, 1)
            )
            (likely,) = np.nonzero(chances >= SCORE)
            # distance of the middle from the cell's corner, and logarithms of both sides, in cells
            offsets = answers[f"bbox_{stride}"].reshape(-1, 4)[likely]
            corners = np.stack([likely % columns, likely // columns], axis=1)
            sides = np.exp(offsets[:, 2:].astype(np.float64).clip(-8, 8)) * stride
            middles = (corners + offsets[:, :2]) * stride
            boxes.append(np.concatenate([middles - sides / 2, sides], axis=1))
            scores.append(chances[likely])
        if not any(map(len, scores)):
            with self._lock:
                self._blank[digest] = None
                if len(self._blank) > BLANK:
                    self._blank.popitem(last=False)
            return np.zeros((0, 4))
        all_boxes, all_scores = np.concatenate(boxes), np.concatenate(scores).astype(np.float64)
        kept = cv2.dnn.NMSBoxes(all_boxes.tolist(), all_scores.tolist(), SCORE, MAX_IOU)
        return all_boxes[np.asarray(kept, np.int64).reshape(-1)]


def _spans(length: int, part: int) -> list[tuple[int, int]]:
    """Begin and end of parts that cover a length and overlap by SHARED_PX at least, none of them padded.

    At the edge of a picture somebody is seen in part, and found where nothing black is next to them.
    """
    if length <= part:
        return [(0, length)]
    count = -(-(length - SHARED_PX) // (part - SHARED_PX))
    begins = [round(number * (length - part) / (count - 1)) for number in range(count)]
    return [(begin, begin + part) for begin in begins]
