"""A frozen picture is told from a quiet one."""

import numpy as np
import pytest

from agent.vision.repeats import CLEAN_FREEZE_S, FREEZE_S, Repeats

GROUND = np.random.default_rng(1).integers(60, 180, (180, 320)).astype(np.uint8)


def noise(seed):
    return np.clip(GROUND + np.random.default_rng(seed).normal(0, 2, GROUND.shape), 0, 255).astype(np.uint8)


def walker(t):
    picture = GROUND.copy()
    picture[60:120, (7 * t) % 300 : (7 * t) % 300 + 18] = 20
    return picture


def stopped(pictures, step_s=1.0):
    """Seconds into a clip at which it is said to be frozen, and at which it is suspected."""
    repeats, frozen, suspected = Repeats(), [], []
    for number, picture in enumerate(pictures):
        found = repeats.follow(picture, number * step_s)
        if found is not None:
            (frozen if found.frozen else suspected).append(number * step_s)
    return frozen, suspected


def test_a_noisy_camera_that_repeats_its_picture_is_frozen():
    frozen, suspected = stopped([noise(n) for n in range(60)] + [noise(59)] * 30)
    assert frozen[0] == 59 + FREEZE_S
    assert frozen[-1] == 89
    assert suspected[0] == 62


def test_it_is_over_with_the_first_new_picture():
    repeats = Repeats()
    for n in range(90):
        found = repeats.follow(noise(min(n, 60)), float(n))
    assert found is not None
    assert found.frozen
    assert found.since_s == 60
    assert repeats.follow(noise(99), 90.0) is None


def test_a_clock_in_a_frozen_picture_is_no_life():
    def with_clock(n):
        picture = noise(59)
        picture[4:9, 4:12] = 255 * (n % 2)
        return picture

    assert stopped([noise(n) for n in range(60)] + [with_clock(n) for n in range(30)])[0]


@pytest.mark.parametrize(
    "pictures",
    [
        [GROUND] * 300,  # a rendered street on which nothing happens
        [walker(n) if n % 90 < 45 else GROUND for n in range(400)],  # and one on which somebody walks now and then
        [noise(n // 12) for n in range(400)],  # a codec that repeats each picture for twelve seconds
        [noise(n // 12) for n in range(200)] + [noise(500 + n // 40) for n in range(400)],  # and ever longer by night
        [noise(n) for n in range(200)],
        [noise(n) for n in range(20)] + [noise(19)] * 200,  # too little is known of this camera
    ],
)
def test_a_quiet_picture_is_not_frozen(pictures):
    assert stopped(pictures)[0] == []


def test_a_camera_with_a_clean_codec_freezes_after_longer():
    lively = [noise(n // 3) for n in range(180)]
    frozen, suspected = stopped(lively + [noise(900)] * 120)
    assert frozen[0] == 180 + CLEAN_FREEZE_S
    assert suspected == []


def test_one_sample_in_five_seconds_serves():
    frozen, _ = stopped([noise(n) for n in range(60)] + [noise(59)] * 12, step_s=5.0)
    assert frozen[0] <= 59 * 5 + 30
