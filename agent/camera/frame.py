"""One picture of a camera, converted only when asked for."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.camera.planes import join, split
from protocol.geometry import Box

PACKED_QUALITY: Final = 92
"""Above that of the evidence that may be made of it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture as the camera shows it: upright, with square pixels, masks burnt in.

    Args:
        time_s: seconds since the epoch.
        key: whether it is a key frame: of a clip nothing else tells whether key frames alone were decoded.
        planes: I420, shape `(height * 3 // 2, width)`; width and height are even.
        sub: whether it is of the camera's small second stream.
    """

    time_s: float
    key: bool
    planes: NDArray[np.uint8]
    sub: bool = False

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.planes.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.planes.shape[0]) * 2 // 3

    def luma(self, width: int) -> NDArray[np.uint8]:
        """Brightness at a given width; shape `(h, width)`."""
        size = (width, max(1, round(self.height * width / self.width)))
        return np.asarray(cv2.resize(self.planes[: self.height], size, interpolation=cv2.INTER_AREA), np.uint8)

    def chroma(self) -> float:
        """Mean distance of the colours from grey, in levels, over a sample of the pixels; 0 for a grey picture."""
        u, v = split(self.planes)[1:]
        apart = [np.abs(plane[::4, ::4].astype(np.int16) - 128).mean() for plane in (u, v)]
        return float(sum(apart))

    def rgb(self, size: tuple[int, int] | None = None, crop: Box | None = None) -> NDArray[np.uint8]:
        """Colours, shape `(h, w, 3)`.

        Args:
            size: width and height in pixels; None keeps those of the crop.
            crop: part of the picture, in picture coordinates; None for the whole.
        """
        planes = self.planes if crop is None else _crop(self.planes, crop)
        if size is not None:
            # rounding up to even sizes costs at most one column; the exact size is cut from it
            planes = _resize(planes, (size[0] + size[0] % 2, size[1] + size[1] % 2))
        colours = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)
        return np.asarray(colours if size is None else colours[: size[1], : size[0]], np.uint8)


@dataclass(frozen=True, eq=False)
class PackedFrame:
    """A picture that is kept for long: a tenth of the memory, a little less sharp.

    Args:
        time_s: seconds since the epoch.
        jpeg: the whole picture.
    """

    time_s: float
    jpeg: bytes

    def luma(self, width: int) -> NDArray[np.uint8]:
        """As `Frame.luma`."""
        whole = np.asarray(cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
        size = (width, max(1, round(whole.shape[0] * width / whole.shape[1])))
        return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)

    def rgb(self) -> NDArray[np.uint8]:
        """Colours of the whole picture, shape `(h, w, 3)`."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def pack(frame: Frame) -> PackedFrame:
    """Make a frame small; takes some 10 ms at 1080p."""
    bgr = cv2.cvtColor(frame.planes, cv2.COLOR_YUV2BGR_I420)
    jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, PACKED_QUALITY])[1]
    return PackedFrame(frame.time_s, jpeg.tobytes())


def _resize(planes: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    y, u, v = split(planes)
    half = (size[0] // 2, size[1] // 2)
    way = cv2.INTER_AREA if size[0] < y.shape[1] else cv2.INTER_LINEAR
    return join(
        np.asarray(cv2.resize(y, size, interpolation=way), np.uint8),
        np.asarray(cv2.resize(u, half, interpolation=way), np.uint8),
        np.asarray(cv2.resize(v, half, interpolation=way), np.uint8),
    )


def _crop(planes: NDArray[np.uint8], crop: Box) -> NDArray[np.uint8]:
    y, u, v = split(planes)
    height, width = y.shape
    x0, y0 = int(crop[0] * width) // 2, int(crop[1] * height) // 2
    x1 = max(x0 + 1, min(width // 2, -(-int((crop[0] + crop[2]) * width) // 2)))
    y1 = max(y0 + 1, min(height // 2, -(-int((crop[1] + crop[3]) * height) // 2)))
    return join(y[2 * y0 : 2 * y1, 2 * x0 : 2 * x1], u[y0:y1, x0:x1], v[y0:y1, x0:x1])
