"""What several rules want of one camera."""

import pytest

from agent.camera.demand import Demand

LEFT, RIGHT, ABOVE = (0.0, 0.2, 0.25, 0.5), (0.5, 0.3, 0.25, 0.5), (0.25, -0.25, 0.25, 0.5)


@pytest.mark.parametrize(
    ("wishes", "wanted"),
    [
        ([Demand(0.1, LEFT, 30.0)], Demand(0.1, LEFT, 30.0)),
        # the rate and its time are those of the one that wants more, whoever speaks first
        ([Demand(0.1, LEFT, 30.0), Demand(5.0, RIGHT, 10.0)], Demand(5.0, (0.0, 0.2, 0.75, 0.6), 10.0)),
        ([Demand(5.0, RIGHT, 10.0), Demand(0.1, LEFT, 30.0)], Demand(5.0, (0.0, 0.2, 0.75, 0.6), 10.0)),
        # a region may reach out of the picture
        ([Demand(1.0, LEFT, 1.0), Demand(1.0, ABOVE, 2.0)], Demand(1.0, (0.0, -0.25, 0.5, 0.95), 1.0)),
        # who needs the whole gets it
        ([Demand(0.1, None, 30.0), Demand(5.0, RIGHT, 10.0)], Demand(5.0, None, 10.0)),
        ([Demand(5.0, RIGHT, 10.0), Demand(0.1, None, 30.0)], Demand(5.0, None, 10.0)),
    ],
)
def test_rates_and_regions_are_joined(wishes, wanted):
    joined = wishes[0]
    for wish in wishes[1:]:
        joined = joined.most(wish)
    assert (joined.fps, joined.until_s) == (wanted.fps, wanted.until_s)
    assert joined.region is None if wanted.region is None else joined.region == pytest.approx(wanted.region)
