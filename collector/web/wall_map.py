"""The map of the wall as values of an SVG: what lies beneath, and the marks upon it.

Drawn on a sheet of WIDTH by HEIGHT, from Web Mercator. A mark has its place in percent of the sheet and its size from
the style sheet, so that it can be read on a phone and on a wall.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import atan2, degrees, hypot, log2
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from collector.places.coordinates import to_gcj02
from collector.places.fields import Position
from collector.places.mercator import metres, to_square
from collector.places.settings import MapSection
from collector.places.streets import Street
from collector.store import GridCell

WIDTH, HEIGHT = 1000.0, 950.0
MARGIN: Final = 0.12
"""Of the sheet, around the outermost points."""
LEAST_M: Final = 300.0
"""That the sheet is wide: one camera is not looked at with a magnifying glass."""
TILE_PX: Final = 256
SHEET_PX: Final = 1400
"""So wide the sheet is meant to be where tiles are chosen: in between a wall and one of twice its resolution."""
NEAR: Final = 46.0
"""Tickets whose marks would lie on each other are counted together."""
SMOOTH: Final = 0.6
"""Of the sheet's units: what nobody sees is left out."""
BEYOND: Final = 40.0
"""Of what is cut off at the edges of the sheet."""
LETTER: Final = 24.0
"""About the width of a Chinese letter on the sheet."""
LABELS: Final = 24
KINDS: Final = ("late", "review", "under_way")
"""Of tickets; where several are at one place, the mark is that of the first of these."""


@dataclass(frozen=True)
class View:
    """The part of the world that is on the sheet.

    Args:
        west: of its edge, as shares of Mercator's square; `north` likewise.
        span: its width.
    """

    west: float
    north: float
    span: float
    datum: str

    def at(self, lon: float, lat: float) -> Position:
        """Where a position is on the sheet."""
        x, y = _square(lon, lat, self.datum)
        return (x - self.west) / self.span * WIDTH, (y - self.north) / self.span * WIDTH


def _square(lon: float, lat: float, datum: str) -> Position:
    return to_square(*(to_gcj02(lon, lat) if datum == "gcj02" else (lon, lat)))


def view_of(points: Iterable[Position], datum: str) -> View | None:
    """What shows all of these positions; None for none."""
    every = sorted(set(points))
    if not every:
        return None
    placed = [_square(lon, lat, datum) for lon, lat in every]
    west, east = min(x for x, _ in placed), max(x for x, _ in placed)
    north, south = min(y for _, y in placed), max(y for _, y in placed)
    share = 1 - 2 * MARGIN
    span = max((east - west) / share, (south - north) / share * WIDTH / HEIGHT, LEAST_M / metres(every[0][1]))
    return View((west + east - span) / 2, (north + south - span * HEIGHT / WIDTH) / 2, span, datum)


@dataclass(frozen=True)
class Label:
    """A name on the sheet; `x` and `y` in percent, `angle` in degrees. Not of a street: of a camera."""

    text: str
    x: float
    y: float
    angle: float = 0.0
    is_street: bool = True


@dataclass(frozen=True)
class Tile:
    """A picture of a tile server; all in percent of the sheet."""

    url: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Ground:
    """What lies beneath the marks; paths as SVG writes them."""

    tiles: tuple[Tile, ...] = ()
    areas: str = ""
    cells: str = ""
    streets: str = ""
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True)
class Mark:
    """Tickets at one place, or a camera; `x` and `y` in percent of the sheet."""

    kind: str
    x: float
    y: float
    count: int = 1


def ground(
    view: View,
    streets: Sequence[Street],
    cells: Sequence[GridCell],
    names: Sequence[tuple[str, Position]],
    of: MapSection,
) -> Ground:
    """Put together what lies beneath; `names` are those of cameras, and where these are."""
    drawn = [(one, _on_sheet(one.shape, view)) for one in streets]
    lines = [(one.name, shape) for one, shape in drawn if not one.is_area]
    rings = [shapely.LinearRing(ring) for cell in cells for ring in json.loads(cell.rings)]
    labels = _Labels()
    for name, at in names:
        labels.put(name, *view.at(*at), is_street=False)
    for name, piece in _named(lines):
        (x1, y1), (x2, y2) = piece
        angle = degrees(atan2(y2 - y1, x2 - x1))
        labels.put(name, (x1 + x2) / 2, (y1 + y2) / 2, angle=(angle + 90) % 180 - 90)
    return Ground(
        tuple(tiles(view, of)),
        _path([shape for one, shape in drawn if one.is_area]),
        _path([_on_sheet(ring, view) for ring in rings]),
        _path([shape for _, shape in lines]),
        tuple(labels.found),
    )


def tiles(view: View, of: MapSection) -> Iterable[Tile]:
    """Those that cover the sheet."""
    if of.tiles is None:
        return
    zoom = max(0, min(of.tiles_max_zoom, round(log2(SHEET_PX / TILE_PX / view.span))))
    count = 1 << zoom
    width = 100 / (view.span * count)
    height = width * WIDTH / HEIGHT
    for y in _range(view.north * count, view.span * count * HEIGHT / WIDTH, count):
        for x in _range(view.west * count, view.span * count, count):
            url = of.tiles.replace("{z}", str(zoom)).replace("{x}", str(x)).replace("{y}", str(y))
            left, top = (x - view.west * count) * width, (y - view.north * count) * height
            yield Tile(url, round(left, 3), round(top, 3), round(width, 3), round(height, 3))


