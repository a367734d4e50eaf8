"""Evidence pictures: a wide view and a close one, masked, small enough for the line."""

import hashlib
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.evidence.masking import Masker
from protocol.geometry import Box
from protocol.instants import from_epoch
from protocol.messages import Evidence
from protocol.pictures import MAX_PICTURE_BYTES, MAX_PICTURE_PX, MEDIA_TYPE

QUALITIES: Final = (88, 78, 65, 50)
CLOSE_MARGIN: Final = 0.8
"""Around the place, as a share of its size, so that one sees what it stands before."""
MIN_CLOSE: Final = 0.2
"""A close view shows at least this share of the picture's sides."""


@dataclass(frozen=True)
class Picture:
    """A masked JPEG and its record, not sealed yet."""

    evidence: Evidence
    jpeg: bytes


def shoot(
    rgb: NDArray[np.uint8],
    masker: Masker,
    *,
    place: Box | None,
    keep: Box | None,
    persons: NDArray[np.float32],
    role: str,
    taken_at_s: float,
) -> list[Picture]:
    """Make the pictures of one role.

    Args:
        rgb: the frame, shape `(h, w, 3)`.
        masker: hides who somebody is.
        place: the incident's place; None makes no close view.
        keep: what must be seen even without a face model.
        persons: boxes `(n, 4)` of people, in picture coordinates.
        role: `clear`, `at` or `after`.
        taken_at_s: seconds since the epoch.
    """
    masked = masker.mask(rgb, persons, keep)
    views = {"wide": masked}
    if place is not None:
        views["close"] = _cut(masked, close_box(place))
    pictures = []
    for view, shown in views.items():
        jpeg, (width, height) = encode(masker.check(shown))
        record = Evidence(
            role=role,
            view=view,
            sha256=hashlib.sha256(jpeg).hexdigest(),
            bytes=len(jpeg),
            media_type=MEDIA_TYPE,
            width=width,
            height=height,
            taken_at=from_epoch(taken_at_s),
            masked=True,
        )
        pictures.append(Picture(record, jpeg))
    return pictures


def close_box(place: Box) -> Box:
    """Box of the close view: the place with what is around it, inside the picture."""
    x, y, w, h = place
    width = min(1.0, max(MIN_CLOSE, w * (1 + 2 * CLOSE_MARGIN)))
    height = min(1.0, max(MIN_CLOSE, h * (1 + 2 * CLOSE_MARGIN)))
    left = min(max(0.0, x + w / 2 - width / 2), 1 - width)
    top = min(max(0.0, y + h / 2 - height / 2), 1 - height)
    return left, top, width, height


def encode(rgb: NDArray[np.uint8]) -> tuple[bytes, tuple[int, int]]:
    """Write a JPEG that keeps to the line's limits; returns it with its width and height."""
    scale = min(1.0, MAX_PICTURE_PX / max(rgb.shape[:2]))
    while True:
        size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
        picture = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        if scale < 1:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for quality in QUALITIES:
            good, buffer = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if good and buffer.nbytes <= MAX_PICTURE_BYTES:
                return buffer.tobytes(), size
        scale *= 0.8


def _cut(rgb: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    left, top = int(box[0] * width), int(box[1] * height)
    right, bottom = max(left + 1, round((box[0] + box[2]) * width)), max(top + 1, round((box[1] + box[3]) * height))
    return rgb[top:bottom, left:right]
