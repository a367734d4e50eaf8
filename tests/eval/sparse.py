"""The same measures at the rates that forty cameras get on two cores: a sample each 2 s, and looks that come rarely."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.vision.attention import Attention
from agent.vision.counting import Eye
from tests.eval import hours, staged

SAMPLE_S: Final = 2.0
"""Key frames of a camera."""
LOOK_S: Final = 36.0
"""Measured with forty cameras: with its tiles, one look in so many seconds (docs/design/speed.md)."""


@dataclass
class Rarely(Attention):
    """Lets a camera look once in LOOK_S, whatever it asks for."""

    _granted_s: float = field(default=float("-inf"), init=False)

    def ask(self, camera: str, every_s: float, at_s: float, *, changed: bool = True) -> bool:
        """Grant it, or not."""
        if at_s - self._granted_s < LOOK_S or not super().ask(camera, every_s, at_s, changed=changed):
            return False
        self._granted_s = at_s
        return True


def figures(shared: Path, detector: Eye, scenes: int, workers: int) -> dict[str, object]:
    """False incidents in hours of two clips, and staged scenes."""
    return {
        "hours": hours.figures(shared, detector, SAMPLE_S, Rarely),
        "staged": staged.figures(staged.play_all(range(scenes), shared, workers, SAMPLE_S)),
    }
