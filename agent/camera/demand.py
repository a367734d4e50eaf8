"""What flows against a frame's way: how often a rule wants to see."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Demand:
    """Pictures that a rule wants.

    Args:
        fps: looks a second, at least.
        until_s: for so long, seconds since the epoch; a rule that still wants them says so again.
    """

    fps: float
    until_s: float

    def most(self, other: Self) -> Self:
        """The one that asks for more."""
        return self if self.fps >= other.fps else other
