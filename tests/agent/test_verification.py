"""Looking now: what a runner says of places when it is asked."""

import cv2
import numpy as np
import pytest

from protocol.settings import Camera, FrontageZone, GatheringZone
from tests import clips, runners
from tests.boxes import WHOLE
from tests.eyes import BrightEye

POLYGON = tuple((x, y) for x, y in WHOLE)
FRONT = FrontageZone(id="front", kind="frontage", polygon=POLYGON, dwell_s=3.0, clear_s=2.0)
SQUARE = GatheringZone(id="square", kind="gathering", polygon=POLYGON, max_people=2)
PERSON = (40, 120)
GROUND = (clips.pavement() * 0.5).astype(np.uint8)
NOISE = [np.random.default_rng(seed).normal(0, 2, GROUND.shape) for seed in range(7)]


def shown(t, *things):
    """The street with things, dark ones and bright people, at `(thing, x, y)`."""
    picture = GROUND.copy()
    for thing, x, y in things:
        clips.put(picture, thing, x, y)
    return runners.frame(np.clip(picture + NOISE[round(t * 2) % 7], 0, 255).astype(np.uint8), t)


def crate():
    return (clips.crate() * 0.6).astype(np.uint8), 320, 180


def person(x, y=60):
    return np.full((240, 100, 3), 250, np.uint8), x, y


def watch(zone, frames, detector=None):
    said = []
    runner = runners.runner(Camera(id="cam-1", source="x", zone=(zone,)), said.append, detector=detector, learn_s=5.0)
    for frame in frames:
        runner.look(frame)
    return runner, frame, said


def times(length_s, from_s=0.0):
    return [from_s + n / 2 for n in range(round(length_s * 2))]


def test_a_zone_in_which_nothing_stands_is_clear():
    runner, frame, _ = watch(FRONT, [shown(t) for t in times(12)])
    (place,) = runner.verify(frame, FRONT)
    assert (place.state, place.place, place.incident) == ("clear", (0.0, 0.0, 1.0, 1.0), None)


def test_while_the_place_is_learned_nobody_knows():
    runner, frame, _ = watch(FRONT, [shown(t) for t in times(2)])
    assert [place.state for place in runner.verify(frame, FRONT)] == ["not_seen"]


def test_an_incidents_place_is_occupied_then_clear():
    frames = [shown(t) for t in times(10)] + [shown(t, crate()) for t in times(15, 10)]
    runner, frame, said = watch(FRONT, frames)
    incident = said[-1].data.incident
    (place,) = runner.verify(frame, FRONT)
    assert (place.state, place.incident) == ("occupied", incident)
    (record,) = runner._lives["front"].open_records
    for t in times(6, 25):
        frame = shown(t)
        runner.look(frame)
    assert [place.state for place in runner.verify(frame, FRONT, record)] == ["clear"]


def test_who_has_just_come_to_stand_before_it_hides_it():
    frames = [shown(t) for t in times(10)] + [shown(t, crate()) for t in times(15, 10)]
    runner, _, _ = watch(FRONT, frames, BrightEye())
    (record,) = runner._lives["front"].open_records
    for t in times(6, 25):
        runner.look(shown(t))
    frame = shown(31.1, person(310, 100))
    runner.look(frame)
    assert [place.state for place in runner.verify(frame, FRONT, record)] == ["not_seen"]


@pytest.mark.parametrize(
    ("people", "expected"), [([], ("clear", 0)), ([20, 420], ("clear", 2)), ([20, 220, 420], ("occupied", 3))]
)
def test_people_are_counted_now(people, expected):
    frames = [shown(t) for t in times(4)]
    runner, _, _ = watch(SQUARE, frames, BrightEye())
    frame = shown(4.0, *(person(x) for x in people))
    runner.look(frame)
    (place,) = runner.verify(frame, SQUARE)
    assert (place.state, place.count) == expected


def test_without_a_detector_nobody_counts():
    runner, frame, _ = watch(SQUARE, [shown(t) for t in times(2)])
    (place,) = runner.verify(frame, SQUARE)
    assert (place.state, place.count) == ("not_seen", None)


def test_a_snapshot_is_masked_whatever_it_shows():
    runner, frame, _ = watch(FRONT, [shown(t, person(310)) for t in times(2)])
    (picture,) = runner.pictures(frame, "snapshot")
    assert picture.evidence.masked
    assert (picture.evidence.role, picture.evidence.view) == ("snapshot", "wide")
    seen = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
    # no face model: blocks, which are alike inside
    assert np.abs(np.diff(seen[:, :15].astype(int), axis=1)).mean() < 2
    wide, close = runner.pictures(frame, "verify", (0.4, 0.4, 0.2, 0.2), keep=True)
    assert (wide.evidence.view, close.evidence.view) == ("wide", "close")
