"""Laying a sample over the reference."""

import cv2
import numpy as np
import pytest

from agent.vision.alignment import REACH_PX, Alignment, estimate_shift, expose
from tests.agent.vision.test_still import luma, pavement

PLACE = luma(pavement())


def moved(x, y):
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(PLACE, matrix, PLACE.shape[::-1], borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("shift", [(0, 0), (4, 0), (0, -3), (-7.5, 5.5)])
def test_a_nudge_is_measured_and_undone(shift):
    found = estimate_shift(moved(*shift), PLACE)
    assert found == pytest.approx(shift, abs=0.5)
    alignment = Alignment()
    for _ in range(2):
        alignment.follow(moved(*shift), PLACE)
    inside = ~alignment.outside(PLACE.shape)
    apart = cv2.absdiff(alignment.lay(moved(*shift)), PLACE)[inside]
    assert apart.mean() < 4
    assert inside.mean() > 0.85


@pytest.mark.parametrize(
    ("shift", "side"), [((4, 0), np.s_[:, -4:]), ((-4, 0), np.s_[:, :4]), ((0, 4), np.s_[-4:]), ((0, -4), np.s_[:4])]
)
def test_what_has_left_the_picture_is_known(shift, side):
    alignment = Alignment(offset=shift)
    outside = alignment.outside(PLACE.shape)
    assert outside[side].all()
    assert outside.mean() < 0.05
    far = np.abs(alignment.lay(moved(*shift)).astype(int) - PLACE) > 20
    assert not (far & ~outside).any()


def test_one_sample_is_no_nudge_and_another_view_is_none():
    alignment = Alignment()
    assert not alignment.follow(moved(5, 0), PLACE)
    assert alignment.offset == (0, 0)
    assert alignment.follow(moved(5, 0), PLACE)
    far = moved(REACH_PX + 8, 0)
    assert not alignment.follow(far, PLACE)
    assert not alignment.follow(far, PLACE)
    assert alignment.offset == pytest.approx((5, 0), abs=0.5)


@pytest.mark.parametrize("gain", [0.4, 0.7, 1.4])
def test_exposure_is_taken_out(gain):
    taken = luma(PLACE.astype(np.float32) * gain)
    assert abs(float(np.median(expose(taken, PLACE))) - float(np.median(PLACE))) < 8
