"""Previews: what a page shows of a picture. The sealed original is fetched apart, with a reason."""

import threading
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from collector.evidence.files import PictureFiles
from collector.evidence.jpeg import size_of

WIDEST_PX: Final = 960
QUALITY: Final = 80
MOST_PIXELS: Final = 50_000_000
"""Of a picture that is decoded at all: what telephones make today; 150 MB."""
MOST_SCANS: Final = 100
"""Of a picture in steps (progressive), which usually has ten; each one is decoded over all of its pixels."""
KEPT: Final = 128
"""Previews in memory; some 10 MB."""
one_at_a_time: Final = threading.Lock()
"""Pages must not take the processor from the inbox."""


@lru_cache(KEPT)
def preview(files: PictureFiles, sha256: str, widest_px: int = WIDEST_PX) -> bytes:
    """A JPEG of at most so many pixels on its longer side, never the file itself: that one is fetched, on record.

    Raises OSError where there is none, ValueError for what cannot be shown.
    """
    jpeg = files.read(sha256)
    with one_at_a_time:
        picture = decode(jpeg)
        height, width = picture.shape[:2]
        scale = min(1.0, widest_px / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if scale < 1:
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        # the box may have written it with the same quality: then a copy could be the same, byte for byte
        return next(shown for quality in (QUALITY, QUALITY - 1) if (shown := encode(picture, quality)) != jpeg)


def decode(jpeg: bytes) -> npt.NDArray[np.uint8]:
    """Pixels (h, w, 3) in BGR, upright; raises ValueError, before it decodes too many pixels or scans."""
    width, height = size_of(jpeg)
    if width * height > MOST_PIXELS:
        raise ValueError(f"expected at most {MOST_PIXELS // 1_000_000} million pixels, got {width}x{height}")
    if jpeg.count(b"\xff\xda") > MOST_SCANS:
        raise ValueError(f"expected at most {MOST_SCANS} scans")
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError("it cannot be decoded")
    return np.asarray(picture, np.uint8)


def encode(picture: npt.NDArray[np.uint8], quality: int) -> bytes:
    """A JPEG of the pixels alone: nothing that stood in a file's head goes with it."""
    good, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not good:
        raise ValueError("it cannot be written as a JPEG")
    return bytes(encoded.tobytes())
