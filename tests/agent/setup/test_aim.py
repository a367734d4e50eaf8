"""How sharp a picture is, and how large people and goods are in it."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from agent.setup.aim import Measure, sharpness
from protocol.plane import Plane
from tests.scenes import street


@pytest.mark.parametrize("light", [(1.0, 0), (0.6, 0), (0.8, 40)])
def test_the_meter_falls_with_each_turn_out_of_focus(light):
    luma = cv2.cvtColor(street(1), cv2.COLOR_BGR2GRAY)
    luma = np.clip(luma * light[0] + light[1], 0, 255).astype(np.uint8)
    found = [sharpness(luma if sigma == 0 else cv2.GaussianBlur(luma, (0, 0), sigma)) for sigma in (0, 1, 2, 4, 8)]
    assert found == sorted(found, reverse=True)
    assert all(after < 0.85 * before for before, after in pairwise(found))


def test_light_changes_it_little():
    luma = cv2.cvtColor(street(1), cv2.COLOR_BGR2GRAY)
    assert sharpness((luma * 0.7).astype(np.uint8)) == pytest.approx(sharpness(luma), rel=0.2)
    assert sharpness(np.zeros((720, 1280), np.uint8)) == 0


def people(rows):
    """Heights that a level street gives: .5 of what lies between feet and the horizon at .2."""
    return np.array([[0.4, y - 0.5 * (y - 0.2), 0.05, 0.5 * (y - 0.2)] for y in rows], np.float32)


def test_sizes_come_of_people_who_were_seen():
    measure = Measure()
    measure.see(people([0.4, 0.9]))
    assert measure.sizes([], 1280, 720) == [], "two are too few"
    measure.see(people([0.5, 0.6, 0.7, 0.8]))
    zone = ((0.2, 0.4), (0.8, 0.4), (0.8, 0.8), (0.2, 0.8))
    near, middle, far = measure.sizes([zone], 1280, 720)
    assert [one.row for one in (near, middle, far)] == ["near", "middle", "far"]
    assert [one.person_px for one in (near, middle, far)] == pytest.approx([216, 144, 72], abs=2)
    assert near.item_px == pytest.approx(216 / 1.7 * 0.5, abs=1)
    assert (near.person_good, near.item_good, far.person_good, far.item_good) == (True, True, True, False)


def test_people_at_one_distance_tell_of_that_only():
    measure = Measure()
    measure.see(people([0.5, 0.5, 0.51]))
    zone = ((0.2, 0.7), (0.8, 0.7), (0.8, 0.9), (0.2, 0.9))
    assert measure.sizes([zone], 1280, 720) == []
    assert {one.person_px for one in measure.sizes([], 1280, 720)} == {108}


def test_who_is_cut_off_tells_nothing():
    measure = Measure()
    measure.see(np.array([[0.4, 0.0, 0.1, 0.5], [0.0, 0.2, 0.1, 0.5], [0.4, 0.5, 0.1, 0.5]] * 3, np.float32))
    assert measure.sizes([], 1280, 720) == []


def test_sizes_come_of_the_ground_where_that_is_drawn():
    # 4 m across a third of 1280 pixels, near the camera; half of that far away
    plane = Plane.from_rectangle(((0.33, 0.5), (0.5, 0.5), (0.583, 0.9), (0.25, 0.9)), 4, 8)
    measure = Measure(plane)
    near, _, far = measure.sizes([((0.3, 0.5), (0.5, 0.5), (0.5, 0.9))], 1280, 720)
    assert near.person_px == pytest.approx(1280 / 3 / 4 * 1.7, rel=0.03)
    assert far.person_px == pytest.approx(1280 * 0.17 / 4 * 1.7, rel=0.03)
    assert near.item_good
    assert not far.item_good
