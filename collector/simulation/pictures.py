"""Pictures that show nothing: valid JPEGs of a wanted size."""

import hashlib
import struct
from functools import cache
from typing import Final

import cv2
import numpy as np

from protocol.instants import from_epoch
from protocol.messages import Evidence
from protocol.pictures import MEDIA_TYPE

WIDTH: Final = 320
HEIGHT: Final = 180
_MAX_COMMENT: Final = 60_000
"""A JPEG segment holds 65,533 bytes."""


@cache
def _base() -> bytes:
    rows = np.linspace(40, 200, HEIGHT, dtype=np.uint8)[:, None, None]
    shown = np.broadcast_to(rows, (HEIGHT, WIDTH, 3)).copy()
    cv2.rectangle(shown, (140, 90), (180, 126), (40, 90, 160), -1)
    return cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()


def picture(name: str, size: int) -> bytes:
    """Make a JPEG of about so many bytes, another one for each name: comments in it make the difference."""
    base = _base()
    rest = hashlib.sha256(name.encode()).digest().ljust(max(32, size - len(base) - 4), b"-")
    parts = [rest[start : start + _MAX_COMMENT] for start in range(0, len(rest), _MAX_COMMENT)]
    comments = b"".join(b"\xff\xfe" + struct.pack(">H", len(part) + 2) + part for part in parts)
    return base[:2] + comments + base[2:]


def entry(content: bytes, view: str, taken_s: float) -> Evidence:
    """What an incident says of such a picture, not sealed yet; the time is in seconds since the epoch."""
    return Evidence(
        role="at",
        view=view,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        media_type=MEDIA_TYPE,
        width=WIDTH,
        height=HEIGHT,
        taken_at=from_epoch(taken_s),
        masked=True,
    )
