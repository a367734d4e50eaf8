"""A short day: the same street with fewer incidents; `make sim-day` plays the whole one."""

from datetime import datetime

import pytest

from tests.sim.checks import faults, figures
from tests.sim.day import ZONE, Day


@pytest.mark.timeout(240)
def test_a_short_day_forgets_nothing_and_tells_nobody_twice(tmp_path):
    with Day(tmp_path, 60, 3, until=datetime(2026, 2, 24, 20, 0, tzinfo=ZONE)) as day:
        day.run()
        assert faults(day) == []
        found = figures(day)
    assert found["incidents"] == 60
    assert found["clock_jumps"] == 4
    assert found["states"]["closed"] > 3
