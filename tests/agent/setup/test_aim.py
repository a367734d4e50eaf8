"""How sharp a picture is, and how large people and goods are in it."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from agent.setup.aim import ITEM_PX, ITEM_TALL, Measure, item_needs_px, sharpness
from agent.vision.still import StillScene
from protocol.plane import Plane
from protocol.settings import MIN_AREA
from tests.agent.vision.test_still import EVERYWHERE, Street, pavement
from tests.scenes import street


@pytest.mark.parametrize("light", [(1.0, 0), (0.6, 0), (0.8, 40)])
def test_the_meter_falls_with_each_turn_out_of_focus(light):
    whole = cv2.cvtColor(street(1), cv2.COLOR_BGR2GRAY)
    luma = np.clip(whole * light[0] + light[1], 0, 255).astype(np.uint8)
    found = [sharpness(luma)] + [sharpness(cv2.GaussianBlur(luma, (0, 0), sigma)) for sigma in (1, 2, 4, 8)]
    assert all(after < 0.85 * before for before, after in pairwise(found))
    assert found[0] == pytest.approx(sharpness(whole), rel=0.2), "light changes it little"


def people(*rows):
    """Heights that a level street gives: half of what lies between feet and the horizon at .2."""
    return np.array([[0.4, y - 0.5 * (y - 0.2), 0.05, 0.5 * (y - 0.2)] for y in rows], np.float32)


def zone(far, near):
    return ((0.2, far), (0.8, far), (0.8, near), (0.2, near))


def test_sizes_come_of_people_who_were_seen():
    measure = Measure()
    cut_off = [[0.4, 0.0, 0.1, 0.5], [0.0, 0.2, 0.1, 0.5], [0.4, 0.5, 0.1, 0.5]]
    measure.see(np.concatenate([people(0.4, 0.9), np.array(cut_off, np.float32)]))
    assert measure.sizes([], 1280, 720) == [], "two are too few, and who is cut off tells nothing"
    measure.see(people(0.5, 0.6, 0.7, 0.8))
    near, middle, far = measure.sizes([zone(0.4, 0.8)], 1280, 720)
    assert [one.person_px for one in (near, middle, far)] == pytest.approx([216, 144, 72], abs=2)
    assert [one.item_px for one in (near, far)] == pytest.approx([64, 21], abs=1)
    assert (near.person_good, near.item_good, far.person_good, far.item_good) == (True, True, True, False)


def test_people_at_one_distance_tell_of_that_only():
    measure = Measure()
    measure.see(people(0.5, 0.5, 0.51))
    assert measure.sizes([zone(0.7, 0.9)], 1280, 720) == []
    assert {one.person_px for one in measure.sizes([], 1280, 720)} == {108}


def test_sizes_come_of_the_ground_where_that_is_drawn():
    plane = Plane.from_rectangle(((0.33, 0.5), (0.5, 0.5), (0.583, 0.9), (0.25, 0.9)), 4, 8)
    near, _, far = Measure(plane).sizes([zone(0.5, 0.9)], 1280, 720)
    # 4 m across a third of 1280 pixels near the camera, across .17 of them far away
    assert near.person_px == pytest.approx(1280 / 3 / 4 * 1.7, rel=0.03)
    assert far.person_px == pytest.approx(1280 * 0.17 / 4 * 1.7, rel=0.03)
    assert (near.item_good, far.item_good) == (True, False)


def reported(px, seed):
    """Whether a crate so wide in 1080p is reported by the default settings after a while."""
    rng, tall = np.random.default_rng(seed), round(px * ITEM_TALL)
    thing = rng.normal(rng.choice([60, 90, 170, 200]), 5, (tall, px))
    thing[: tall // 12] += 60
    thing[:: tall // 4] -= 40
    thing[:, :: px // 3] += 35
    x, y = int(rng.integers(400, 1300)), int(rng.integers(400, 900))
    empty = cv2.resize(pavement(seed), (1920, 1080), interpolation=cv2.INTER_CUBIC)
    full = empty.copy()
    full[y : y + tall, x : x + px] = thing
    before, after = (cv2.resize(one, (320, 180), interpolation=cv2.INTER_AREA) for one in (empty, full))
    camera = Street(StillScene(10), before)
    camera.watch(20)
    return bool(camera.watch(40, lambda _picture, _t: after).items(EVERYWHERE, MIN_AREA, 20))


@pytest.mark.parametrize(("px", "least", "most"), [(item_needs_px(1920, 1080), 8, 8), (ITEM_PX, 0, 4)])
def test_what_is_called_large_enough_is_reported(px, least, most):
    assert least <= sum(reported(px, seed) for seed in range(8)) <= most


@pytest.mark.parametrize(
    ("picture", "min_area", "px"),
    [
        ((1920, 1080), MIN_AREA, 57),
        ((1280, 720), MIN_AREA, 40),
        ((3840, 2160), MIN_AREA, 113),
        ((1920, 1080), 0.0007, 40),
    ],
)
def test_how_large_goods_have_to_be(picture, min_area, px):
    assert item_needs_px(*picture, min_area) == px
