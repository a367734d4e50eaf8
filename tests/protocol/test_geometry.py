import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.geometry import box_iou, box_union, contains, polygon_area, polygon_bounds, polygon_fault

SQUARE = ((0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8))


@pytest.mark.parametrize(
    ("polygon", "fault"),
    [
        (SQUARE, None),
        (((0, 0), (1, 0), (1, 1)), None),  # the edges of the picture belong to it
        (((0.1, 0.1), (0.9, 0.9)), "at least 3 corners, got 2"),
        ((), "at least 3 corners, got 0"),
        (((0, 0), (1.2, 0), (1, 1)), "between 0 and 1"),
        (((0, 0), (1, -0.01), (1, 1)), "between 0 and 1"),
        (((0, 0), (float("nan"), 0), (1, 1)), "between 0 and 1"),
        (((0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)), "cross each other"),  # a bow tie
        (((0.1, 0.1), (0.5, 0.1), (0.9, 0.1)), "no area"),  # all on one line
        (((0.1, 0.1), (0.5, 0.5), (0.1, 0.1)), "same point"),
        # a side that touches another one's corner
        (((0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)), "cross each other"),
        (tuple((0.5 + 0.4 * np.cos(a), 0.5 + 0.4 * np.sin(a)) for a in np.linspace(0, 6.2, 65)), "at most 64"),
    ],
)
def test_a_polygon_is_sound_or_its_fault_is_named(polygon, fault):
    found = polygon_fault(polygon)
    assert (found is None) if fault is None else (fault in found)


@pytest.mark.parametrize(
    ("point", "inside"),
    [
        ((0.5, 0.5), True),
        ((0.1, 0.5), False),
        ((0.2, 0.2), True),  # left and top edges count
        ((0.8, 0.8), False),  # right and bottom ones do not, so that neighbours share no point
        ((0.2, 0.5), True),
        ((0.8, 0.5), False),
    ],
)
def test_a_point_is_in_a_square(point, inside):
    assert contains(SQUARE, np.array([point]))[0] == inside


def test_a_notch_is_outside():
    notched = ((0, 0), (1, 0), (1, 1), (0.5, 0.3), (0, 1))
    assert contains(notched, np.array([[0.5, 0.8], [0.5, 0.2], [0.1, 0.5]])).tolist() == [False, True, True]


def test_no_points_give_no_answers():
    assert contains(SQUARE, np.zeros((0, 2))).shape == (0,)


shares = st.floats(0, 0.5)
boxes = st.tuples(shares, shares, shares, shares)


@given(boxes, boxes)
def test_iou_is_symmetric_and_between_0_and_1(a, b):
    assert box_iou(a, b) == pytest.approx(box_iou(b, a))
    assert 0 <= box_iou(a, b) <= 1


@given(st.lists(boxes, min_size=1, max_size=5))
def test_a_union_covers_its_boxes(some):
    x, y, w, h = box_union(some)
    for bx, by, bw, bh in some:
        assert x <= bx
        assert y <= by
        assert x + w >= bx + bw - 1e-9
        assert y + h >= by + bh - 1e-9


def test_area_and_bounds_of_a_polygon():
    assert polygon_area(SQUARE) == pytest.approx(0.36)
    assert polygon_bounds(SQUARE) == pytest.approx((0.2, 0.2, 0.6, 0.6))