def _range(begin: float, length: float, count: int) -> range:
    return range(max(0, int(begin)), min(count - 1, int(begin + length)) + 1)


def _on_sheet(shape: Any, view: View) -> Any:
    """A shape on the sheet and a little beyond, without corners that nobody sees."""

    def project(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([view.at(lon, lat) for lon, lat in corners.tolist()]).reshape(-1, 2)

    placed = shapely.transform(shape, project)
    # what crosses itself is as it is drawn; GEOS would not cut it
    good = placed if placed.is_valid else shapely.make_valid(placed)
    cut = shapely.clip_by_rect(good, -BEYOND, -BEYOND, WIDTH + BEYOND, HEIGHT + BEYOND)
    return shapely.simplify(cut, SMOOTH)


def _path(shapes: Iterable[Any]) -> str:
    rings = [part for shape in shapes for whole in shapely.get_parts(shape) for part in _rings(whole)]
    return "".join(
        "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in ring.coords) + ("Z" if ring.is_ring else "") for ring in rings
    )


def _rings(shape: Any) -> list[Any]:
    if shape.is_empty:
        return []
    if shape.geom_type == "Polygon":
        return [shape.exterior, *shape.interiors]
    return [shape] if shape.geom_type in ("LineString", "LinearRing") else []


def _named(lines: Sequence[tuple[str, Any]]) -> Iterable[tuple[str, tuple[Position, Position]]]:
    """Of each name its longest straight piece, where the name has room along it; the longest first."""
    best: dict[str, tuple[float, tuple[Position, Position]]] = {}
    for name, shape in lines:
        for part in shapely.get_parts(shape):
            corners = list(part.coords) if name and not part.is_empty else []
            for one, other in pairwise(corners):
                length = hypot(other[0] - one[0], other[1] - one[1])
                if length > max(_width(name), best.get(name, (0.0,))[0]):
                    best[name] = length, (one, other)
    for name, (_, piece) in sorted(best.items(), key=lambda one: -one[1][0]):
        yield name, piece


def _width(text: str) -> float:
    return sum(LETTER * (1.0 if ord(letter) > 0x2E7F else 0.55) for letter in text)


class _Labels:
    """Names, none upon another."""

    def __init__(self) -> None:
        self.found: list[Label] = []
        self._taken: list[tuple[float, float, float, float]] = []

    def put(self, text: str, x: float, y: float, *, angle: float = 0.0, is_street: bool = True) -> None:
        """Put a name in the middle of a place, one of a camera beneath it, unless that would hide another."""
        width = _width(text)
        flat = abs(angle) < 45
        half_w, half_h = (width / 2, LETTER * 0.7) if flat else (LETTER * 0.7, width / 2)
        middle = y if is_street else y + LETTER * 1.4
        box = (x - half_w, middle - half_h, x + half_w, middle + half_h)
        inside = box[0] >= 0 and box[1] >= 0 and box[2] <= WIDTH and box[3] <= HEIGHT
        free = all(box[2] < a or c < box[0] or box[3] < b or d < box[1] for a, b, c, d in self._taken)
        if inside and free and len(self.found) < LABELS:
            self._taken.append(box)
            if not is_street:
                self._taken.append((x - LETTER, y - LETTER * 1.6, x + LETTER, y + LETTER * 0.6))  # the marks
            self.found.append(Label(text, *_percent(x, y), round(angle, 1), is_street))


def _percent(x: float, y: float) -> Position:
    return round(x / WIDTH * 100, 2), round(y / HEIGHT * 100, 2)


def on_sheet(view: View, kind: str, at: Position) -> Mark | None:
    """A mark where it is on the sheet; None beyond its edges."""
    x, y = view.at(*at)
    return Mark(kind, *_percent(x, y)) if 0 <= x <= WIDTH and 0 <= y <= HEIGHT else None


def gathered(marks: Iterable[Mark]) -> list[Mark]:
    """Those near each other as one, whose kind is that of its most pressing; from north to south, as they lie."""
    groups: list[list[Mark]] = []
    for one in sorted(marks, key=lambda mark: (mark.x, mark.y, KINDS.index(mark.kind))):
        near = (group for group in groups if _apart(group[0], one) < NEAR)
        group = min(near, key=lambda group: _apart(group[0], one), default=None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    found = []
    for group in groups:
        kind = min((one.kind for one in group), key=KINDS.index)
        found.append(Mark(kind, group[0].x, group[0].y, sum(one.count for one in group)))
    return sorted(found, key=lambda mark: (mark.y, mark.x))


def _apart(one: Mark, other: Mark) -> float:
    return hypot((one.x - other.x) * WIDTH / 100, (one.y - other.y) * HEIGHT / 100)
