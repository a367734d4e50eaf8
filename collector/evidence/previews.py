"""Previews: what a page shows of a picture. The sealed original is fetched apart, with a reason."""

import threading
from functools import lru_cache
from typing import Final

import cv2
import numpy as np

from collector.evidence.files import PictureFiles
from collector.evidence.jpeg import size_of

WIDEST_PX: Final = 960
QUALITY: Final = 80
KEPT: Final = 128
"""Previews in memory; some 10 MB."""
_one: Final = threading.Lock()
"""One at a time: pages must not take the processor from the inbox."""


def preview(files: PictureFiles, sha256: str) -> bytes:
    """A JPEG of at most `WIDEST_PX` on its longer side; what is no larger is shown as it is. Raises OSError."""
    jpeg = files.path(sha256).read_bytes()
    try:
        longer = max(size_of(jpeg))
    except ValueError:
        return jpeg
    return jpeg if longer <= WIDEST_PX else _smaller(files, sha256)


@lru_cache(KEPT)
def _smaller(files: PictureFiles, sha256: str) -> bytes:
    with _one:
        jpeg = files.path(sha256).read_bytes()
        picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            return jpeg
        height, width = picture.shape[:2]
        scale = WIDEST_PX / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        good, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return encoded.tobytes() if good else jpeg
