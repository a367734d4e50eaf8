"""Web Mercator (EPSG:3857): the world as a square, which tiles are cut from.

On a sphere of 6,378,137 m; source of the formulas: IOGP Guidance Note 373-7-2, "Popular Visualisation Pseudo-Mercator".
"""

from math import asinh, cos, pi, radians, tan
from typing import Final

ROUND_M: Final = 2 * pi * 6_378_137.0
"""The side of the square, at the equator."""
MOST_LAT: Final = 85.0511287798066
"""Where the square ends: atan(sinh(pi))."""


def to_square(lon: float, lat: float) -> tuple[float, float]:
    """Turn degrees into shares of the square: eastwards from 180° W, and southwards."""
    lat = max(-MOST_LAT, min(MOST_LAT, lat))
    return lon / 360 + 0.5, 0.5 - asinh(tan(radians(lat))) / (2 * pi)


def metres(lat: float) -> float:
    """Metres on the ground that the whole square's side is at a latitude."""
    return ROUND_M * cos(radians(lat))


def tile_at(lon: float, lat: float, zoom: int) -> tuple[int, int]:
    """Numbers of the tile that a position is in: `{x}` and `{y}`."""
    count = 1 << zoom
    x, y = to_square(lon, lat)
    return min(int(x * count), count - 1), min(int(y * count), count - 1)
