"""The ground plane: four corners of a rectangle on the street and its two sides give areas and distances on the ground.

A homography maps picture points to ground points in metres (Hartley and Zisserman, *Multiple View Geometry*, 2nd
edition, section 2.3). The ground's origin is the rectangle's first corner; its x axis runs to the second corner, its y
axis runs the way from the second to the third. Picture coordinates are shares of width and height, so their two units
differ unless the picture is square: a homography takes that in, but lengths and angles in the picture mean nothing.

The horizon is a line of the picture. What lies on or above it is no ground, however far: there the functions give NaN
or raise PlaneError.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from protocol.geometry import Point, Polygon, polygon_area, polygon_fault

Array = NDArray[np.float64]

MIN_HEIGHT: Final = 0.01
"""Each three corners must be this far from lying on a line, as a share of the picture. A click errs by 2 or 3 pixels of
1000; on a flatter rectangle it would change areas by more than a third."""
FARTHEST: Final = 50.0
"""Ground ends where things are this many times as far from the camera as the rectangle's nearest corner: one pixel of
error there is worth metres."""


class PlaneError(ValueError):
    """Points that give no plane, or that are not on it; the text says what was expected and what came."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A ground plane as seen by one camera.

    Args:
        homography: shape `(3, 3)`, picture to ground, scaled so that the third coordinate of what it gives is 1 at the
            rectangle's nearest corner and falls with the distance from the camera, to 0 at the horizon.
    """

    homography: Array

    @classmethod
    def from_rectangle(cls, points: Polygon, width_m: float, depth_m: float) -> Self:
        """Make a plane from a rectangle on the ground.

        Args:
            points: its four corners in the picture, in order around it.
            width_m: length of the side from the first to the second corner, m.
            depth_m: length of the side from the second to the third corner, m.

        Raises:
            PlaneError: the points are no picture of a rectangle that lies in front of the camera.
        """
        fault = rectangle_fault(points)
        if fault is not None:
            raise PlaneError(fault)
        ground = np.array([(0.0, 0.0), (width_m, 0.0), (width_m, depth_m), (0.0, depth_m)])
        homography = _four_point_homography(np.asarray(points, np.float64), ground)
        # the corners of a convex picture all lie on one side of the horizon
        scales = _homogeneous(np.asarray(points, np.float64)) @ homography[2]
        plane = cls(homography / scales[np.abs(scales).argmax()])
        if not plane.on_ground(np.asarray(points, np.float64)).all():
            raise PlaneError(
                f"the far corners lie more than {FARTHEST:g} times as far away as the near ones, at the horizon of "
                "the plane; choose a shorter rectangle"
            )
        return plane

    def on_ground(self, points: Array) -> NDArray[np.bool_]:
        """Say which picture points show ground, not sky and not the haze below the horizon.

        Args:
            points: shape `(n, 2)`.

        Returns:
            Shape `(n,)`.
        """
        return np.asarray(_homogeneous(points) @ self.homography[2] > 1 / FARTHEST, np.bool_)

    def to_ground(self, points: Array) -> Array:
        """Map picture points to the ground.

        Args:
            points: shape `(n, 2)`, picture coordinates; they may lie outside of the picture.

        Returns:
            Shape `(n, 2)`, m; NaN where a point is not on the ground.
        """
        mapped = _homogeneous(points) @ self.homography.T
        far = mapped[:, 2] <= 1 / FARTHEST
        scales = np.where(far, np.nan, mapped[:, 2])
        return np.asarray(mapped[:, :2] / scales[:, None], np.float64)

    def to_picture(self, points: Array) -> Array:
        """Map ground points to the picture.

        Args:
            points: shape `(n, 2)`, m.

        Returns:
            Shape `(n, 2)`, picture coordinates, also outside of 0 to 1; NaN for what is behind the camera or farther
            than the ground goes.
        """
        inverse = np.linalg.inv(self.homography)
        mapped = _homogeneous(points) @ inverse.T
        # the third coordinate is now the reciprocal of the one that falls with the distance
        seen = (mapped[:, 2] > 0) & (mapped[:, 2] < FARTHEST)
        scales = np.where(seen, mapped[:, 2], np.nan)
        return np.asarray(mapped[:, :2] / scales[:, None], np.float64)

    def area_m2(self, polygon: Polygon) -> float:
        """Area on the ground of a polygon of picture coordinates, m².

        Raises:
            PlaneError: a corner is not on the ground.
        """
        ground = self.to_ground(np.asarray(polygon, np.float64))
        off = np.flatnonzero(np.isnan(ground[:, 0]))
        if len(off):
            x, y = polygon[int(off[0])]
            raise PlaneError(
                f"expected an area on the ground, got the corner [{x:g}, {y:g}], which lies at or above the horizon "
                "of the plane; draw the area lower, or correct the plane"
            )
        return polygon_area([(x, y) for x, y in ground.tolist()])

    def distance_m(self, a: Point, b: Point) -> float:
        """Distance on the ground between two picture points, m; NaN where one of them is not on the ground."""
        ground = self.to_ground(np.array([a, b], np.float64))
        return float(np.hypot(*(ground[1] - ground[0])))


def rectangle_fault(points: Polygon) -> str | None:
    """Say why four points cannot be the picture of a rectangle on the ground, or None for good ones.

    A rectangle in front of the camera has a convex picture; one that crosses the camera's plane, where the horizon
    would pass through it, has not.
    """
    if len(points) != 4:
        return f"expected the 4 corners of a rectangle on the ground, got {len(points)} points"
    corners = np.asarray(points, np.float64)
    clicks = [(x, y) for x, y in corners.tolist()]
    if not ((corners >= 0) & (corners <= 1)).all():
        return polygon_fault(clicks)
    for left_out in range(4):
        triangle = np.delete(corners, left_out, axis=0)
        if _height(triangle) < MIN_HEIGHT:
            names = [str(n + 1) for n in range(4) if n != left_out]
            return (
                f"points {', '.join(names[:2])} and {names[2]} lie on one line or too close together (within "
                f"{MIN_HEIGHT:g} of the picture); choose a rectangle that looks larger"
            )
    fault = polygon_fault(clicks)
    if fault is not None:
        return fault
    turns = [_turn(corners[n], corners[(n + 1) % 4], corners[(n + 2) % 4]) for n in range(4)]
    if min(turns) < 0 < max(turns):
        odd = next(n for n in range(4) if turns[n] * sum(map(np.sign, turns)) < 0)
        return (
            f"the picture of a rectangle is convex, but it bends inward at point {(odd + 1) % 4 + 1}; "
            "click the corners of a real rectangle on the ground, all below the horizon"
        )
    return None


def _homogeneous(points: Array) -> Array:
    return np.column_stack([points, np.ones(len(points))])


def _four_point_homography(source: Array, target: Array) -> Array:
    """Homography between two times four points, from the eight linear equations that they give.

    It is solved from the target's side, where the first point is the origin: there the ninth coefficient is never 0.
    """
    rows, values = [], []
    for (x, y), (u, v) in zip(target.tolist(), source.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    coefficients = np.linalg.solve(np.array(rows, np.float64), np.array(values, np.float64))
    return np.asarray(np.linalg.inv(np.append(coefficients, 1.0).reshape(3, 3)), np.float64)


def _turn(a: Array, b: Array, c: Array) -> float:
    return float((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]))


def _height(triangle: Array) -> float:
    """Least height of a triangle; 0 where its corners lie on one line."""
    longest = max(float(np.hypot(*(triangle[n] - triangle[n - 1]))) for n in range(3))
    return abs(_turn(*triangle)) / longest if longest > 0 else 0.0
