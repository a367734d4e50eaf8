"""Telling whether a detector would see anything new."""

import cv2
import numpy as np
import pytest

from agent.vision.novelty import Novelty
from tests import clips

LOWER = ((0.0, 0.6), (1.0, 0.6), (1.0, 1.0), (0.0, 1.0))


def street(noise=2.0, seed=0, light=1.0):
    grey = cv2.cvtColor(clips.pavement(), cv2.COLOR_RGB2GRAY)
    noisy = grey * light + np.random.default_rng(seed).normal(0, noise, grey.shape)
    return cv2.resize(np.clip(noisy, 0, 255).astype(np.uint8), (320, 180), interpolation=cv2.INTER_AREA)


def person(luma, x, y, grey=60):
    luma = luma.copy()
    luma[y : y + 24, x : x + 8] = grey
    return luma


@pytest.mark.parametrize(
    ("now", "changed"),
    [
        (street(seed=1), False),
        (street(noise=4, seed=1), False),  # a night's noise
        (person(street(seed=1), 150, 140), True),
        (person(street(seed=1), 150, 95), True),  # feet in the zone, the body above it
        (person(street(seed=1), 150, 2), False),  # far above the zone
        (street(seed=1, light=1.1), True),  # who knows what the light shows
    ],
)
def test_what_is_new_near_a_zone_is_noticed(now, changed):
    novelty = Novelty([LOWER])
    assert novelty.changed(street())
    novelty.looked()
    assert novelty.changed(now) is changed


@pytest.mark.parametrize(
    ("at", "near", "anywhere"),
    [
        (None, (False, False), False),
        ((30, 140), (True, False), True),
        ((280, 140), (False, True), True),
        ((150, 2), (False, False), True),
    ],
)
def test_where_it_is_new_is_known(at, near, anywhere):
    zones = [((x, 0.6), (x + 0.3, 0.6), (x + 0.3, 1.0), (x, 1.0)) for x in (0.0, 0.7)]
    novelty = Novelty(zones)
    novelty.changed(street())
    assert (novelty.near, novelty.anywhere) == ((True, True), True)
    novelty.looked()
    changed = novelty.changed(street(seed=1) if at is None else person(street(seed=1), *at))
    assert (novelty.near, novelty.anywhere) == (near, anywhere)
    assert changed is any(near)


def test_it_is_compared_with_what_was_looked_at_and_not_with_the_last_sample():
    """Somebody who comes so slowly that no two samples differ is noticed all the same."""
    novelty = Novelty([])
    novelty.changed(street())
    novelty.looked()
    seen = []
    for darker in range(12):
        luma = street(seed=darker)
        luma[140:164, 148:156] -= np.uint8(darker)
        seen.append(novelty.changed(luma))
    assert seen[-1]
    assert not seen[0]


def test_another_size_is_new():
    novelty = Novelty([LOWER])
    novelty.changed(street())
    novelty.looked()
    assert novelty.changed(np.zeros((240, 320), np.uint8))
