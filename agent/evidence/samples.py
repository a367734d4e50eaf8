"""An hour of small masked pictures of one camera, so that other settings can be tried on what was really seen."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.camera.frame import Frame
from agent.evidence.masking import Masker

EVERY_S: Final = 10.0
KEPT_S: Final = 3600.0
WIDTH_PX: Final = 320
"""What the still scene looks at."""
QUALITY: Final = 80
MAX_BYTES: Final = 8 * 1024 * 1024
"""Of one camera. An hour of streets is 3.4 to 6.1 MB (measured: 9 to 17 KB a picture); where pictures are larger, fewer
of them are kept."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One masked picture.

    Args:
        time_s: of the picture, seconds since the epoch.
        jpeg: the picture, WIDTH_PX wide.
        persons: boxes `(n, 4)` of the people whom a detector saw at full size, in picture coordinates.
    """

    time_s: float
    jpeg: bytes
    persons: NDArray[np.float32]

    def rgb(self) -> NDArray[np.uint8]:
        """Colours, shape `(h, WIDTH_PX, 3)`."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)

    def luma(self) -> NDArray[np.uint8]:
        """Brightness, shape `(h, WIDTH_PX)`: what the still scene takes."""
        return np.asarray(cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)


@dataclass
class Samples:
    """The last hour in a few pictures, in memory only, at most MAX_BYTES.

    Iterating gives them from the oldest to the newest.

    Args:
        masker: hides who somebody is.
        every_s: distance of the pictures, by picture time.
    """

    masker: Masker
    every_s: float = EVERY_S
    _kept: deque[Sample] = field(default_factory=deque, init=False)
    _bytes: int = field(default=0, init=False)

    def due(self, at_s: float) -> bool:
        """Say whether a picture of this time would be taken: whoever is in it must be known then."""
        return not self._kept or at_s - self._kept[-1].time_s >= self.every_s

    def add(self, frame: Frame, persons: NDArray[np.float32]) -> None:
        """Take a frame if one is due; it is masked before it is kept.

        Faces are searched in the small picture, at its own and at double size: who cannot be found at 640 pixels cannot
        be recognised at 320.

        Args:
            frame: the picture.
            persons: boxes `(n, 4)` of people in it; their heads are hidden.
        """
        if not self.due(frame.time_s):
            return
        height = max(1, round(frame.height * WIDTH_PX / frame.width))
        masked = self.masker.mask(frame.rgb((WIDTH_PX, height)), persons, None)
        bgr = cv2.cvtColor(masked, cv2.COLOR_RGB2BGR)
        good, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if good:
            self._kept.append(Sample(frame.time_s, jpeg.tobytes(), persons.copy()))
            self._bytes += jpeg.nbytes
        while self._kept and (frame.time_s - self._kept[0].time_s > KEPT_S or self._bytes > MAX_BYTES):
            self._bytes -= len(self._kept.popleft().jpeg)

    def __iter__(self) -> Iterator[Sample]:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """What the pictures take."""
        return self._bytes

    def forget(self) -> None:
        """The view is another one now."""
        self._kept.clear()
        self._bytes = 0
