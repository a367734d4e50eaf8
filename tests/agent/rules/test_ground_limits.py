"""Frontage with a ground plane: how much street an item takes, and the limit on that."""

import numpy as np
import pytest

from agent.rules import frontage
from agent.vision.places import StillView, zone_mask
from protocol.plane import Plane
from protocol.settings import FrontageZone
from tests import boxes

HEIGHT, WIDTH = 180, 320
FROM_ABOVE = Plane.from_rectangle(boxes.WHOLE, 16, 9)
"""Straight from above: 20 pixels are a metre."""


def view(*things):
    """The still scene with things (x, y, w, h in pixels) that have stood for a minute."""
    nothing, all_of_it = np.zeros((HEIGHT, WIDTH), np.bool_), np.ones((HEIGHT, WIDTH), np.bool_)
    held = nothing.copy()
    for x, y, w, h in things:
        held[y : y + h, x : x + w] = True
    still = np.full((HEIGHT, WIDTH), 90, np.uint8)
    return StillView(
        60.0,
        sure=all_of_it,
        clear=~held,
        held=held,
        seen=held,
        since_s=np.zeros((HEIGHT, WIDTH)),
        clear_since_s=np.zeros((HEIGHT, WIDTH)),
        calm=np.ones((HEIGHT, WIDTH), np.float32),
        peopled=np.zeros((HEIGHT, WIDTH), np.float32),
        still=still,
        disturbed=False,
    )


def items(scene, plane, **limits):
    zone = FrontageZone(id="front", kind="frontage", polygon=boxes.WHOLE, dwell_s=10, **{"min_area": 0.0005, **limits})
    raster = zone_mask(zone.polygon, (HEIGHT, WIDTH))
    return [
        item
        for breach in frontage.breaches(zone, raster, scene, lambda _: (None, None), plane)
        for item in breach.items
    ]


CRATE, TABLE = (40, 40, 20, 12), (200, 100, 40, 24)
"""1 × 0.6 m, and 2 × 1.2 m."""


def test_an_item_says_how_much_ground_it_takes():
    assert sorted(item.area_m2 for item in items(view(CRATE, TABLE), FROM_ABOVE)) == [0.6, 2.4]


def test_without_a_plane_it_says_nothing():
    assert [item.area_m2 for item in items(view(CRATE), None)] == [None]


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({}, [0.6, 2.4]),
        ({"min_area_m2": 0.6}, [0.6, 2.4]),  # the limit itself is enough
        ({"min_area_m2": 0.7}, [2.4]),
        ({"min_area_m2": 2.5}, []),
        ({"min_area_m2": 0.5, "min_area": 0.01}, [2.4]),  # both limits count
    ],
)
def test_what_takes_less_ground_than_the_limit_is_no_breach(limits, found):
    assert sorted(item.area_m2 for item in items(view(CRATE, TABLE), FROM_ABOVE, **limits)) == found


def test_what_is_not_on_the_ground_is_not_judged_by_it():
    """Its lower edge lies above the horizon, so that its area is not known: it is kept."""
    tilted = Plane.from_rectangle(((0.3, 0.7), (0.6, 0.7), (0.8, 0.9), (0.1, 0.9)), 4, 6)
    assert [item.area_m2 for item in items(view((40, 5, 20, 12)), tilted, min_area_m2=5)] == [None]
