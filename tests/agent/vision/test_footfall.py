"""What a box counted since it last told."""

from agent.vision.footfall import Footfall
from agent.vision.people import Headcount
from protocol.messages import ZoneCount


def test_counts_are_added_up_by_zone_until_they_are_asked_for():
    footfall = Footfall("cam-1")
    assert footfall.take() == ()
    for zone, count, full in (("a", 2, False), ("a", 5, True), ("a", 1, False), ("b", 0, False)):
        footfall.add(zone, Headcount(count, full))
    assert footfall.take() == (
        ZoneCount(camera="cam-1", zone="a", looks=3, mean=2.67, most=5, lower_bound=True),
        ZoneCount(camera="cam-1", zone="b", looks=1, mean=0, most=0),
    )
    assert footfall.take() == ()
