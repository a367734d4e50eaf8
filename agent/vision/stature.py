"""How tall people are in a picture: from the ground plane where one is set, else from those who were seen."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.vision.detector import Detections
from protocol.geometry import Box, Polygon, contains, polygon_bounds
from protocol.plane import Plane

Array = NDArray[np.float64]

PERSON_M: Final = 1.7
REMEMBERED: Final = 256
"""People whose size is remembered."""
ENOUGH: Final = 3
"""People from whom a size is taken."""
HEAD_HEIGHT: Final = 0.93
"""Height of the middle of the head as a share of the body's (a head is an eighth of it)."""
MARGIN: Final = 0.005
"""A box that ends so near to the picture's edge may be cut off there."""
FOOT_EDGE: Final = 0.98
"""A zone that reaches down to here reaches the picture's lower edge: whose feet are cut off stands in it."""
SPOTS: Final = 12
"""Spots along each side of a zone's bounds at which the plane is asked."""
STEP: Final = 1e-3
SPARE: Final = 1.25
"""Some are taller than others, and raise an arm."""
NEARLY_ALL: Final = 0.95
"""Now and then one box is drawn around two people."""


@dataclass
class Statures:
    """Heights of people before one camera, as shares of the picture's height.

    Args:
        plane: the ground plane, where it is known.
    """

    plane: Plane | None = None
    _seen: deque[tuple[float, float, float]] = field(default_factory=lambda: deque(maxlen=REMEMBERED), init=False)
    """Feet x, feet y, height."""

    def see(self, persons: Detections, part: Box | None = None) -> None:
        """Take people who were found; those who may be cut off by the edge of what was looked at tell nothing.

        Args:
            persons: in picture coordinates.
            part: of the picture that was looked at; None: the whole.
        """
        x, y, w, h = persons.boxes.T.astype(np.float64)
        left, top, across, down = part or (0.0, 0.0, 1.0, 1.0)
        whole = (x > left + MARGIN) & (y > top + MARGIN)
        whole &= (x + w < left + across - MARGIN) & (y + h < top + down - MARGIN)
        self._seen.extend(zip((x + w / 2)[whole].tolist(), (y + h)[whole].tolist(), h[whole].tolist(), strict=True))

    def within(self, polygon: Polygon, aspect: float) -> Array:
        """Heights of people in a zone, shape `(n,)`; empty while too little is known.

        Args:
            polygon: the zone.
            aspect: width of the picture by its height.
        """
        if self.plane is not None:
            spots = _spots(polygon)
            heights = on_plane(self.plane, spots, aspect)
            return heights[np.isfinite(heights)]
        seen = np.array(self._seen, np.float64).reshape(-1, 3)
        inside = seen[contains(polygon, seen[:, :2]), 2]
        return inside if len(inside) >= ENOUGH else np.zeros(0)

    def room(self, polygon: Polygon, aspect: float) -> Box | None:
        """The part of a picture that shows whole whoever has their feet in a zone; None while heights are unknown.

        Args:
            polygon: the zone.
            aspect: width of the picture by its height.
        """
        heights = self.within(polygon, aspect)
        return around(polygon, _tall(heights), aspect) if len(heights) else None

    def foreground(self, polygon: Polygon, aspect: float) -> Box | None:
        """The part of a picture that shows whole whoever hides some of a zone, standing in it or nearer; as `room`."""
        x, y, w, h = polygon_bounds(polygon)
        if self.plane is not None:
            at_zone = self.within(polygon, aspect)
            rise = float(at_zone.max()) if len(at_zone) else 0.0
            nearer = np.column_stack([np.linspace(x, x + w, SPOTS), np.full(SPOTS, min(y + h + rise, 1.0))])
            heights = np.concatenate([at_zone, on_plane(self.plane, nearer, aspect)])
            heights = heights[np.isfinite(heights)]
        else:
            foot_x, foot_y, tall = np.array(self._seen, np.float64).reshape(-1, 3).T
            hides = (foot_y >= y) & (foot_y - tall <= y + h) & (foot_x >= x) & (foot_x <= x + w)
            heights = tall[hides] if hides.sum() >= ENOUGH else np.zeros(0)
        return around(polygon, _tall(heights), aspect, below=1.0) if len(heights) else None

    def heads_above(self, polygon: Polygon, aspect: float) -> list[tuple[float, float]]:
        """Where the heads are of people whose feet are in a zone: the zone, moved up by their height.

        With a plane each corner moves by the height of a person there. Without one all move by the median of those who
        were seen in it: of a deep zone, the far edge is moved too far and the near edge too little.
        """
        corners = np.array(polygon, np.float64)
        if self.plane is not None:
            rise = np.nan_to_num(on_plane(self.plane, corners, aspect))
        else:
            heights = self.within(polygon, aspect)
            rise = np.full(len(corners), float(np.median(heights)) if len(heights) else 0.0)
        rise[corners[:, 1] >= FOOT_EDGE] = 0
        top = np.maximum(corners[:, 1] - HEAD_HEIGHT * rise, 0)
        return [(float(x), float(y)) for x, y in zip(corners[:, 0], top, strict=True)]


def around(polygon: Polygon, tall: float, aspect: float, *, below: float = 0.2) -> Box:
    """Box of the people whose feet are in a zone: bodies reach above it and to its sides; may reach out of the picture.

    Args:
        polygon: the zone.
        tall: height of a person, as a share of the picture's.
        aspect: width of the picture by its height.
        below: of a person's height, so far below the zone somebody may stand who belongs to it.
    """
    x, y, w, h = polygon_bounds(polygon)
    side = tall / 2 / aspect
    return x - side, y - 1.2 * tall, w + 2 * side, h + (1.2 + below) * tall


def on_plane(plane: Plane, feet: Array, aspect: float) -> Array:
    """Height of a person who stands at a spot, as a share of the picture's height.

    What stands upright and what lies across the view at the same distance are seen at one scale, as far as the camera
    looks along the street; one that looks down at 45° shows people at .7 of this.

    Args:
        plane: the ground plane.
        feet: shape `(n, 2)`, picture coordinates.
        aspect: width of the picture by its height.

    Returns:
        Shape `(n,)`; NaN where there is no ground.
    """
    left, right = plane.to_ground(feet), plane.to_ground(feet + np.array([STEP, 0.0]))
    return np.asarray(PERSON_M * STEP / np.hypot(*(right - left).T) * aspect, np.float64)


def _tall(heights: Array) -> float:
    return SPARE * float(np.quantile(heights, NEARLY_ALL))


def _spots(polygon: Polygon) -> Array:
    """Points spread evenly over a polygon, shape `(n, 2)`."""
    x, y, w, h = polygon_bounds(polygon)
    across, down = np.meshgrid((np.arange(SPOTS) + 0.5) / SPOTS, (np.arange(SPOTS) + 0.5) / SPOTS)
    spots = np.column_stack([x + across.ravel() * w, y + down.ravel() * h])
    return spots[contains(polygon, spots)]
