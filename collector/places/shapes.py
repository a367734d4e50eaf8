"""Polygons on the ground, in degrees of WGS84.

Shapely (BSD-3; its GEOS LGPL-2.1) answers what is hard to get right by hand: whether a ring crosses itself, and what
two polygons share. `protocol.geometry` has polygons too, of at most 64 corners and in shares of a picture.
"""

from collections.abc import Sequence
from math import cos, radians
from typing import Any, Final

import shapely
from shapely.validation import explain_validity

from collector.places.faults import BadValueError
from collector.places.fields import Position

M_PER_DEGREE: Final = 111_195.0
"""Of latitude, on a sphere of 6,371 km: areas are told to half a percent, which is enough to compare them."""
Rings = Sequence[Sequence[Position]]
"""The outer ring, then holes; closed or not."""


def polygon_of(rings: Rings) -> Any:
    """A shapely polygon; raises BadValueError where it crosses itself or has no area."""
    shape = shapely.Polygon(rings[0], rings[1:])
    if not shape.is_valid:
        reason = str(explain_validity(shape))
        raise BadValueError(
            "crosses",
            f"多边形自相交或不成形（{reason}）；请按顺序沿边界列出角点",
            f"expected a polygon that does not cross itself, got: {reason}; list the corners in order around the area",
        )
    if area_m2(shape) < 0.01:
        raise BadValueError("no_area", "多边形没有面积", "expected a polygon with an area, its corners lie on one line")
    return shape


def area_m2(shape: Any) -> float:
    """Area on the ground."""
    if shape.is_empty:
        return 0.0
    _, south, _, north = shape.bounds
    return float(shape.area * M_PER_DEGREE**2 * cos(radians((south + north) / 2)))


def covers(shape: Any, lon: float, lat: float) -> bool:
    """Whether a position lies in a polygon or on its edge."""
    return bool(shapely.intersects_xy(shape, lon, lat))
