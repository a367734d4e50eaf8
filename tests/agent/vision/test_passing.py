"""Light, weather and the day-night switch, each alone."""

import numpy as np
import pytest

from agent.vision.passing import Colour, Flashes, Precipitation
from agent.vision.signature import Signature

GROUND = np.random.default_rng(1).integers(60, 120, (18, 32)).repeat(10, 0).repeat(10, 1).astype(np.float32)


def shown(gain=1.0):
    return Signature(np.clip(GROUND * gain, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("gains", "flashes"),
    [
        ([1, 1, 2, 1, 1], 1),
        ([1, 1, 2, 1.8, 1, 1], 1),
        ([1, 1, 2, 1, 1, 1, 1, 1.9, 1], 2),
        ([1, 1, 2, 2, 2, 2, 2, 1, 1], 0),  # a lamp was switched on, and off
        ([1, 1, 1.2, 1, 1.2, 1], 0),
        ([1, 1, 0.4, 1, 1, 1, 1, 1], 0),  # a shadow is no flash: it takes light
        ([1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.4, 1.3, 1.2], 0),  # the sun comes out
    ],
)
def test_lightning_is_short(gains, flashes):
    follower = Flashes()
    assert sum(follower.follow(shown(gain), float(t)) for t, gain in enumerate(gains)) == flashes
    assert not follower.dazzled


OTHER = Signature(np.random.default_rng(8).integers(60, 120, (18, 32)).repeat(10, 0).repeat(10, 1).astype(np.uint8))
PLAIN = Signature(np.full((180, 320), 90, np.uint8))


@pytest.mark.parametrize(
    ("chromas", "after", "turns"),
    [
        ([8, 8, 8, 0, 0], shown(0.6), [3]),
        ([8, 8, 1.2, 0, 0], shown(0.6), [3]),
        ([0, 0, 7, 7], shown(), [2]),
        ([8, 6, 4, 3, 1.8, 1.6, 1.2, 0.9, 0.4, 0.2], shown(), []),  # dusk
        ([0, 0, 0], shown(), []),
        ([8, 8, 8, 0, 0], PLAIN, []),  # a cap
        ([0, 0, 0, 30, 30, 30, 0], OTHER, []),  # a coloured cloth before a camera that has no colour
    ],
)
def test_a_switch_takes_the_colour_at_once_and_leaves_the_view(chromas, after, turns):
    colour = Colour()
    found = []
    for t, chroma in enumerate(chromas):
        other = t and (chroma > 2) != (chromas[0] > 2)
        if colour.follow(after if other else shown(), chroma, float(t)):
            found.append(t)
            assert colour.settling(t + 5.0)
    assert found == turns
    assert not colour.settling(100.0)


def test_a_camera_without_colour_is_grey_from_the_start():
    colour = Colour()
    colour.follow(shown(), 0.1, 0.0)
    assert colour.grey


@pytest.mark.parametrize(
    ("flakes", "wide_px", "falls"),
    [
        (400, 2, True),
        (400, 1, True),
        (12, 2, False),  # a few insects
        (15, 16, False),  # things and people are wider
        (0, 1, False),
    ],
)
def test_snow_is_many_small_specks(flakes, wide_px, falls):
    rng, follower = np.random.default_rng(5), Precipitation()
    said = False
    for _ in range(16):
        picture = GROUND + rng.normal(0, 2, GROUND.shape)
        for y, x in zip(rng.integers(0, 180, flakes), rng.integers(0, 320, flakes), strict=True):
            picture[y : y + wide_px, x : x + wide_px] = 235
        said = follower.follow(Signature(np.clip(picture, 0, 255).astype(np.uint8)))
    assert said is falls
