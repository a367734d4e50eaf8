"""What flows against a frame's way: how often a rule wants to see, and what."""

from dataclasses import dataclass, replace
from typing import Self

from protocol.geometry import Box, box_union


@dataclass(frozen=True)
class Demand:
    """Pictures that a rule wants.

    Args:
        fps: looks a second, at least.
        region: the part of them that matters, in picture coordinates, and may reach out of it; None: the whole.
        until_s: for so long, seconds since the epoch; a rule that still wants them says so again.
    """

    fps: float
    region: Box | None
    until_s: float

    def most(self, other: Self) -> Self:
        """What serves both: the rate of the one that asks for more, and all that matters to either."""
        faster = self if self.fps >= other.fps else other
        both = None if self.region is None or other.region is None else box_union([self.region, other.region])
        return replace(faster, region=both)
