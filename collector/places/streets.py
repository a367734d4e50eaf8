"""Streets for a map: lines and areas from GeoJSON (RFC 7946), WGS84; what they are drawn for is not asked."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import shapely
from shapely.geometry import shape as shape_of

from collector.places.faults import PlacesError, shown
from collector.places.grid import NAME_NAMES, read_features

log = logging.getLogger(__name__)

LINES: Final = ("LineString", "MultiLineString")
AREAS: Final = ("Polygon", "MultiPolygon")


@dataclass(frozen=True)
class Street:
    """A street, or an area such as a block or a park.

    Args:
        shape: of shapely, in degrees of WGS84.
    """

    name: str
    is_area: bool
    shape: Any


def read_streets(content: bytes) -> tuple[Street, ...]:
    """Take lines and areas from GeoJSON, other features are passed over; raises PlacesError."""
    found = []
    for number, one in enumerate(read_features(content), 1):
        geometry = one.get("geometry") if isinstance(one, dict) else None
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        if kind not in (*LINES, *AREAS):
            continue
        try:
            shape = shapely.force_2d(shape_of(geometry))
            west, south, east, north = shape.bounds
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, shapely.errors.ShapelyError) as fault:
            raise _bad(number, shown(str(fault))) from None
        if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
            raise _bad(number, f"{shape.bounds}"[:120])
        found.append(Street(_name(one.get("properties")), kind in AREAS, shape))
    return tuple(found)


def _bad(number: int, got: str) -> PlacesError:
    return PlacesError.of(
        "geometry",
        f"第 {number} 个要素应为经纬度（度）的线或面：{got}",
        f"expected feature {number} to be a line or an area in degrees, got: {got}",
    )


def _name(properties: Any) -> str:
    named = properties if isinstance(properties, dict) else {}
    text = next((named[name] for name in NAME_NAMES if isinstance(named.get(name), str)), "")
    return "".join(letter for letter in text if letter.isprintable())[:40]


class Streets:
    """The streets of a file, read again when it has changed.

    Args:
        path: the file; None: there are none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._read: tuple[int, tuple[Street, ...]] = (0, ())

    def now(self) -> tuple[int, tuple[Street, ...]]:
        """Which state of the file this is, and its streets; none where it cannot be read, which the log says once."""
        if self._path is None:
            return self._read
        try:
            state = self._path.stat().st_mtime_ns
            if state == self._read[0]:
                return self._read
            found = read_streets(self._path.read_bytes())
        except (OSError, PlacesError) as fault:
            state = 1 if isinstance(fault, OSError) else state
            if self._read != (state, ()):
                log.warning("[map] streets: %s cannot be drawn: %s", self._path, fault)
            found = ()
        self._read = (state, found)
        return self._read
