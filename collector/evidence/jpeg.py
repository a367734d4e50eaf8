"""The size of a JPEG, read from its header and nothing decoded: what would unpack to gigabytes never does.

ISO/IEC 10918-1, annex B: after SOI come segments `FF marker length …`; SOF0 to SOF15 (but not DHT, JPG and DAC, which
lie among them) hold height and width.
"""

from typing import Final

_SOI: Final = b"\xff\xd8"
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""
_ENDS: Final = frozenset({0xD9, 0xDA})
"""End of image and start of scan: no frame header before them means that there is none."""
MAX_SEGMENTS: Final = 200
"""Before the frame header; real pictures have about ten."""


def size_of(jpeg: bytes) -> tuple[int, int]:
    """Width and height in pixels; raises ValueError for what is no JPEG."""
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
            break
        length = int.from_bytes(jpeg[at + 2 : at + 4])
        if length < 2 or at + 2 + length > len(jpeg):
            raise ValueError("a segment is cut off")
        if marker in _FRAMES:
            if length < 8:
                raise ValueError("its frame header is cut off")
            height = int.from_bytes(jpeg[at + 5 : at + 7])
            width = int.from_bytes(jpeg[at + 7 : at + 9])
            if not width or not height:
                raise ValueError("it has no size")
            return width, height
        at += 2 + length
    raise ValueError("it has no frame header")
