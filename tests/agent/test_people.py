"""People in the runner: counts and stays become incidents."""

import numpy as np
import pytest

from agent.vision.crowds import Density
from agent.vision.detector import Detections
from protocol.settings import Camera, FrontageZone, GatheringZone
from tests import clips, runners
from tests.boxes import WHOLE
from tests.eyes import BrightEye

RATE_HZ = 5


def zone(**more):
    polygon = tuple((x, y) for x, y in WHOLE)
    return GatheringZone(id="square", kind="gathering", polygon=polygon, **{"max_people": 99, **more})


def watch(people, length_s, *, crowd=None, eye=None, sample_s=1 / RATE_HZ, **more):
    """Run the pipeline over people `(x, y)` at a time; gives messages and the runner."""
    said = []
    camera = Camera(id="cam-1", source="staged", sample_s=sample_s, zone=(zone(**more),))
    runner = runners.runner(camera, said.append, detector=eye or BrightEye())
    runner._people.crowd = crowd
    ground = (clips.pavement() * 0.5).astype(np.uint8)
    for n in range(round(length_s / sample_s)):
        t = n * sample_s
        picture = ground.copy()
        for x, y in people(t):
            picture[y : y + 120, x : x + 40] = 250
        runner.look(runners.frame(picture, t))
    return said, runner


def kinds(said):
    return [(event.data.rule, event.type.rsplit(".", 1)[-1]) for event in said]


def test_who_stays_too_long_is_loitering_and_who_passes_is_not():
    def people(t):
        walker = round(t * 160) % 1300 - 100  # crosses in 4 s
        return [(400, 150)] * (4 <= t < 16) + [(walker, 220)] * (0 <= walker < 600)

    said, _ = watch(people, 36, loiter_s=6.0, clear_s=2.0)
    assert kinds(said) == [("loitering", "opened"), ("loitering", "cleared")]
    opened, cleared = (event.data for event in said)
    start_s = opened.opened_at.timestamp() - runners.EPOCH_S
    assert start_s == pytest.approx(4, abs=0.5)
    assert opened.at.timestamp() - runners.EPOCH_S == pytest.approx(10.2, abs=0.6)
    assert opened.dwell_limit_s == 6.0
    assert cleared.cleared_at.timestamp() - runners.EPOCH_S == pytest.approx(16, abs=1.5)


def test_without_a_limit_of_stay_nobody_is_followed():
    said, runner = watch(lambda _: [(400, 150)], 4)
    assert said == []
    assert runner._tracked is None


def test_the_last_tracks_are_in_picture_coordinates():
    _, runner = watch(lambda _: [(400, 150)], 2, loiter_s=60.0)
    assert runner._tracked.ids.tolist() == [1]
    assert runner._tracked.boxes[0] == pytest.approx([400 / 640, 150 / 360, 40 / 640, 120 / 360], abs=0.01)


class Crowd:
    def fit(self, _width, _height):
        return 64, 48

    def look(self, _rgb):
        return Density(np.full((6, 8), 80 / 48, np.float32))


@pytest.mark.parametrize(("crowd", "count", "lower_bound"), [(Crowd(), 80, False), (None, 12, True)])
def test_a_crowd_beyond_the_detector_is_counted_otherwise(crowd, count, lower_bound):
    """Twelve are found of many: the counter of crowds says how many; without one it is at least twelve."""
    many = [(10 + 50 * n, 60) for n in range(12)]
    said, _ = watch(lambda _: many, 8, crowd=crowd, sample_s=1.0, max_people=10, dwell_s=3.0)
    assert kinds(said)[0] == ("crowding", "opened")
    assert (said[0].data.people.count, said[0].data.people.lower_bound) == (count, lower_bound)


class OnTheCrate:
    """A detector that takes the crate for a person, and knows so many classes."""

    def __init__(self, classes):
        self.names = {0: "person", 1: "bicycle"} if classes > 1 else {0: "person"}

    input_size = (640, 360)

    def resized(self, _width, _height):
        return None

    def fit(self, width, height):
        return width, height

    def detect(self, rgb):
        assert rgb.ndim == 3
        box = np.array([clips.CRATE], np.float32)
        return Detections(box, np.array([0.9], np.float32), np.array([0]), self.names)


@pytest.mark.parametrize(("classes", "opened"), [(1, 1), (2, 0)])
def test_one_that_knows_people_only_takes_nothing_out_of_the_still_scene(classes, opened):
    polygon = tuple((x, y) for x, y in WHOLE)
    front = FrontageZone(id="front", kind="frontage", polygon=polygon, dwell_s=10.0)
    said = []
    camera = Camera(id="cam-1", source="staged", sample_s=1.0, zone=(front,))
    runner = runners.runner(camera, said.append, detector=OnTheCrate(classes))
    for t in np.arange(0.0, clips.APPEARS_S + 20, 1.0):
        runner.look(runners.frame(clips.street_frame(float(t)), float(t)))
    assert len({event.data.incident for event in said}) == opened
