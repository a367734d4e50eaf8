"""Signatures of pictures rendered here: what they hold on to, and what they let go."""

import cv2
import numpy as np
import pytest

from agent.vision.signature import Signature, agreement, contrast, detail, likeness, sharpness
from tests.eval import backdrops


def street(seed=3):
    rgb = backdrops.drawn(np.random.default_rng(seed)).rgb
    return cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (320, 180), interpolation=cv2.INTER_AREA)


def noisy(luma, levels, seed=1):
    noise = np.random.default_rng(seed).normal(0, levels, luma.shape)
    return np.clip(luma + noise, 0, 255).astype(np.uint8)


HALF = np.clip(street() * np.where(np.arange(320) < 160, 0.55, 1.0), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("other", "least", "most"),
    [
        (street(), 0.95, 1.0),
        (noisy(street(), 4), 0.8, 1.0),
        ((street() * 0.4).astype(np.uint8), 0.8, 1.0),  # a cloud
        (255 - street(), 0.95, 1.0),  # infrared turns bright to dark
        (HALF, 0.8, 1.0),  # a shadow over half of it
        (cv2.GaussianBlur(street(), (0, 0), 1.5), 0.8, 1.0),
        (np.roll(street(), 40, 1), -0.3, 0.35),  # another place
        (street(11), -0.3, 0.35),
        (np.full_like(street(), 90), -0.05, 0.05),  # nothing at all
    ],
)
def test_edges_agree_whatever_the_light(other, least, most):
    assert least <= float(np.median(agreement(Signature(other), Signature(street())))) <= most


@pytest.mark.parametrize(
    ("other", "least", "most"),
    [
        (street(), 0.99, 1.01),
        ((street() * 0.5).astype(np.uint8), 0.9, 1.05),  # half the light is no blur
        (noisy(street(), 5), 0.9, 1.1),  # nor does noise look sharp
        (cv2.GaussianBlur(street(), (0, 0), 1.2), 0.3, 0.7),
        (cv2.GaussianBlur(street(), (0, 0), 3), 0.0, 0.3),
        (noisy(cv2.GaussianBlur(street(), (0, 0), 3), 5), 0.0, 0.3),
    ],
)
def test_sharpness_answers_to_blur_alone(other, least, most):
    assert least <= float(np.median(sharpness(Signature(other), Signature(street())))) <= most


def test_detail_that_two_samples_share_is_no_noise():
    flat = np.full((180, 320), 100, np.uint8)
    grain = detail(Signature(noisy(flat, 6, 1)), Signature(noisy(flat, 6, 2)))
    real = detail(Signature(noisy(street(), 6, 1)), Signature(noisy(street(), 6, 2)))
    assert float(np.median(grain)) < 0.1 * float(np.median(real))


def test_likeness_and_contrast():
    place = Signature(street())
    assert likeness(place, place) == pytest.approx(1)
    assert likeness(Signature(255 - street()), place) == pytest.approx(-1, abs=0.01)
    assert contrast(Signature((street() * 0.5).astype(np.uint8))) == pytest.approx(contrast(place), rel=0.05)
    assert contrast(Signature(np.full((180, 320), 90, np.uint8))) == 0


@pytest.mark.parametrize(("shape", "grid"), [((180, 320), (10, 6)), ((240, 320), (10, 8)), ((213, 320), (10, 7))])
def test_tiles_cover_the_picture(shape, grid):
    signature = Signature(np.zeros(shape, np.uint8))
    assert signature.grid == grid
    assert signature.level.shape == grid[::-1]
    assert signature.structure.shape == grid[::-1]
