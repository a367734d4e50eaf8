"""Polygons and boxes in picture coordinates.

The origin is the top left of the whole displayed picture (after rotation and pixel aspect), both axes run from 0 to 1.
A box is `(x, y, w, h)`; a polygon is a sequence of at least three corners, closed by itself, not crossing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Point = tuple[float, float]
Box = tuple[float, float, float, float]
Polygon = Sequence[Point]

MAX_CORNERS = 64


def polygon_fault(polygon: Polygon) -> str | None:
    """Say what makes a polygon unusable, or None for a good one."""
    if len(polygon) < 3:
        return f"expected at least 3 corners, got {len(polygon)}; draw around the area"
    if len(polygon) > MAX_CORNERS:
        return f"expected at most {MAX_CORNERS} corners, got {len(polygon)}; draw it coarser"
    outside = [list(point) for point in polygon if not all(0 <= number <= 1 for number in point)]
    if outside:
        return f"expected coordinates between 0 and 1 (a share of the picture), got {outside[0]}"
    if len(set(polygon)) != len(polygon):
        return "two corners are the same point; remove one"
    crossing = _crossing_sides(polygon)
    if crossing is not None:
        return f"sides {crossing[0]} and {crossing[1]} cross each other; list the corners in order around the area"
    return "it has no area; its corners lie on one line" if polygon_area(polygon) < 1e-6 else None


def _crossing_sides(polygon: Polygon) -> tuple[int, int] | None:
    """Find two sides that are no neighbours and share a point; sides count from 1."""
    sides = list(pairwise([*polygon, polygon[0]]))
    for i, first in enumerate(sides):
        for j in range(i + 2, len(sides)):
            if (i, j) != (0, len(sides) - 1) and _cross(first, sides[j]):
                return i + 1, j + 1
    return None


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _within(a: Point, b: Point, p: Point) -> bool:
    return min(a[0], b[0]) <= p[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])


def _cross(first: tuple[Point, Point], second: tuple[Point, Point]) -> bool:
    """Say whether two closed segments share a point."""
    (a, b), (c, d) = first, second
    turns = (_turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b))
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    corners = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(t == 0 and _within(p, q, r) for t, (p, q, r) in zip(turns, corners, strict=True))


def polygon_area(polygon: Polygon) -> float:
    """Area as a share of the picture (shoelace formula)."""
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise([*polygon, polygon[0]]))) / 2


def polygon_bounds(polygon: Polygon) -> Box:
    """Smallest upright box around a polygon."""
    return box_union([(float(x), float(y), 0.0, 0.0) for x, y in polygon])


def contains(polygon: Polygon, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which points lie inside a polygon (even-odd rule; left and top edges count as inside).

    Args:
        polygon: corners in picture coordinates.
        points: shape `(n, 2)`, x and y.

    Returns:
        Shape `(n,)`.
    """
    import numpy as np  # noqa: PLC0415 - who reads settings does without

    inside = np.zeros(len(points), np.bool_)
    x, y = points[:, 0], points[:, 1]
    for (x1, y1), (x2, y2) in pairwise([*polygon, polygon[0]]):
        if y1 == y2:
            continue
        spans = (y1 <= y) != (y2 <= y)
        inside ^= spans & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


def box_intersection(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    shared = box_intersection(a, b)
    union = a[2] * a[3] + b[2] * b[3] - shared
    # of slivers, rounding leaves more shared than there is
    return min(1.0, shared / union) if union > 0 else 0.0


def box_union(boxes: Sequence[Box]) -> Box:
    """Smallest box around several boxes (at least one)."""
    left, top = min(x for x, _, _, _ in boxes), min(y for _, y, _, _ in boxes)
    return left, top, max(x + w for x, _, w, _ in boxes) - left, max(y + h for _, y, _, h in boxes) - top
