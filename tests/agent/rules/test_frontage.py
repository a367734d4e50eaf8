"""What stands in front of a shop for too long."""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from agent.rules.frontage import active_throughout, breaches
from agent.vision.places import PlaceState, StillView, box_mask
from protocol.hours import parse_hours
from protocol.settings import FrontageZone
from tests.boxes import WHOLE

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


def standing(box=(0.4, 0.4, 0.2, 0.2)):
    """A view in which something has stood still for a minute."""
    shape = (90, 160)
    thing = box_mask(box, shape)
    picture = np.where(thing, 200, 90).astype(np.uint8)
    age_s = np.where(thing, 940.0, 0.0)
    return StillView(
        1000.0,
        sure=np.ones(shape, np.bool_),
        clear=~thing,
        held=thing,
        seen=thing,
        since_s=age_s,
        clear_since_s=np.zeros(shape),
        calm=np.ones(shape, np.float32),
        peopled=np.zeros(shape, np.float32),
        still=picture,
        disturbed=False,
    )


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        (None, "object"),
        ("chair", "object"),
        ("bicycle", "parked_bike"),
        ("motorcycle", "parked_bike"),
        ("car", "parked_vehicle"),
        ("bus", "parked_vehicle"),
        ("person", None),  # a person who stands is no encroachment
    ],
)
def test_what_stands_is_told_by_its_kind(label, kind):
    zone = FrontageZone(id="front", kind="frontage", polygon=WHOLE, dwell_s=30)
    view = standing()
    found = breaches(zone, np.ones(view.sure.shape, np.bool_), view, lambda _: (label, None))
    assert [breach.items[0].kind for breach in found] == ([] if kind is None else [kind])


@pytest.mark.parametrize(("share", "count"), [(0.0, 1), (0.2, 1), (0.6, 0)])
def test_a_look_on_which_a_person_is_found_time_and_again_is_a_person(share, count):
    zone = FrontageZone(id="front", kind="frontage", polygon=WHOLE, dwell_s=30)
    view = standing()
    view = replace(view, peopled=np.full(view.sure.shape, share, np.float32))
    raster = np.ones(view.sure.shape, np.bool_)
    assert len(breaches(zone, raster, view, lambda _: (None, None))) == count
    state = view.place(raster, (0.4, 0.4, 0.2, 0.2), zone.min_area)[0]
    assert state is (PlaceState.OCCUPIED if count else PlaceState.NOT_SEEN)
