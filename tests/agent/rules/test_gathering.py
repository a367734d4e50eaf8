import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rules.gathering import OVER, WITHIN, Gathering, fruin_level
from protocol.plane import Plane
from protocol.settings import GatheringZone

SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
TEN_M2 = Plane.from_rectangle(SQUARE, 5, 2)
"""Seen straight from above: the picture is 10 m² of ground."""
TILTED = Plane.from_rectangle(((0.3, 0.5), (0.6, 0.5), (0.8, 0.9), (0.1, 0.9)), 4, 6)
"""Its horizon lies at 0.2."""


def gathering(max_people=4, dwell_s=3, plane=None, **limits):
    zone = GatheringZone(
        id="z", kind="gathering", polygon=SQUARE, max_people=max_people, dwell_s=dwell_s, clear_s=0, **limits
    )
    return Gathering(zone, plane)


def feed(crowd, counts, start_s=0):
    """One count a second; gives the seconds with a breach."""
    seconds = []
    for at_s, people in enumerate(counts, start_s):
        crowd.count(at_s, people, lower_bound=False)
        if crowd.breaches(at_s):
            seconds.append(at_s)
    return seconds


@pytest.mark.parametrize(
    ("counts", "seconds"),
    [
        ([4] * 10, []),  # the limit itself is allowed
        ([5] * 6, [3, 4, 5]),  # over it since second 0
        ([0, 0, 0, 9, 0, 0, 0], []),  # one wrong count
        ([5, 5, 4, 5, 4, 5, 5], [3, 4, 5, 6]),  # flicker around the limit is one crowd
        ([5, 5, 3, 3, 3, 5, 5, 5, 5, 5], [8, 9]),  # down to the lower limit: the time starts again
    ],
)
def test_a_crowd_needs_its_level_and_its_time(counts, seconds):
    assert feed(gathering(), counts) == seconds


def test_it_is_over_only_below_the_lower_limit():
    crowd = gathering(max_people=10)
    assert crowd.sighting().state == "not_seen"
    feed(crowd, [12] * 6)
    assert crowd.sighting().state == "occupied"
    feed(crowd, [10] * 6, 6)
    assert crowd.sighting().state == "occupied"
    feed(crowd, [9] * 6, 12)
    assert crowd.sighting().state == "clear"
    assert crowd.sighting().clear_since_s == 13  # the second of three counts made the median fall
    feed(crowd, [10] * 6, 18)
    assert crowd.sighting().state == "clear"  # hysteresis in this direction too


def test_a_saturated_count_never_clears():
    crowd = gathering(max_people=20)
    feed(crowd, [25] * 5)
    for at_s in range(5, 10):
        crowd.count(at_s, 14, lower_bound=True)
    assert crowd.sighting().state == "occupied"
    assert crowd.people.lower_bound


def test_the_message_has_count_and_level():
    crowd = gathering()
    feed(crowd, [7, 7, 8])
    assert (crowd.people.count, crowd.people.level) == (7, OVER)
    assert crowd.people.over


def test_where_the_plane_is_known_the_message_has_density_and_fruins_level():
    crowd = gathering(max_people=30, plane=TEN_M2)
    feed(crowd, [20, 20, 20])
    assert (crowd.people.density, crowd.people.level, crowd.people.over) == (2.0, "D", False)
    feed(crowd, [40, 40, 40], 3)
    assert (crowd.people.density, crowd.people.level, crowd.people.over) == (4.0, "E", True)


