"""When the detector looks: where something is new, as often as the rules ask, and always before evidence leaves."""

import numpy as np
import pytest

from agent.vision.attention import Attention
from protocol.settings import Camera, FrontageZone, GatheringZone
from tests import clips, runners
from tests.boxes import WHOLE
from tests.eyes import BrightEye

POLYGON = tuple((x, y) for x, y in WHOLE)
SQUARE = GatheringZone(id="square", kind="gathering", polygon=POLYGON, dwell_s=30.0, max_people=2)
FRONT = FrontageZone(id="front", kind="frontage", polygon=POLYGON, dwell_s=10.0)


class CountingEye(BrightEye):
    """Knows how often it was asked."""

    looks = 0

    def detect(self, rgb):
        self.looks += 1
        return super().detect(rgb)


class Slow(Attention):
    """Looks take a known time, on a clock of their own."""

    def __init__(self, budget, look_s=0.04):
        self.now_s = 0.0
        super().__init__(budget, timer=lambda: self._tick(look_s))

    def _tick(self, look_s):
        # read when a look is asked for, when it begins, and when it is over
        self.reads = getattr(self, "reads", 0) + 1
        self.now_s += look_s if self.reads % 3 == 0 else 0.0
        return self.now_s


def street(people=(), seed=0):
    picture = (clips.pavement() * 0.75).astype(np.uint8)
    for x, y in people:
        picture[y : y + 120, x : x + 40] = 250
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def watch(zone, people, length_s, *, attention=None, sample_s=2.0):
    """Gives what was said, and when the detector had looked."""
    said, eye = [], CountingEye()
    camera = Camera(id="cam-1", source="staged", sample_s=sample_s, zone=(zone,))
    runner = runners.runner(camera, said.append, detector=eye)
    if attention is not None:
        runner.attention = attention
    looked = []
    for n in range(round(length_s / sample_s)):
        before = eye.looks
        runner.look(runners.frame(street(people(n * sample_s), seed=n), n * sample_s))
        if eye.looks > before:
            looked.append(n * sample_s)
    return said, looked, runner


def test_a_street_on_which_nothing_changes_is_looked_at_once_a_minute():
    _, looked, runner = watch(SQUARE, lambda _: [(100, 150)], 240)
    # the first samples are those of a count that nothing is known of yet
    assert len([t for t in looked if t >= 60]) == 3
    # and what was seen holds meanwhile
    assert runner._crowds["square"].smooth == 1


def test_a_zone_near_its_limit_is_counted_more_often():
    def walks(people):
        return lambda t: [(20 + 150 * n + round(t * 11) % 100, 150) for n in range(people)]

    _, far, _ = watch(SQUARE.model_copy(update={"max_people": 20}), walks(1), 120)
    _, near, _ = watch(SQUARE, walks(2), 120)
    assert np.diff(far)[5:].mean() == pytest.approx(4, abs=0.5)
    assert np.diff(near)[5:].mean() == pytest.approx(2, abs=0.2)


def test_a_crowd_opens_one_incident_at_a_sample_every_2_s():
    said, _, _ = watch(SQUARE, lambda t: [(60 + 120 * n + round(t * 7) % 60, 150) for n in range(4)], 60)
    assert [event.type.rsplit(".", 1)[-1] for event in said] == ["opened"]
    data = said[0].data
    assert data.at.timestamp() - data.opened_at.timestamp() - data.dwell_limit_s <= 5


def test_a_starved_box_decides_later_and_says_how_late():
    """Looks of .04 s for one core in a thousand: 40 s apart, and more where some bring closer looks with them."""
    attention = Slow(0.001)
    said, looked, _ = watch(
        SQUARE, lambda t: [(60 + 120 * n + round(t * 7) % 60, 150) for n in range(4)], 400, attention=attention
    )
    assert 40 <= np.diff(looked)[2:].mean() <= 100
    assert [event.type.rsplit(".", 1)[-1] for event in said][:1] == ["opened"]
    figures = attention.figures
    assert figures.stretch > 10
    assert 30 < figures.late_s < 120


def test_a_picture_that_becomes_evidence_is_looked_at_in_any_case(monkeypatch):
    """Whose heads are to be hidden must be known, although it was not this camera's turn."""
    seen = []
    monkeypatch.setattr(
        "agent.runner.shoot", lambda _rgb, _masker, *, persons, role, **_: seen.append((role, len(persons))) or []
    )

    eye = CountingEye()
    runner = runners.runner(Camera(id="cam-1", source="staged", sample_s=1.0, zone=(FRONT,)), detector=eye)
    monkeypatch.setattr(runner.attention, "ask", lambda _camera, _every_s, at_s, **_: at_s < runners.EPOCH_S + 3)
    for n in range(60):
        picture = street([(40, 180)], seed=n)
        if n >= 15:
            clips.put(picture, clips.crate(), 320, 180)
        runner.look(runners.frame(picture, float(n)))
    assert ("at", 1) in seen
    assert eye.looks < 10
