"""How people are counted is chosen from their size, their number and the budget."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.camera.frame import Frame
from agent.vision.counting import HOLD_S, PROBE_S, PeopleCounter, Place
from agent.vision.crowds import Density
from agent.vision.detector import Detections
from agent.vision.people import SATURATION
from protocol.plane import Plane
from tests.eyes import NAMES, BrightEye

WHOLE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
SIZE = (1280, 720)


def street(people, time_s=0.0):
    """A frame with bright people: x, y, height, in pixels of SIZE."""
    luma = np.full((SIZE[1] * 3 // 2, SIZE[0]), 16, np.uint8)
    luma[SIZE[1] :] = 128
    for x, y, height in people:
        luma[y : y + height, x : x + height // 3] = 235
    return Frame(time_s, True, luma)


@dataclass
class Heads:
    """Says a number of heads, spread evenly over the picture."""

    count: float
    looks: int = 0

    def fit(self, _width, _height):
        return 64, 48

    def look(self, _rgb):
        self.looks += 1
        return Density(np.full((6, 8), self.count / 48, np.float32))


class Turns:
    """A clock that moves on by `look_s` between the two readings of a look."""

    def __init__(self, look_s):
        self.look_s, self.readings = look_s, 0

    def __call__(self):
        self.readings += 1
        return self.readings // 2 * self.look_s


def counter(*places, budget_ms=400.0, crowd=None, plane=None, look_s=0.05):
    return PeopleCounter(places or (Place("square", WHOLE),), budget_ms, crowd, plane, Turns(look_s))


def count(people_counter, frame, eye):
    found = eye.detect(frame.rgb(eye.fit(frame.width, frame.height)))
    return people_counter.count(frame, found, eye)


TALL = [(100 + 200 * n, 200, 260) for n in range(4)]
SMALL = [(60 + 150 * n, 300, 80) for n in range(6)]
TINY = [(60 + 150 * n, 300, 36) for n in range(6)]


@pytest.mark.parametrize(
    ("people", "way", "least_px", "said", "closer"),
    [
        (TALL, "auto", 20, 4, False),  # 130 px in the detector's input
        (SMALL, "auto", 20, 6, True),  # 40 px
        (SMALL, "auto", 60, 6, True),  # one look sees nobody
        (TALL, "tiles", 20, 4, True),
        (SMALL, "detector", 60, 0, False),
        ([], "auto", 20, 0, False),
    ],
)
def test_tiles_are_taken_where_people_are_small(people, way, least_px, said, closer):
    counting, eye = counter(Place("square", WHOLE, way)), BrightEye(least_px)
    count(counting, street(people), eye)  # the first sample looks for those too small to be seen
    counted = count(counting, street(people, 1.0), eye)
    assert counted.heads["square"].count == said
    assert (counted.tiles > 0) is closer


def test_who_is_too_small_for_one_look_is_found_in_the_end():
    """They come after the first sample has looked in tiles."""
    counting, eye = counter(), BrightEye(least_px=30)
    said = [count(counting, street(TINY if t else [], float(t)), eye).heads["square"].count for t in range(40)]
    assert said[1] == 0
    assert said[round(PROBE_S) :] == [6] * (40 - round(PROBE_S))


@pytest.mark.parametrize(("budget_ms", "looks"), [(400, 7), (200, 3), (99, 0), (1, 0)])
def test_tiles_keep_to_the_budget(budget_ms, looks):
    counting, eye = counter(Place("square", WHOLE, "tiles"), budget_ms=budget_ms), BrightEye()
    for t in range(4):
        counted = count(counting, street(TINY, float(t)), eye)
    assert counted.tiles <= looks
    assert (counted.tiles > 0) is (looks > 0)


def test_with_a_plane_sizes_are_known_before_anybody_comes():
    """A square of 20 m seen from afar: people are about 60 px high there, 30 in one look."""
    far = Plane.from_rectangle(((0.2, 0.4), (0.8, 0.4), (1.0, 0.9), (0.0, 0.9)), 20, 20)
    near = Plane.from_rectangle(((0.2, 0.4), (0.8, 0.4), (1.0, 0.9), (0.0, 0.9)), 4, 4)
    polygon = ((0.2, 0.45), (0.8, 0.45), (0.9, 0.9), (0.1, 0.9))
    assert count(counter(Place("square", polygon), plane=far), street([]), BrightEye()).tiles > 0
    assert count(counter(Place("square", polygon), plane=near), street([]), BrightEye()).tiles == 0


def crowd_of(number):
    return [(20 + 60 * (n % 20), 100 + 150 * (n // 20), 110) for n in range(number)]


@pytest.mark.parametrize(
    ("way", "there", "full", "heads", "said", "lower_bound"),
    [
        ("auto", 4, 99, 70.0, 4, False),  # nothing is full: the counter of crowds is not asked
        ("auto", 30, 15, 70.0, 70, False),
        ("auto", 30, 99, 12.0, 30, False),  # a detector never sees too many
        ("auto", 30, 15, None, 15, True),
        ("detector", 30, 15, 70.0, 15, True),
        ("crowd", 4, 99, 2.4, 2, False),
        ("crowd", 4, 99, None, 4, False),
    ],
)
def test_a_full_detector_is_helped_by_the_counter_of_crowds(way, there, full, heads, said, lower_bound):
    crowd = None if heads is None else Heads(heads)
    counting = counter(Place("square", WHOLE, way), crowd=crowd, budget_ms=101)  # no time for tiles
    for t in range(2):
        head = count(counting, street(crowd_of(there), float(t)), BrightEye(full=full)).heads["square"]
    assert (head.count, head.lower_bound) == (said, lower_bound)


@pytest.mark.parametrize(("budget_ms", "looks"), [(60, 4), (101, 20)])
def test_where_the_counter_of_crowds_costs_too_much_it_is_asked_rarely(budget_ms, looks):
    crowd = Heads(70.0)
    counting = counter(budget_ms=budget_ms, crowd=crowd)
    said = [count(counting, street(crowd_of(30), float(t)), BrightEye(full=15)).heads["square"] for t in range(20)]
    assert {(head.count, head.lower_bound) for head in said} == {(70, False)}
    assert crowd.looks == looks


def test_a_count_does_not_jump_while_a_detector_is_now_full_and_now_not():
    crowd, said = Heads(70.0), []
    counting = counter(crowd=crowd, budget_ms=101)
    for t in range(30):
        eye = BrightEye(full=SATURATION if t % 3 == 0 else SATURATION - 3)
        said.append(count(counting, street(crowd_of(30), float(t)), eye).heads["square"].count)
    assert said == [70] * 30


def test_the_counter_of_crowds_goes_when_the_crowd_is_gone():
    """What it takes for heads on the empty street does not keep it."""
    crowd = Heads(70.0)
    counting = counter(crowd=crowd, budget_ms=101)
    count(counting, street(crowd_of(30)), BrightEye(full=15))
    said = [count(counting, street(crowd_of(2), float(t)), BrightEye()).heads["square"].count for t in range(1, 20)]
    assert said[round(HOLD_S) :] == [2] * (19 - round(HOLD_S))
    looks = crowd.looks
    count(counting, street(crowd_of(2), 30.0), BrightEye())
    assert crowd.looks == looks


def test_each_zone_gets_its_share_of_a_crowd():
    places = (Place("left", LEFT, "crowd"), Place("all", WHOLE, "crowd"))
    heads = count(counter(*places, crowd=Heads(70.0)), street([]), BrightEye()).heads
    assert (heads["left"].count, heads["all"].count) == (35, 70)


def test_heads_are_looked_for_above_the_feet():
    """A zone at the middle of the picture: the heads of those who stand in it are half a person higher than it is."""
    strip = ((0.0, 0.5), (1.0, 0.5), (1.0, 0.6), (0.0, 0.6))

    class Above(Heads):
        def look(self, _rgb):
            cells = np.zeros((72, 8), np.float32)
            # 260 px of 720 tall, feet at 0.56: heads near 0.56 - 0.93 × 0.36 = 0.22
            cells[16] = 1.0
            return Density(cells)

    people = [(100 + 200 * n, 403 - 260, 260) for n in range(5)]
    assert (
        count(counter(Place("strip", strip, "crowd"), crowd=Above(0)), street(people), BrightEye()).heads["strip"].count
        == 8
    )


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 100), st.floats(0.1, 20)), min_size=1, max_size=30))
def test_no_more_is_said_than_the_higher_of_both_and_no_less_than_the_detector(samples):
    crowd, time_s = Heads(0.0), 0.0
    counting = counter(crowd=crowd, budget_ms=101)
    for there, heads, step_s in samples:
        time_s += step_s
        crowd.count = heads
        boxes = np.array([(0.024 * n, 0.3, 0.02, 0.3) for n in range(there)], np.float32).reshape(-1, 4)
        found = Detections(boxes, np.full(there, 0.8, np.float32), np.zeros(there, np.int64), NAMES)
        frame = Frame(time_s, True, np.full((54, 64), 16, np.uint8))
        head = counting.count(frame, found, BrightEye()).heads["square"]
        assert there <= head.count <= max(there, round(heads))
        assert head.lower_bound is False
        assert there < SATURATION or head.count == max(there, round(heads))
