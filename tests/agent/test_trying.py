"""Zones tried on the hour of samples: what they would have reported, within limits of time, telling nobody."""

from zoneinfo import ZoneInfo

import pytest

from agent.evidence.masking import Masker
from agent.evidence.samples import Samples
from agent.trying import try_out
from protocol.commands import read_arguments
from protocol.geometry import box_iou
from protocol.settings import Camera
from tests import clips
from tests.agent.evidence.test_evidence import NOBODY
from tests.boxes import WHOLE
from tests.runners import EPOCH_S, frame

HERE = [[0.4, 0.4], [0.8, 0.4], [0.8, 0.8], [0.4, 0.8]]
BESIDE = [[0.02, 0.4], [0.3, 0.4], [0.3, 0.8], [0.02, 0.8]]
PLANE = {"points": [[0.3, 0.9], [0.7, 0.9], [0.7, 0.4], [0.3, 0.4]], "width_m": 4, "depth_m": 4}
CAMERA = Camera(id="cam-1", source="x", zone=({"id": "old", "kind": "frontage", "polygon": BESIDE},))


@pytest.fixture(scope="module")
def hour():
    """Samples of a street in which a crate stands from 200 to 680 s."""
    kept = Samples(Masker(None))
    for t in range(0, 800, 10):
        picture = clips.street_frame(t % 12)
        if 200 <= t < 680:
            x, y, _, _ = clips.CRATE
            clips.put(picture, clips.crate(), round(x * clips.WIDTH), round(y * clips.HEIGHT))
        kept.add(frame(picture, float(t)), NOBODY)
    return list(kept)


def tried(hour, *zones, **more):
    drawn = {key: more.pop(key) for key in ("plane", "mask") if key in more}
    args = read_arguments("try", {"camera": "cam-1", "zone": list(zones), **drawn})
    return try_out(hour, CAMERA, args, ZoneInfo("UTC"), "c-1", rest=lambda _: None, **more)


def zone(name, polygon=HERE, **more):
    return {"id": name, "kind": "frontage", "polygon": polygon, "dwell_s": 120, "clear_s": 60, **more}


def test_each_zone_says_what_it_would_have_reported_and_when(hour):
    found = tried(
        hour,
        zone("here"), zone("beside", BESIDE), zone("patient", dwell_s=600), zone("quick", dwell_s=20),
        zone("large", min_area_m2=20), plane=PLANE,
    )  # fmt: skip
    assert (len(found.samples), found.whole, found.untried) == (80, True, ("quick",))
    assert set(found.learned) == {"here", "beside", "patient", "large"}
    (one,) = found.incidents
    x, y, w, h = clips.CRATE
    assert (one.zone, one.rule) == ("here", "encroachment")
    assert box_iou(one.place, (x, y, w, h)) > 0.4
    assert 200 <= one.opened_at.timestamp() - EPOCH_S <= 240
    assert 310 <= one.reported_at.timestamp() - EPOCH_S <= 400
    assert 660 <= one.cleared_at.timestamp() - EPOCH_S <= 740
    assert one.area_m2 == pytest.approx(1.8, abs=1.0)
    # its picture is the sample of that moment, as it was kept
    (picture,) = found.pictures
    assert (one.picture, picture.header.view, picture.header.command) == ("first", "first", "c-1")
    assert picture.jpeg in [sample.jpeg for sample in hour]


def test_what_is_masked_is_not_reported(hour):
    assert tried(hour, zone("here"), mask=[{"polygon": HERE}]).incidents == []


def test_too_many_people_are_those_whom_the_detector_saw(hour):
    crowd = {"id": "place", "kind": "gathering", "polygon": WHOLE, "max_people": 2, "dwell_s": 60}
    people = [[0.2, 0.3, 0.05, 0.2], [0.5, 0.3, 0.05, 0.2], [0.7, 0.3, 0.05, 0.2]]
    samples = [type(one)(one.time_s, one.jpeg, one.persons.__class__((3, 4), one.persons.dtype)) for one in hour]
    for number, one in enumerate(samples):
        one.persons[:] = people
        if not 20 <= number < 50:
            samples[number] = type(one)(one.time_s, one.jpeg, one.persons[:1])
    found = tried(samples, crowd)
    (one,) = found.incidents
    assert (one.zone, one.people) == ("place", 3)
    assert 240 <= one.reported_at.timestamp() - EPOCH_S <= 320


def test_it_ends_when_its_time_is_over_and_says_so(hour):
    seconds = iter(range(1000))
    found = tried(hour, zone("here"), limit_s=20, monotonic=lambda: float(next(seconds)))
    assert not found.whole
    assert len(found.samples) == 20


def test_a_drawing_that_the_camera_cannot_have_is_refused(hour):
    with pytest.raises(ValueError, match="min_area_m2"):
        tried(hour, zone("here", min_area_m2=1))


def test_without_samples_there_is_nothing_to_say():
    found = tried([], zone("here"))
    assert (found.samples, found.incidents, found.learned) == ([], [], ())
