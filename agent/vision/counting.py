"""Choosing how people are counted: by one look of the detector, by tiles, or by the counter of crowds.

| people are | counted by |
| --- | --- |
| tall enough for one look (GOOD_PX) | the look at the whole picture that is taken anyway |
| smaller | tiles over the zone, as many as they need and the budget allows |
| so many that a look is full (SATURATION) | the counter of crowds beside the detector; the higher count is taken |

A full detector sees too few people and never too many.

Once called, the counter of crowds stays for HOLD_S after the last full look, so that a count does not jump with each
person that the detector misses. Where people are few the detector's count is the higher one, and the counter's coming
and going shows nothing.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from agent.vision.crowds import Density
from agent.vision.detector import Detections
from agent.vision.people import COUNT_SCORE, SATURATION, Headcount, count_people, fullest
from agent.vision.places import zone_mask
from agent.vision.stature import Statures, around
from agent.vision.tiles import Tile, detect_each, merged, tiling
from protocol.geometry import Box, Polygon
from protocol.plane import Plane

Way = Literal["auto", "detector", "tiles", "crowd"]

GOOD_PX: Final = 96.0
"""Height in the detector's input. Of people this tall or taller yolo26n finds .70 to .96 at COUNT_SCORE, of those of 64
to 96 pixels .55, of 36 to 48 .17 (128 photos of COCO val2017)."""
SMALL: Final = 0.25
"""Share of the people who may be smaller than those whom the tiles are made for."""
PROBE_S: Final = 30.0
"""So often tiles are looked at in any case: people too small for one look would never be known of otherwise."""
HOLD_S: Final = 10.0
LEAVE: Final = SATURATION // 2
"""The counter of crowds keeps itself only while a look finds at least so many people: what it takes for heads on an
empty street must not stay for ever."""
RARELY_S: Final = 5.0
"""Where the counter of crowds does not fit into the budget it is asked only so often; crowds come and go in minutes."""
FIRST_TILES: Final = 4
"""Tiles before it is known what one costs."""
COSTS: Final = 32
RASTER_ROWS: Final = 180


class View(Protocol):
    """What is asked of a frame."""

    @property
    def time_s(self) -> float:
        """Seconds since the epoch."""
        ...

    @property
    def width(self) -> int:
        """Pixels."""
        ...

    @property
    def height(self) -> int:
        """Pixels."""
        ...

    def rgb(self, size: tuple[int, int] | None = None, crop: Box | None = None) -> NDArray[np.uint8]:
        """Colours of the whole or of a part, shape `(h, w, 3)`."""
        ...


class Crowds(Protocol):
    """What is asked of a counter of crowds."""

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Size at which it wants a picture of this size."""
        ...

    def look(self, rgb: NDArray[np.uint8]) -> Density:
        """Count in a picture of shape `(h, w, 3)`."""
        ...


class Eye(Protocol):
    """What is asked of a detector."""

    def fit(self, width: int, height: int) -> tuple[int, int]:
        """Size at which it wants a picture of this size."""
        ...

    def detect(self, rgb: NDArray[np.uint8]) -> Detections:
        """Find things in a picture of shape `(h, w, 3)`."""
        ...


@dataclass(frozen=True)
class Place:
    """A zone in which people are counted."""

    id: str
    polygon: Polygon
    way: Way = "auto"


@dataclass(frozen=True, eq=False)
class Counted:
    """What one frame showed.

    Args:
        heads: how many people there are, by zone.
        persons: those whom the detector found in all its looks, merged.
        tiles: looks beyond the first.
        crowd: whether the counter of crowds was asked.
    """

    heads: Mapping[str, Headcount]
    persons: Detections
    tiles: int
    crowd: bool


@dataclass
class _Cost:
    """What a look costs: the fastest of the last ones, as the others say what else the box was doing."""

    _spent_ms: deque[float] = field(default_factory=lambda: deque(maxlen=COSTS))

    def note(self, spent_ms: float) -> None:
        self._spent_ms.append(spent_ms)

    @property
    def ms(self) -> float:
        """0 while nothing is known."""
        return min(self._spent_ms, default=0.0)


