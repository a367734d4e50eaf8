"""Two streams of one camera in the runner: main pictures come with the key frames, small ones while a rule asks."""

import cv2
import numpy as np
import pytest

from protocol.settings import Camera, GatheringZone
from tests import clips, runners
from tests.boxes import WHOLE
from tests.eyes import BrightEye

KEYS_S = 2.0
POLYGON = tuple((x, y) for x, y in WHOLE)
SLOW_S = 4.0
"""Until what is asked for comes: a stream is opened, and its next key frame waited for."""


class SizedEye(BrightEye):
    """Knows the sizes at which it was asked."""

    def __init__(self):
        super().__init__()
        self.looks = []

    def detect(self, rgb):
        self.looks.append(rgb.shape[:2])
        return super().detect(rgb)


def picture(people, seed):
    shown = (clips.pavement() * 0.5).astype(np.uint8)
    for x, y in people:
        shown[y : y + 120, x : x + 40] = 250
    noise = np.random.default_rng(seed).normal(0, 1, shown.shape)
    return np.clip(shown + noise, 0, 255).astype(np.uint8)


def watch(people, length_s, *, sub=True, monkeypatch=None, **more):
    """Drive a runner as a reader does that obeys it; gives messages, looks `(t, small)`, shots and the runner."""
    said, shot = [], []
    if monkeypatch is not None:
        monkeypatch.setattr(
            "agent.runner.shoot",
            lambda rgb, _masker, *, persons, role, taken_at_s, **_: (
                shot.append((role, rgb.shape[1], len(persons), taken_at_s - runners.EPOCH_S)) or []
            ),
        )
    zone = GatheringZone(id="square", kind="gathering", polygon=POLYGON, **{"max_people": 99, **more})
    camera = Camera(id="cam-1", source="staged", sample_s=1.0, zone=(zone,))
    eye = SizedEye()
    runner = runners.runner(camera, said.append, detector=eye)
    looks, asked_s = [], float("inf")
    for n in range(round(length_s / 0.2)):
        t = n * 0.2
        main = n % round(KEYS_S / 0.2) == 0
        if not main and t < asked_s + SLOW_S:
            continue
        shown, small = picture(people(t), n), not main and sub
        before = len(eye.looks)
        shown = cv2.resize(shown, (320, 180), interpolation=cv2.INTER_AREA) if small else shown
        runner.look(runners.frame(shown, t, sub=small))
        looks += [(t, small)] * (len(eye.looks) > before)
        fast = runner.demand(runners.EPOCH_S + t).fps > 1 / KEYS_S
        asked_s = min(asked_s, t) if fast else float("inf")
    return said, looks, shot, runner


def stays(t):
    """Somebody comes at 20 s, walks to a place, stays there until 60 s and walks off."""
    if t < 20 or t > 64:
        return []
    return [(60 + round(60 * min(t - 20, 4)) if t < 60 else 300 + round(60 * (t - 60)), 150)]


@pytest.mark.parametrize("sub", [True, False])
def test_who_stays_too_long_is_loitering_at_a_sample_a_second(sub):
    """Nobody set `sample_s = 0.2`: the rule asks for what it needs, once something moves."""
    said, looks, _, _ = watch(stays, 100, sub=sub, loiter_s=15.0, clear_s=5.0)
    assert [(one.data.rule, one.type.rsplit(".", 1)[-1]) for one in said] == [
        ("loitering", "opened"),
        ("loitering", "cleared"),
    ]
    opened, cleared = (one.data for one in said)
    assert opened.opened_at.timestamp() - runners.EPOCH_S == pytest.approx(22, abs=3)
    assert opened.at.timestamp() - opened.opened_at.timestamp() == pytest.approx(15, abs=1)
    assert cleared.cleared_at.timestamp() - runners.EPOCH_S == pytest.approx(63, abs=4)
    # at rest there are key frames alone
    assert len([t for t, _ in looks if t < 18]) <= 9
    # and it goes back to them
    assert not [t for t, _ in looks if t > 85]


def walkers(t):
    """Three who walk to and fro."""
    return [(60 + 150 * n + round(30 * abs((t + n) % 4 - 2)), 150) for n in range(3)]


def test_five_pictures_a_second_are_looked_at_while_somebody_walks():
    _, looks, _, _ = watch(walkers, 40, loiter_s=600.0)
    late = [t for t, _ in looks if 20 <= t < 40]
    assert len(late) == pytest.approx(100, abs=12)
    # main ones among them, as they may become evidence
    assert len([t for t, small in looks if 20 <= t < 40 and not small]) >= 4


def test_evidence_and_the_hour_are_of_the_main_stream(monkeypatch):
    said, _, shot, runner = watch(stays, 70, monkeypatch=monkeypatch, loiter_s=15.0)
    opened = said[0].data
    (picture,) = [one for one in shot if one[0] == "at"]
    role, width, persons, taken_s = picture
    assert (role, width) == ("at", clips.WIDTH)
    assert persons >= 1  # once of the last look, once of the one for the evidence
    assert 0 <= opened.at.timestamp() - runners.EPOCH_S - taken_s <= 2
    assert {one.frame.rgb().shape[1] for one in runner._shots._kept} == {clips.WIDTH}
    assert all(((one.time_s - runners.EPOCH_S) / KEYS_S) % 1 == pytest.approx(0, abs=0.01) for one in runner.samples)
    assert len(runner.samples) >= 5


def test_where_no_main_picture_comes_the_sub_stream_stands_in():
    zone = GatheringZone(id="square", kind="gathering", polygon=POLYGON, max_people=2, dwell_s=5.0)
    said = []
    runner = runners.runner(
        Camera(id="cam-1", source="staged", sample_s=1.0, zone=(zone,)), said.append, detector=BrightEye()
    )
    for n in range(40):
        small = cv2.resize(picture(walkers(n), n), (320, 180), interpolation=cv2.INTER_AREA)
        runner.look(runners.frame(small, float(n), sub=n > 0))
    assert [one.data.rule for one in said][:1] == ["crowding"]
    assert len(runner.samples) >= 3
    assert runner.outlook.state == "live"


def test_what_moves_in_another_zone_asks_for_no_more_pictures():
    """Somebody walks up and down on the right; nobody may loiter on the left."""
    left, right = (((x, 0.3), (x + 0.25, 0.3), (x + 0.25, 1.0), (x, 1.0)) for x in (0.0, 0.75))

    def fps(x):
        zones = (
            GatheringZone(id="left", kind="gathering", polygon=left, max_people=99, loiter_s=60.0),
            GatheringZone(id="right", kind="gathering", polygon=right, max_people=99),
        )
        camera = Camera(id="cam-1", source="staged", sample_s=1.0, zone=zones)
        runner = runners.runner(camera, detector=BrightEye())
        for t in range(30):
            runner.look(runners.frame(picture([(x + 37 * t % 90, 170)], t), float(t)))
        return runner.demand(runners.EPOCH_S + 29).fps

    assert fps(10) == 5.0
    assert fps(500) < 1.0


def test_a_runner_keeps_how_many_were_counted_until_that_is_told():
    *_, runner = watch(stays, 60)
    (count,) = runner.footfall.take()
    assert (count.camera, count.zone, count.most, count.lower_bound) == ("cam-1", "square", 1, False)
    assert count.looks > 20
    assert 0.3 < count.mean <= 1
    assert runner.footfall.take() == ()
