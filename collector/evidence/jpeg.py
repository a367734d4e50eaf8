"""What stands in the head of a JPEG, nothing decoded: what would unpack to gigabytes never does.

ISO/IEC 10918-1, annex B: after SOI come segments `FF marker length …`; SOF0 to SOF15 (but not DHT, JPG and DAC, which
lie among them) hold height and width. In an APP1 segment lies Exif (JEITA CP-3451): a TIFF file of its own.
"""

import contextlib
import struct
from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Final

_SOI: Final = b"\xff\xd8"
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""
_ENDS: Final = frozenset({0xD9, 0xDA})
"""End of image and start of scan: no frame header before them means that there is none."""
MAX_SEGMENTS: Final = 200
"""Before the frame header; real pictures have about ten."""
_APP1: Final = 0xE1
_EXIF: Final = b"Exif\0\0"
_EXIF_IFD, _TAKEN, _OFFSET = 0x8769, 0x9003, 0x9011
"""Tags: where the camera's own table lies, DateTimeOriginal, OffsetTimeOriginal."""


def size_of(jpeg: bytes) -> tuple[int, int]:
    """Width and height in pixels; raises ValueError for what is no JPEG."""
    for marker, body in _segments(jpeg):
        if marker not in _FRAMES:
            continue
        if len(body) < 6:
            raise ValueError("its frame header is cut off")
        height, width = int.from_bytes(body[1:3]), int.from_bytes(body[3:5])
        if not width or not height:
            raise ValueError("it has no size")
        return width, height
    raise ValueError("it has no frame header")


def taken_at(jpeg: bytes, zone: tzinfo) -> datetime | None:
    """When a telephone says that it took a picture, at this zone where it does not say which; None: not known."""
    exif = next((body[6:] for marker, body in _segments(jpeg) if marker == _APP1 and body.startswith(_EXIF)), b"")
    try:
        order = {b"II": "<", b"MM": ">"}[exif[:2]]
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (start,) = struct.unpack(f"{order}I", _entries(exif, order, start)[_EXIF_IFD])
        tags = _entries(exif, order, start)
        said = _text(exif, order, tags[_TAKEN], 19)
        with contextlib.suppress(KeyError, ValueError):
            offset = _text(exif, order, tags[_OFFSET], 6)
            return datetime.strptime(f"{said} {offset}", "%Y:%m:%d %H:%M:%S %z")
        return datetime.strptime(said, "%Y:%m:%d %H:%M:%S").replace(tzinfo=zone)
    except (KeyError, ValueError, struct.error):
        return None


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the picture itself; raises ValueError."""
    if not jpeg.startswith(_SOI):
        raise ValueError("it does not begin as a JPEG does")
    at = 2
    for _ in range(MAX_SEGMENTS):
        if at + 4 > len(jpeg) or jpeg[at] != 0xFF:
            raise ValueError("its segments are broken")
        marker = jpeg[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        if marker in _ALONE:
            at += 2
            continue
        if marker in _ENDS:
            return
        length = int.from_bytes(jpeg[at + 2 : at + 4])
        if length < 2 or at + 2 + length > len(jpeg):
            raise ValueError("a segment is cut off")
        yield marker, jpeg[at + 4 : at + 2 + length]
        at += 2 + length


def _entries(tiff: bytes, order: str, start: int) -> dict[int, bytes]:
    """A table of TIFF: tag to the four bytes of its value, or of where that lies."""
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    rows = (struct.unpack_from(f"{order}HHI4s", tiff, start + 2 + 12 * number) for number in range(count))
    return {tag: value for tag, _, _, value in rows}


def _text(tiff: bytes, order: str, value: bytes, length: int) -> str:
    (start,) = struct.unpack(f"{order}I", value)
    return tiff[start : start + length].decode("ascii")
