"""How many people were counted in each zone since somebody asked: telemetry, which may be lost."""

import threading
from dataclasses import dataclass

from agent.vision.people import Headcount
from protocol.messages import ZoneCount


@dataclass
class _Sum:
    """Counts of one zone, added up: nobody may ask for long."""

    looks: int = 0
    total: int = 0
    most: int = 0
    lower_bound: bool = False


class Footfall:
    """Of one camera; counted by its own thread, asked from another.

    Args:
        camera: its id.
    """

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._lock = threading.Lock()
        self._sums: dict[str, _Sum] = {}

    def add(self, zone: str, heads: Headcount) -> None:
        """Take one count."""
        with self._lock:
            one = self._sums.setdefault(zone, _Sum())
            one.looks += 1
            one.total += heads.count
            one.most = max(one.most, heads.count)
            one.lower_bound |= heads.lower_bound

    def take(self) -> tuple[ZoneCount, ...]:
        """What came since the last time, and begin anew."""
        with self._lock:
            taken, self._sums = self._sums, {}
        return tuple(
            ZoneCount(
                camera=self._camera,
                zone=zone,
                looks=one.looks,
                mean=round(one.total / one.looks, 2),
                most=one.most,
                lower_bound=one.lower_bound,
            )
            for zone, one in taken.items()
        )