def test_a_zone_above_the_horizon_has_a_count_but_no_density():
    crowd = gathering(plane=TILTED)
    feed(crowd, [7, 7, 7])
    assert (crowd.people.density, crowd.people.level) == (None, OVER)


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"max_people": 4}, 4),
        ({"max_people": None, "max_density": 0.5}, 5),  # 0.5 people per m² on 10 m²
        ({"max_people": None, "max_density": 0.49}, 4),
        ({"max_people": 7, "max_density": 0.5}, 5),  # the stricter of both
        ({"max_people": 3, "max_density": 0.5}, 3),
        ({"max_people": None, "max_density": 0.05}, 0),  # nobody may stand there
    ],
)
def test_the_limit_is_a_head_count_or_a_density(limits, most):
    crowd = gathering(**limits, plane=TEN_M2)
    assert feed(crowd, [most] * 6) == []
    assert feed(crowd, [most + 1] * 6, 6) == [9, 10, 11]
    feed(crowd, [0] * 3, 12)
    assert crowd.sighting().state == "clear"


def test_a_saturated_count_opens_nothing_and_forgets_nothing():
    crowd = gathering(max_people=20, dwell_s=3)
    for at_s, (people, saturated) in enumerate([(22, False)] * 2 + [(14, True)] * 6):
        crowd.count(at_s, people, lower_bound=saturated)
        assert crowd.breaches(at_s) == []
    assert crowd.people.over
    # it was never seen to go: the dwell has run on
    assert feed(crowd, [23, 23, 23], 8) == [9, 10]


# areas per person around Fruin's boundaries for people who stand: 13, 10, 7, 3 and 2 square feet
@pytest.mark.parametrize(
    ("density", "level"),
    [
        *((0, "A"), (0.82, "A"), (0.84, "B"), (1.07, "B"), (1.09, "C"), (1.53, "C"), (1.55, "D"), (3.5, "D")),
        *((3.6, "E"), (5.3, "E"), (5.4, "F"), (9, "F")),
    ],
)
def test_a_density_has_a_level(density, level):
    assert fruin_level(density) == level


@pytest.mark.parametrize(
    ("before", "density", "level"),
    [
        ("B", 1.09, "C"),  # up at once
        ("C", 1.05, "C"),  # a little below the boundary of 1.076: still the same
        ("C", 0.95, "B"),
        ("F", 1.05, "C"),  # down by several: the last boundary keeps its margin
        ("F", 0.1, "A"),
        ("A", 9, "F"),
    ],
)
def test_a_level_falls_with_a_margin(before, density, level):
    assert fruin_level(density, before) == level


@given(st.sampled_from("ABCDEF"), st.floats(0, 10), st.floats(-0.04, 0.04))
def test_a_level_does_not_flicker(before, density, wavering):
    """A density that wavers by 4 % shifts the level once at most."""
    first = fruin_level(density, before)
    second = fruin_level(density * (1 + wavering), first)
    assert fruin_level(density, second) == second


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 20),
    st.integers(1, 5),
)
def test_whatever_is_counted_the_states_follow_their_rules(counts, limit, dwell_s):
    crowd = gathering(max_people=limit, dwell_s=dwell_s)
    release = min(limit - 1, int(0.9 * limit))
    over_before, exceeded_since_s = False, None
    for at_s, (people, saturated) in enumerate(counts):
        crowd.count(at_s, people, lower_bound=saturated)
        now = crowd.people
        # over begins above the limit only, and ends at the lower limit only, and only where all are counted
        if now.over and not over_before:
            assert now.count > limit
        if over_before and not now.over:
            assert now.count <= release
            assert not now.lower_bound
        assert now.level == (OVER if now.over else WITHIN)
        if not now.over:
            exceeded_since_s = None
        elif exceeded_since_s is None:
            exceeded_since_s = at_s
        sighting, breaches = crowd.sighting(), crowd.breaches(at_s)
        if breaches:
            assert now.over
            assert now.count > release
            assert at_s - breaches[0].since_s >= dwell_s
            # the median lags behind by one sample
            assert exceeded_since_s - 2 <= breaches[0].since_s <= exceeded_since_s
            assert sighting.state == "occupied"
        if sighting.state == "clear":
            assert not now.over
            assert not now.lower_bound
        over_before = now.over