@dataclass
class PeopleCounter:
    """Counts the people in the zones of one camera.

    Args:
        places: the zones.
        budget_ms: what all looks at one frame may cost, the first one included.
        crowd: the counter of crowds; None where there is none: then a full look is a lower bound.
        plane: the ground plane, where it is known.
        timer: a clock for costs, s.
    """

    places: Sequence[Place]
    budget_ms: float
    crowd: Crowds | None
    plane: Plane | None = None
    timer: Callable[[], float] = time.perf_counter
    statures: Statures = field(init=False)
    """How tall people are, as far as it is known."""
    _look: _Cost = field(default_factory=_Cost, init=False)
    _crowd_look: _Cost = field(default_factory=_Cost, init=False)
    _crowded_until_s: float = field(default=float("-inf"), init=False)
    _density: Density | None = field(default=None, init=False)
    _density_s: float = field(default=float("-inf"), init=False)
    _probed_s: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self.statures = Statures(self.plane)

    def count(self, frame: View, found: Detections, eye: Eye, part: Box | None = None) -> Counted:
        """Count the people in a frame.

        Args:
            frame: the frame.
            found: what the detector found in it, in picture coordinates.
            eye: the detector.
            part: of the picture that it looked at; None: the whole.
        """
        self.statures.see(found.of("person", COUNT_SCORE), part)
        tiles = self._tiles(frame, eye)
        closer = detect_each(tiles, (frame.width, frame.height), lambda tile: self._detect(frame, eye, tile))
        looks = [one.of("person") for one in (found, *closer)]
        persons = merged(looks, (frame.width, frame.height)) if closer else looks[0]
        if closer:
            self.statures.see(persons.of("person", COUNT_SCORE), part)
        most = fullest(looks)
        if most >= SATURATION:
            self._crowded_until_s = frame.time_s + HOLD_S
        density = self._heads_per_cell(frame)
        heads = {place.id: self._heads(place, frame, persons, density, most) for place in self.places}
        if self._crowded(frame) and most >= LEAVE and any(one.count >= SATURATION for one in heads.values()):
            self._crowded_until_s = frame.time_s + HOLD_S
        return Counted(heads, persons, len(tiles), density is not None)

    def _heads(self, place: Place, frame: View, persons: Detections, density: Density | None, most: int) -> Headcount:
        feet = count_people(persons, place.polygon)
        wanted = place.way == "crowd" or (place.way == "auto" and self._crowded(frame))
        if density is None or not wanted:
            return Headcount(feet, lower_bound=most >= SATURATION)
        aspect = frame.width / frame.height
        above = self.statures.heads_above(place.polygon, aspect)
        heads = round(density.within(zone_mask(above, (RASTER_ROWS, round(RASTER_ROWS * aspect)))))
        return Headcount(heads if place.way == "crowd" else max(feet, heads), lower_bound=False)

    def _crowded(self, frame: View) -> bool:
        """Say whether the counter of crowds is asked where that is left open."""
        return self.crowd is not None and frame.time_s <= self._crowded_until_s

    @property
    def _crowd_fits(self) -> bool:
        return self._look.ms + self._crowd_look.ms <= self.budget_ms

    def _heads_per_cell(self, frame: View) -> Density | None:
        """Ask the counter of crowds where a zone wants it; the last answer serves again where it costs too much."""
        ways = {place.way for place in self.places}
        if self.crowd is None or not ("crowd" in ways or ("auto" in ways and self._crowded(frame))):
            return None
        if self._density is None or self._crowd_fits or frame.time_s - self._density_s >= RARELY_S:
            began_s = self.timer()
            self._density = self.crowd.look(frame.rgb(self.crowd.fit(frame.width, frame.height)))
            self._density_s = frame.time_s
            self._crowd_look.note((self.timer() - began_s) * 1000)
        return self._density

    def _detect(self, frame: View, eye: Eye, tile: Tile) -> Detections:
        began_s = self.timer()
        crop = tile.crop(frame.width, frame.height)
        found = eye.detect(frame.rgb(eye.fit(tile.width, tile.height), crop))
        self._look.note((self.timer() - began_s) * 1000)
        return found

    def _tiles(self, frame: View, eye: Eye) -> tuple[Tile, ...]:
        busy = self._crowded(frame) and self._crowd_fits
        left_ms = self.budget_ms - self._look.ms - (self._crowd_look.ms if busy else 0.0)
        affordable = int(left_ms / self._look.ms) if self._look.ms else FIRST_TILES
        probing = self.plane is None and frame.time_s - self._probed_s >= PROBE_S
        if probing:
            self._probed_s = frame.time_s
        tiles: list[Tile] = []
        for place in self.places:
            if place.way in ("auto", "tiles"):
                forced = probing or place.way == "tiles"
                tiles += self._tiles_of(place, frame, eye, affordable - len(tiles), forced=forced)
        return tuple(dict.fromkeys(tiles))

    def _tiles_of(self, place: Place, frame: View, eye: Eye, affordable: int, *, forced: bool) -> tuple[Tile, ...]:
        heights = self.statures.within(place.polygon, frame.width / frame.height) * frame.height
        zoom = eye.fit(frame.width, frame.height)[0] / frame.width
        wanted = GOOD_PX / float(np.quantile(heights, SMALL)) if len(heights) else 0.0
        if wanted <= zoom and not forced:
            return ()
        tall_px = float(np.median(heights)) if len(heights) else 0.0
        region = _region(place.polygon, tall_px, frame)
        return tiling(region, eye.fit, zoom, wanted, affordable)


def _region(polygon: Polygon, tall_px: float, frame: View) -> Tile:
    """The part of a picture that shows the people whose feet are in a zone: bodies reach above it and to its sides."""
    x, y, w, h = around(polygon, tall_px / frame.height, frame.width / frame.height)
    x0, y0 = max(0, int(x * frame.width) // 2 * 2), max(0, int(y * frame.height) // 2 * 2)
    x1 = min(frame.width, int((x + w) * frame.width) // 2 * 2 + 2)
    y1 = min(frame.height, int((y + h) * frame.height) // 2 * 2 + 2)
    return Tile(x0, y0, x1 - x0, y1 - y0)
