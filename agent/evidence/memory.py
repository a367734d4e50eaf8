"""Remembering what a place looked like when it was clear, in a few frames.

Nobody knows beforehand when something will be put down. So frames of all ages are kept, fewer the older, and the
picture is chosen when it is needed: the newest from before, on which that very place looks as it does when clear.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.camera.frame import Frame, PackedFrame, pack
from protocol.geometry import Box

AGES_S: Final = (0.0, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0, 1800.0)
"""One frame is kept per class of age, packed: 5 MB a camera."""
CLEAR_SHARE: Final = 0.8

Kept = Frame | PackedFrame
Clearness = Callable[[Kept], NDArray[np.bool_] | None]
"""Says where a frame looks as the clear place does, shape `(h, w)`; None where that is not known."""


@dataclass(frozen=True, eq=False)
class Shot:
    """A frame that may become a picture.

    Args:
        frame: the picture.
        persons: boxes `(n, 4)` of people in it.
        everyone: whether that is everybody who is to be found in it; else it is looked at once more before it is shown.
    """

    frame: Kept
    persons: NDArray[np.float32]
    everyone: bool = False


@dataclass
class RecentShots:
    """Frames of one camera, the oldest of each class of age."""

    _kept: list[Shot] = field(default_factory=list)

    def add(self, frame: Frame, persons: NDArray[np.float32], *, everyone: bool = False) -> None:
        """Take a frame, unless one of its age is there; as in `Shot`."""
        oldest: dict[int, Shot] = {}
        for one in self._kept:
            oldest.setdefault(_age_class(frame.time_s - one.frame.time_s), one)
        if _age_class(0.0) not in oldest:
            oldest[_age_class(0.0)] = Shot(pack(frame), persons, everyone)
        self._kept = [one for _, one in sorted(oldest.items(), reverse=True)]

    def clear(self, before_s: float, place: Box, clearness: Clearness) -> Shot | None:
        """The newest frame from before an instant that shows a place clear."""
        for shot in reversed(self._kept):
            if shot.frame.time_s < before_s:
                where = clearness(shot.frame)
                if where is not None and _share(where, place) >= CLEAR_SHARE:
                    return shot
        return None

    def forget(self) -> None:
        """The view is another one now."""
        self._kept.clear()


def _age_class(age_s: float) -> int:
    return sum(age_s >= limit_s for limit_s in AGES_S)


def _share(where: NDArray[np.bool_], place: Box) -> float:
    height, width = where.shape
    x, y, w, h = place
    top, left = int(y * height), int(x * width)
    part = where[top : max(top + 1, round((y + h) * height)), left : max(left + 1, round((x + w) * width))]
    return float(part.mean()) if part.size else 0.0
