"""Hiding who somebody is. An unmasked picture never leaves this module's caller."""

import logging
import threading
from itertools import product
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from protocol.geometry import Box

log = logging.getLogger(__name__)

FACE_SCORE: Final = 0.3
"""Lower than for recognition: a sign that is pixelated costs nothing, a face that is not costs somebody's privacy."""
FACE_MARGIN: Final = 0.25
HEAD_SHARE: Final = 0.25
"""Upper part of a person's box that is hidden."""
BLOCKS_ACROSS_FACE: Final = 3
"""Of 5 blocks YuNet still makes faces: 202 with a score of .6 in 156 pictures of crowds; of 3, none."""
BLOCKS_ACROSS_PICTURE: Final = 40
"""Without a face model: a face that fills an eighth of the picture keeps five blocks."""
ROUNDS: Final = 2
"""Searches of a view that is about to leave; what the first one hides, the second one looks at again."""
MAX_SEARCHED_PX: Final = 2560
"""Faces are searched at full size and at double size, so that small ones are found; no further than this."""
PART_PX: Final = (1408, 800)
"""A larger picture is searched in parts: 2560 × 1440 at once take 280 MB, four parts of this size 100."""
SHARED_PX: Final = 160
"""By so much parts overlap; a larger face is found where the picture is small enough for one part."""
SMALL_PX: Final = 640
"""The finder of larger pictures is let go after each, with the memory it took: they are rare."""


class Masker:
    """Masks pictures; may be used by several threads, of which all but one wait.

    Args:
        face_model: a YuNet file; None pixelates everything outside what must be seen.
    """

    def __init__(self, face_model: Path | None) -> None:
        self._small_lock, self._large_lock = threading.Lock(), threading.Lock()
        self._model = face_model
        self._small: cv2.FaceDetectorYN | None = None
        if face_model is not None:
            # OpenCV 5 warns at every load that it ignores the target that YuNet's own code asks for
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
            try:
                self._small = self._load(face_model)
            except cv2.error:
                log.warning("%s: expected a YuNet face model; evidence is pixelated instead", face_model)

    @staticmethod
    def _load(face_model: Path) -> cv2.FaceDetectorYN:
        return cv2.FaceDetectorYN.create(str(face_model), "", (320, 320), FACE_SCORE)

    def mask(self, rgb: NDArray[np.uint8], persons: NDArray[np.float32], keep: Box | None) -> NDArray[np.uint8]:
        """Mask a picture of shape `(h, w, 3)`; returns another array.

        Args:
            rgb: the picture.
            persons: boxes `(n, 4)` of people in picture coordinates, where a detector found them.
            keep: what must be seen even without a face model; None for nothing.
        """
        faces = self._faces(rgb)
        masked = rgb.copy()
        if faces is None:
            blocks = max(8, rgb.shape[1] // BLOCKS_ACROSS_PICTURE)
            masked = _pixelate(rgb, blocks)
            if keep is not None:
                left, top, right, bottom = _pixels(keep, rgb.shape)
                masked[top:bottom, left:right] = rgb[top:bottom, left:right]
        for x, y, w, h in persons:
            _hide(masked, _pixels((float(x), float(y), float(w), float(h) * HEAD_SHARE), rgb.shape))
        for area in faces or []:
            _hide(masked, area)
        return masked

    def check(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Search a masked view of shape `(h, w, 3)` that is about to leave, and hide what is still found in it.

        A face model answers differently on a part of a picture than on the whole.
        """
        for _ in range(ROUNDS):
            faces = self._faces(rgb)
            if not faces:
                break
            rgb = rgb.copy()
            for area in faces:
                _hide(rgb, area)
        return rgb

    def _faces(self, rgb: NDArray[np.uint8]) -> list[tuple[int, int, int, int]] | None:
        """Areas of faces in pixels; None where they cannot be searched."""
        if self._small is None or self._model is None:
            return None
        height, width = rgb.shape[:2]
        bgr = np.ascontiguousarray(rgb[:, :, ::-1])
        areas = []
        whole = min(1.0, PART_PX[0] / width, PART_PX[1] / height)
        scales = sorted({whole, 1.0, min(2.0, MAX_SEARCHED_PX / max(height, width))})
        try:
            small = max(width, height) * scales[-1] <= SMALL_PX
            # one large picture at a time, for the memory; the small ones, of all cameras, need not wait for it
            with self._small_lock if small else self._large_lock:
                finder = self._small if small else self._load(self._model)
                for scale in scales:
                    scaled = cv2.resize(bgr, (round(width * scale), round(height * scale)))
                    for x, y, w, h in _search(finder, np.asarray(scaled, np.uint8)) / scale:
                        grown = (
                            x - FACE_MARGIN * w,
                            y - FACE_MARGIN * h,
                            w * (1 + 2 * FACE_MARGIN),
                            h * (1 + 2 * FACE_MARGIN),
                        )
                        share = (grown[0] / width, grown[1] / height, grown[2] / width, grown[3] / height)
                        areas.append(_pixels(share, rgb.shape))
        except cv2.error as fault:
            log.warning("the face model failed on %d×%d (code %s); the picture is pixelated", width, height, fault.code)
            return None
        return areas


def _search(finder: cv2.FaceDetectorYN, bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Boxes of faces, shape `(n, 4)`, x y w h, px."""
    found = [np.zeros((0, 4))]
    height, width = bgr.shape[:2]
    for top, left in product(_starts(height, PART_PX[1]), _starts(width, PART_PX[0])):
        part = np.ascontiguousarray(bgr[top : top + PART_PX[1], left : left + PART_PX[0]])
        finder.setInputSize((part.shape[1], part.shape[0]))
        # OpenCV's types do not know that no face at all is None
        rows: Any = finder.detect(part)[1]
        if rows is not None:
            found.append(np.asarray(rows[:, :4], np.float64) + np.array([left, top, 0, 0]))
    return np.concatenate(found)


def _starts(length: int, part: int) -> list[int]:
    """Where parts begin that cover a length and overlap."""
    if length <= part:
        return [0]
    count = -(-(length - SHARED_PX) // (part - SHARED_PX))
    return [round(number * (length - part) / (count - 1)) for number in range(count)]


def _pixels(box: Box, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    height, width = shape[:2]
    left, top = max(0, int(box[0] * width)), max(0, int(box[1] * height))
    right, bottom = (
        min(width, int(np.ceil((box[0] + box[2]) * width))),
        min(height, int(np.ceil((box[1] + box[3]) * height))),
    )
    return left, top, right, bottom


def _hide(picture: NDArray[np.uint8], area: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = area
    if right > left and bottom > top:
        block = max(4, -(-max(right - left, bottom - top) // BLOCKS_ACROSS_FACE))
        picture[top:bottom, left:right] = _pixelate(picture[top:bottom, left:right], block)


def _pixelate(rgb: NDArray[np.uint8], block_px: int) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    small = (max(1, width // block_px), max(1, height // block_px))
    coarse = cv2.resize(rgb, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
