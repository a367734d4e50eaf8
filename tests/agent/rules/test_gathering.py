import pytest

from agent.rules.gathering import OVER, Gathering
from protocol.settings import GatheringZone

SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))


def gathering(max_people=4, dwell_s=3):
    return Gathering(GatheringZone(id="z", kind="gathering", polygon=SQUARE, max_people=max_people, dwell_s=dwell_s))


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
