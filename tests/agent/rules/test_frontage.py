from datetime import datetime, timedelta

import pytest

from agent.rules.frontage import active_throughout, name_from
from protocol.hours import parse_hours

DAY = [parse_hours("06:00-22:00")]


@pytest.mark.parametrize(
    ("clock", "dwell_s", "active"),
    [
        ("06:02:59", 180, False),  # what stood there at night is counted from six
        ("06:03:01", 180, True),
        ("21:59:00", 180, True),
        ("22:00:00", 180, False),
        ("06:00:10", 10, True),
    ],
)
def test_the_dwell_counts_within_the_hours(clock, dwell_s, active):
    local = datetime.fromisoformat(f"2026-11-23T{clock}")
    assert active_throughout(DAY, local, dwell_s) is active
    assert active_throughout([], local + timedelta(hours=12), dwell_s)


def test_an_item_takes_the_name_of_the_detection_over_it():
    here, there = (0.1, 0.1, 0.2, 0.2), (0.6, 0.6, 0.1, 0.1)
    name = name_from([here, here, there], ["chair", "person", "bicycle"], [0.6, 0.9, 0.7])
    assert name((0.1, 0.1, 0.2, 0.18)) == ("chair", 0.6)
    assert name((0.4, 0.4, 0.1, 0.1)) == (None, None)
