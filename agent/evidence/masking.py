"""Hiding who somebody is. An unmasked picture never leaves this module's caller."""

import logging
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.evidence.faces import FaceFinder, FaceModelError
from protocol.geometry import Box

log = logging.getLogger(__name__)

FACE_MARGIN: Final = 0.25
HEAD_SHARE: Final = 0.25
"""Upper part of a person's box that is hidden."""
BLOCKS_ACROSS_FACE: Final = 3
"""Of 5 blocks YuNet still makes faces: 202 with a score of .6 in 156 pictures of crowds; of 3, none."""
BLOCKS_ACROSS_PICTURE: Final = 40
"""Without a face model: a face that fills an eighth of the picture keeps five blocks."""
ROUNDS: Final = 4
"""Searches of a view that is about to leave, at most; what one hides, the next one looks at again."""


class Masker:
    """Masks pictures; may be used by several threads.

    Args:
        face_model: a YuNet file; None pixelates everything outside what must be seen.
    """

    def __init__(self, face_model: Path | None) -> None:
        self._finder: FaceFinder | None = None
        if face_model is not None:
            try:
                self._finder = FaceFinder.load(face_model)
            except FaceModelError as fault:
                log.warning("%s: %s; evidence is pixelated instead", face_model, fault)

    def mask(self, rgb: NDArray[np.uint8], persons: NDArray[np.float32], keep: Box | None) -> NDArray[np.uint8]:
        """Mask a picture of shape `(h, w, 3)`; returns another array.

        Args:
            rgb: the picture.
            persons: boxes `(n, 4)` of people in picture coordinates, where a detector found them.
            keep: what must be seen even without a face model; None for nothing.
        """
        heads = [_pixels((float(x), float(y), float(w), float(h) * HEAD_SHARE), rgb.shape) for x, y, w, h in persons]
        masked = rgb.copy()
        for area in heads:
            _hide(masked, area)
        # what is searched is what leaves: so most of it need not be searched again
        faces = self._faces(masked)
        if faces is None:
            masked = _pixelate(rgb, max(8, rgb.shape[1] // BLOCKS_ACROSS_PICTURE))
            if keep is not None:
                left, top, right, bottom = _pixels(keep, rgb.shape)
                masked[top:bottom, left:right] = rgb[top:bottom, left:right]
        for area in faces if faces is not None else heads:
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
        if self._finder is None:
            return None
        height, width = rgb.shape[:2]
        return [
            _pixels(
                (
                    (x - FACE_MARGIN * w) / width,
                    (y - FACE_MARGIN * h) / height,
                    w * (1 + 2 * FACE_MARGIN) / width,
                    h * (1 + 2 * FACE_MARGIN) / height,
                ),
                rgb.shape,
            )
            for x, y, w, h in self._finder.search(np.ascontiguousarray(rgb[:, :, ::-1]))
        ]


def hide_outside(rgb: NDArray[np.uint8], part: Box | None) -> NDArray[np.uint8]:
    """Pixelate a picture of shape `(h, w, 3)` where nobody looked for people: outside a part; None: nowhere."""
    if part is None:
        return rgb
    left, top, right, bottom = _pixels(part, rgb.shape)
    hidden = _pixelate(rgb, max(8, rgb.shape[1] // BLOCKS_ACROSS_PICTURE))
    hidden[top:bottom, left:right] = rgb[top:bottom, left:right]
    return hidden


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
