import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from protocol.plane import FARTHEST, Plane, PlaneError, rectangle_fault
from tests.pinhole import Pinhole

TRAPEZE = ((0.3, 0.5), (0.6, 0.5), (0.8, 0.9), (0.1, 0.9))

cameras = st.builds(
    Pinhole,
    height_m=st.floats(2.5, 8),
    pitch_deg=st.floats(10, 80),
    roll_deg=st.floats(-10, 10),
    focal=st.floats(0.5, 1.5),
    aspect=st.floats(1, 2),
)


@st.composite
def views(draw):
    """A camera, and a plane made from a rectangle in its picture: place and direction as they come, sides as they fit.

    What does not fit is made smaller and not thrown away: hypothesis gives up where it must throw away too much.
    """
    camera = draw(cameras)
    width_m, depth_m = draw(st.floats(1, 12)), draw(st.floats(1, 12))
    turn, back = draw(st.floats(0, 2 * np.pi)), draw(st.booleans())
    x, y = draw(st.floats(0.3, 0.7)), draw(st.floats(0.4, 0.7))
    while (middle := camera.ground_at(x, y)) is None:
        y = (y + 1) / 2
    spin = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    for _ in range(10):
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2 * (width_m, depth_m)
        corners = (corners @ spin + middle)[:: -1 if back else 1]
        points = camera.see(np.column_stack([corners, np.zeros(4)]))
        clicks = [(x, y) for x, y in points.tolist()]
        if rectangle_fault(clicks) is None:
            return camera, Plane.from_rectangle(clicks, width_m, depth_m)
        width_m, depth_m = width_m / 2, depth_m / 2
    return reject()


@given(views(), st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=8))
def test_lengths_on_the_ground_are_those_of_the_street(view, picture):
    """Whatever the camera: the plane says of two picture points how far apart they are on the street."""
    camera, plane = view
    points = np.array(picture)
    street = [camera.ground_at(x, y) for x, y in picture]
    ground = plane.to_ground(points)
    for n in range(1, len(points)):
        if np.isnan(ground[[n - 1, n]]).any():
            continue
        assert street[n] is not None  # what the plane calls ground lies below the camera's own horizon
        assert street[n - 1] is not None
        real = np.hypot(*(street[n] - street[n - 1]))
        assert plane.distance_m(picture[n - 1], picture[n]) == pytest.approx(real, rel=1e-4, abs=1e-4)


def on_ground(plane, point):
    """A point, or where the way to it from the rectangle's first corner leaves the ground."""
    corner = plane.to_picture(np.zeros((1, 2)))
    (here, there) = np.column_stack([np.vstack([corner, point]), np.ones(2)]) @ plane.homography[2]
    if there > 1 / FARTHEST:
        return point
    return corner + 0.99 * (here - 1 / FARTHEST) / (here - there) * (point - corner)


@given(views(), st.floats(0, 1), st.floats(0, 1))
def test_there_and_back_again(view, x, y):
    plane = view[1]
    point = on_ground(plane, np.array([[x, y]]))
    assert plane.to_picture(plane.to_ground(point)) == pytest.approx(point, abs=1e-6)


@given(views(), st.floats(0.5, 3), st.floats(0.5, 3), st.floats(0, 2 * np.pi))
def test_a_known_rectangle_has_its_area(view, width_m, depth_m, turn):
    camera, plane = view
    middle = camera.ground_at(0.5, 0.6)
    assume(middle is not None)
    spin = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) / 2 * (width_m, depth_m) @ spin + middle
    points = camera.see(np.column_stack([corners, np.zeros(4)]))
    assume(bool(np.isfinite(points).all()) and bool(plane.on_ground(points).all()))
    assert plane.area_m2(points.tolist()) == pytest.approx(width_m * depth_m, rel=1e-4)


@given(st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.1, 10))
def test_areas_grow_with_both_sides(width_m, depth_m, factor):
    area_m2 = Plane.from_rectangle(TRAPEZE, width_m, depth_m).area_m2(TRAPEZE)
    assert area_m2 == pytest.approx(width_m * depth_m)
    assert Plane.from_rectangle(TRAPEZE, width_m * factor, depth_m).area_m2(TRAPEZE) == pytest.approx(area_m2 * factor)


def test_the_first_corner_is_the_origin_and_the_sides_are_the_axes():
    plane = Plane.from_rectangle(TRAPEZE, 4, 6)
    assert plane.to_ground(np.array(TRAPEZE)) == pytest.approx(np.array([(0, 0), (4, 0), (4, 6), (0, 6)]), abs=1e-9)
    assert plane.distance_m(TRAPEZE[0], TRAPEZE[3]) == pytest.approx(6)


