import cv2
import numpy as np
import pytest

from agent.vision.ground import DEPTH_SHARE, footprint_m2
from protocol.plane import Plane, PlaneError
from tests.pinhole import Pinhole

WIDTH, HEIGHT = 320, 180
"""As the still scene sees it."""
GOODS = {
    "crate": (0.6, 0.4, 0.3),
    "stack of crates": (0.6, 0.4, 1.0),
    "table": (1.2, 0.6, 0.75),
    "rack": (1.0, 0.4, 1.5),
    "bicycle": (1.7, 0.5, 1.05),
    "cloth with goods": (2.0, 1.5, 0.1),
    "stall": (2.0, 1.0, 1.0),
    "chair": (0.5, 0.5, 0.85),
    "carton": (0.4, 0.4, 0.4),
    "sign": (0.6, 0.6, 1.0),
    "row of crates": (2.4, 0.5, 0.4),
    "freezer": (1.5, 0.7, 0.9),
    "bag": (0.4, 0.3, 0.3),
}
"""Width, depth and height, m."""


def corners(width_m, depth_m, middle, turn=0.0):
    spin = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2 * (width_m, depth_m) @ spin + middle


def plane_of(camera, middle=(0.0, 9.0)):
    """The plane as an installer gives it, from a square of 2 m around a point of the street."""
    points = camera.see(np.column_stack([corners(2, 2, middle), np.zeros(4)]))
    return Plane.from_rectangle([(x, y) for x, y in points.tolist()], 2, 2)


def region(camera, size_m, middle, turn=0.0):
    """Box and share of the picture of an upright box, or None where it is not seen whole."""
    width_m, depth_m, height_m = size_m
    base = corners(width_m, depth_m, middle, turn)
    points = camera.see(np.concatenate([np.column_stack([base, np.full(4, z)]) for z in (0, height_m)]))
    if not ((points >= 0) & (points <= 1)).all():
        return None
    hull = cv2.convexHull(np.round(points * (WIDTH, HEIGHT) * 16 - 8).astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros((HEIGHT, WIDTH), np.uint8), hull, 1, shift=4)
    x, y, w, h = cv2.boundingRect(mask)
    return (x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT), float(mask.mean())


def test_flat_things_of_the_usual_shape_have_their_area():
    camera, middle = Pinhole(height_m=4, pitch_deg=30), np.array([0.5, 7.0])
    box, area = region(camera, (2.0, 2.0 * DEPTH_SHARE, 0.0), middle)
    assert footprint_m2(box, area, plane_of(camera, middle)) == pytest.approx(2.4, rel=0.1)


@pytest.mark.parametrize("height_m", [0.4, 0.8, 1.2, 1.6])
def test_what_is_higher_takes_no_more_ground(height_m):
    camera, middle = Pinhole(height_m=4, pitch_deg=25), np.array([0.0, 8.0])
    box, area = region(camera, (1.0, DEPTH_SHARE, height_m), middle)
    plane = plane_of(camera, middle)
    assert footprint_m2(box, area, plane) == pytest.approx(DEPTH_SHARE, rel=0.25)


def test_a_thing_that_reaches_above_the_horizon_stands_on_the_ground():
    camera, middle = Pinhole(height_m=2.5, pitch_deg=10), np.array([0.0, 12.0])
    box, area = region(camera, (2.0, 1.2, 2.8), middle)
    plane = plane_of(camera)
    assert not plane.on_ground(np.array([box[:2]]))[0]
    assert footprint_m2(box, area, plane) == pytest.approx(2.4, rel=0.35)


def test_what_hangs_above_the_horizon_has_no_footprint():
    plane = plane_of(Pinhole(height_m=4, pitch_deg=15))
    assert footprint_m2((0.4, 0.0, 0.1, 0.02), 0.001, plane) is None


def test_footprints_of_street_goods_are_right_within_a_factor_of_two():
    """Random cameras, places and directions; the figures in the docstring of `footprint_m2`."""
    rng = np.random.default_rng(3)
    ratios = []
    while len(ratios) < 400:
        camera = Pinhole(rng.uniform(3, 6), rng.uniform(15, 50), rng.uniform(-3, 3), rng.uniform(0.6, 1.1))
        middle = camera.ground_at(rng.uniform(0.15, 0.85), rng.uniform(0.35, 0.85))
        size_m = list(GOODS.values())[len(ratios) % len(GOODS)]
        if middle is None or not 4 < np.hypot(*middle) < 20:
            continue
        seen = region(camera, size_m, middle, rng.uniform(0, 2 * np.pi))
        try:
            plane = plane_of(camera, camera.ground_at(0.5, 0.7))
        except PlaneError:
            continue  # its square is not wholly in the picture
        if seen is not None:
            ratios.append(footprint_m2(*seen, plane) / (size_m[0] * size_m[1]))
    doublings = np.log2(ratios)
    print(f"median {2 ** np.median(doublings):.2f}, 10 % {2 ** np.quantile(doublings, 0.1):.2f}, ", end="")
    print(f"90 % {2 ** np.quantile(doublings, 0.9):.2f}, within 2 {(np.abs(doublings) <= 1).mean():.2f}")
    assert 0.85 < 2 ** np.median(doublings) < 1.2
    assert (np.abs(doublings) <= 1).mean() >= 0.82