def test_no_points_give_no_points():
    plane = Plane.from_rectangle(TRAPEZE, 4, 6)
    assert plane.to_ground(np.zeros((0, 2))).shape == (0, 2)
    assert plane.to_picture(np.zeros((0, 2))).shape == (0, 2)


# the sides of TRAPEZE, 0.3 wide at 0.5 and 0.7 at 0.9, meet at 0.2: the horizon; ground goes up to 0.7 / FARTHEST below
@pytest.mark.parametrize(
    ("y", "ground"),
    [
        (0.0, False),  # sky
        (0.2, False),  # the horizon itself
        (0.2 + 0.7 / FARTHEST - 0.001, False),  # the haze below it
        (0.2 + 0.7 / FARTHEST + 0.001, True),
        (0.9, True),
        (1.0, True),
        (1.3, True),  # below the picture the street goes on
    ],
)
def test_above_the_horizon_there_is_no_ground(y, ground):
    plane = Plane.from_rectangle(TRAPEZE, 4, 6)
    point = np.array([[0.4, y]])
    assert plane.on_ground(point)[0] == ground
    assert np.isfinite(plane.to_ground(point)).all() == ground
    if not ground:
        with pytest.raises(PlaneError, match=r"above the horizon"):
            plane.area_m2([(0.1, 0.9), (0.8, 0.9), (0.4, y)])


def test_behind_the_camera_there_is_no_picture():
    plane = Plane.from_rectangle(TRAPEZE, 4, 6)
    assert np.isnan(plane.to_picture(np.array([[2.0, 60.0]]))).all()
    assert np.isfinite(plane.to_picture(np.array([[2.0, -60.0]]))).all()


@pytest.mark.parametrize(
    ("points", "fault"),
    [
        (TRAPEZE, None),
        (TRAPEZE[::-1], None),  # the other way round
        (TRAPEZE[2:] + TRAPEZE[:2], None),  # from another corner
        (((0, 0), (1, 0), (1, 1), (0, 1)), None),  # straight from above
        (TRAPEZE[:3], "4 corners of a rectangle on the ground, got 3"),
        ((*TRAPEZE, (0.5, 0.95)), "got 5"),
        (((0.3, 0.5), (0.6, 0.5), (0.8, 1.2), (0.1, 0.9)), "between 0 and 1"),
        (((0.3, 0.5), (float("nan"), 0.5), (0.8, 0.9), (0.1, 0.9)), "between 0 and 1"),
        (((0.3, 0.5), (0.8, 0.9), (0.6, 0.5), (0.1, 0.9)), "cross each other; list the corners in order"),
        (((0.1, 0.5), (0.4, 0.5), (0.7, 0.5), (0.4, 0.9)), "points 1, 2 and 3 lie on one line"),
        (((0.1, 0.5), (0.4, 0.9), (0.7, 0.5), (0.4, 0.503)), "points 1, 3 and 4 lie on one line"),
        (((0.1, 0.5), (0.2, 0.5), (0.3, 0.5), (0.4, 0.5)), "lie on one line"),  # all four
        (((0.1, 0.5), (0.1, 0.5), (0.8, 0.9), (0.1, 0.9)), "too close together"),  # a double click
        (((0.1, 0.1), (0.105, 0.1), (0.105, 0.105), (0.1, 0.105)), "choose a rectangle that looks larger"),
        (((0.1, 0.1), (0.9, 0.1), (0.3, 0.3), (0.1, 0.9)), "bends inward at point 3"),
        (((0.3, 0.3), (0.1, 0.9), (0.1, 0.1), (0.9, 0.1)), "bends inward at point 1"),
        # almost a triangle: the far side is at the horizon
        (((0.493, 0.2), (0.508, 0.2), (1.0, 1.0), (0.0, 1.0)), "at the horizon"),
    ],
)
def test_points_give_a_plane_or_their_fault_is_named(points, fault):
    if fault is None:
        assert Plane.from_rectangle(points, 4, 6).area_m2(points) == pytest.approx(24)
    else:
        with pytest.raises(PlaneError, match=fault):
            Plane.from_rectangle(points, 4, 6)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=4, max_size=4))
def test_any_four_points_are_refused_or_give_their_rectangle(points):
    try:
        plane = Plane.from_rectangle(points, 3, 2)
    except PlaneError:
        return
    assert plane.area_m2(points) == pytest.approx(6, rel=1e-6)
    assert np.isfinite(plane.homography).all()
