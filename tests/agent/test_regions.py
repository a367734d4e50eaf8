"""Where the detector looks: at the part of the picture that the rules need, and nobody is shown whom it did not see."""

import numpy as np
import pytest

from protocol.settings import Camera, FrontageZone, GatheringZone
from tests import clips, runners
from tests.eyes import BrightEye, FreeEye

LOW, HIGH = 0.5, 0.98
LEFT = ((0.0, LOW), (0.3, LOW), (0.3, HIGH), (0.0, HIGH))
RIGHT = ((0.7, LOW), (1.0, LOW), (1.0, HIGH), (0.7, HIGH))
ELSEWHERE = (520, 100)
"""Somebody outside the left zone, and of what is looked at for it."""
SETTINGS = {"dwell_s": 6.0, "max_people": 2, "counting": "detector"}
PAVEMENT = clips.pavement()
THINGS = {0: "person", 1: "bicycle"}


def square(polygon=LEFT, **more):
    return GatheringZone(id="square", kind="gathering", polygon=polygon, **SETTINGS | more)


def street(people, seed=0):
    """People of 30 × 90 pixels, x and y of their boxes; noise, so that the street is new at each sample."""
    noise = np.random.default_rng(seed).normal(0, 2, PAVEMENT.shape)
    picture = np.clip(PAVEMENT * 0.75 + noise, 0, 255).astype(np.uint8)
    for x, y in people:
        picture[max(0, y) : y + 90, max(0, x) : x + 30] = 250
    return picture


def watch(eye, people, samples, *, zones=None, each=lambda _runner, _t: None, said=None, **more):
    camera = Camera(id="cam-1", source="staged", sample_s=1.0, zone=zones or (square(),))
    runner = runners.runner(camera, (lambda _: None) if said is None else said.append, detector=eye, **more)
    for t in range(samples):
        runner.look(runners.frame(street(people(t), seed=t), float(t)))
        each(runner, t)
    return runner


def walks(t):
    """One in the zone, and two more who come and go; one elsewhere."""
    more = [(10, 240), (130, 200 + t % 30)] if 30 <= t % 60 < 50 else []
    return [(60 + t % 40, 180), ELSEWHERE, *more]


def test_what_is_looked_at_is_the_zone_with_its_people_once_their_height_is_known():
    eye = FreeEye()
    watch(eye, walks, 60)
    whole = [t for t, size in enumerate(eye.seen) if size == (640, 360)]
    parts = [size for size in eye.seen if size != (640, 360)]
    # of a look every 2 to 4 s, the hour of samples wants one in ten, and the first ones tell how tall people are
    assert len(whole) <= 9
    assert len(parts) >= 12
    assert all(width * height <= 0.5 * 640 * 360 for width, height in parts)


@pytest.mark.parametrize("polygon", [LEFT, RIGHT])
def test_people_are_counted_as_in_the_whole_picture_wherever_the_zone_is(polygon):
    """Feet anywhere in the zone, up to its edges, and outside of it by as little."""
    rng = np.random.default_rng(4)
    left = round(polygon[0][0] * 640)
    spots = [(left + int(rng.integers(-25, 210)), int(rng.integers(80, 268))) for _ in range(400)]

    def people(t):
        edges = [(left - 15 + 4, 200), (left + 192 - 15 - 4, 100), (left + 192 - 15 + 4, 200)]
        return [spots[(t * 7) % 400], edges[t % 3], ELSEWHERE if polygon is LEFT else (60, 100)]

    counts, eyes = {}, (BrightEye(), FreeEye())
    for eye in eyes:
        mine = counts.setdefault(eye, [])
        watch(
            eye,
            people,
            160,
            zones=(square(polygon),),
            each=lambda runner, _t, mine=mine: mine.append(runner._counted and runner._counted.heads["square"].count),
        )
    assert counts[eyes[0]] == counts[eyes[1]]
    assert len(set(counts[eyes[0]])) >= 3
    assert len([size for size in eyes[1].seen if size != (640, 360)]) > 40


def test_messages_are_those_of_the_whole_picture():
    both = []
    for eye in (BrightEye(), FreeEye()):
        said = []
        watch(eye, walks, 120, zones=(square(clear_s=5.0),), said=said)
        both.append([(one.type, one.time, one.data.people and one.data.people.count) for one in said])
    assert both[0] == both[1]
    assert len(both[0]) >= 3


def test_those_elsewhere_are_hidden_in_evidence_nevertheless(monkeypatch):
    seen = []

    def shoot(_rgb, _masker, *, persons, role, taken_at_s, **_):
        seen.append((role, persons, round(taken_at_s - runners.EPOCH_S)))
        return []

    def elsewhere(t):
        return 440 + t * 53 % 160

    monkeypatch.setattr("agent.runner.shoot", shoot)
    front = FrontageZone(id="front", kind="frontage", polygon=LEFT, dwell_s=10.0, clear_s=5.0)
    eye, parts = FreeEye(), []
    camera = Camera(id="cam-1", source="staged", sample_s=1.0, zone=(front, square()))
    runner = runners.runner(camera, detector=eye)
    for t in range(80):
        # somebody walks up and down in the zone; the crate stands from 25 s to 60 s
        picture = street([(t * 37 % 160, 150), (elsewhere(t), 100)], seed=t)
        if 25 <= t < 60:
            clips.put(picture, clips.crate(), 40, 260)
        runner.look(runners.frame(picture, float(t)))
        parts.append(runner._part is not None)
    assert sum(parts) > 20
    assert [role for role, _, _ in seen] == ["clear", "at", "after"]
    for role, persons, t in seen:
        there = [elsewhere(t) / 640, 100 / 360, 30 / 640, 90 / 360]
        assert any(box == pytest.approx(there, abs=0.01) for box in persons.tolist()), (role, t)
    # pictures were made of frames of which the detector had seen a part only
    assert any(parts[t] for _, _, t in seen)


def test_the_hour_of_samples_knows_everyone():
    eye = FreeEye()
    runner = watch(eye, walks, 100)
    samples = list(runner.samples)
    assert len(samples) == 10
    for one in samples:
        assert any(box[0] == pytest.approx(ELSEWHERE[0] / 640, abs=0.01) for box in one.persons.tolist())
    assert any(size != (640, 360) for size in eye.seen)


def test_a_sample_that_is_due_while_nothing_changes_waits_for_a_look_at_the_whole():
    eye = FreeEye()
    # from 15 s on nothing moves; what happened until then is looked at by 18 s
    runner = watch(eye, lambda t: walks(min(t, 15)), 19)
    assert runner._part is not None
    eye.seen.clear()
    for t in range(19, 45):
        runner.look(runners.frame(street(walks(15), seed=t), float(t)))
    # one look, at the whole, for the sample that is due then; what it saw holds for those after it
    assert eye.seen == [(640, 360)]
    times_s = [one.time_s - runners.EPOCH_S for one in runner.samples]
    assert np.diff(times_s).max() <= 14
    assert times_s[-1] >= 35


def test_no_sample_is_taken_while_a_look_at_the_whole_is_refused(monkeypatch):
    runner = watch(FreeEye(), lambda t: walks(min(t, 15)), 19)
    assert runner._part is not None
    monkeypatch.setattr(runner.attention, "ask", lambda *_, **__: False)
    for t in range(19, 40):
        runner.look(runners.frame(street(walks(15), seed=t), float(t)))
    assert runner._counted is not None
    assert max(one.time_s for one in runner.samples) - runners.EPOCH_S < 19


@pytest.mark.parametrize("more", [{"names": THINGS}, {}])
def test_one_that_tells_things_apart_looks_at_the_whole_and_so_does_one_whose_pictures_are_shown(more):
    """What stands in front of the still scene has to be known all over it, and things are named on one picture."""
    eye, parts = FreeEye(**more), []
    camera = Camera(id="cam-1", source="staged", sample_s=1.0, zone=(square(),))
    runner = runners.runner(camera, detector=eye)
    runner.shown = not more
    for t in range(40):
        runner.look(runners.frame(street(walks(t), seed=t), float(t)))
        parts.append(runner.snapshot(runners.EPOCH_S + t).looked_at)
    assert parts == [None] * 40


def test_a_snapshot_says_where_people_were_looked_for():
    looked_at = []
    watch(FreeEye(), walks, 30, each=lambda runner, t: looked_at.append(runner.snapshot(runners.EPOCH_S + t).looked_at))
    assert looked_at[0] is None
    x, y, w, h = looked_at[-1]
    assert (x, y) == (0, pytest.approx(0.1, abs=0.15))
    assert 0.3 < w < 0.6
    assert y + h == pytest.approx(1.0)


def test_a_zone_that_needs_everything_gets_everything():
    """Nobody was ever seen in the other zone: how tall people are there is not known."""
    eye = FreeEye()
    other = GatheringZone(id="other", kind="gathering", polygon=RIGHT, **SETTINGS)
    watch(eye, lambda t: walks(t)[:1], 30, zones=(square(), other))
    assert set(eye.seen) == {(640, 360)}


def crossing(t):
    """One stands in the zone, and another one walks where no rule looks."""
    return [(60, 180), (420 + t * 13 % 180, 100)]


def test_the_hour_of_samples_hides_those_who_move_where_no_rule_looks():
    """Nothing changes near the zone: what the last look saw holds for the rules, for a minute."""
    looks = []

    class Eye(BrightEye):
        def detect(self, rgb):
            looks.append(1)
            return super().detect(rgb)

    runner = watch(Eye(), crossing, 200)
    samples = list(runner.samples)
    assert len(samples) == pytest.approx(20, abs=2)
    for one in samples:
        there = crossing(round(one.time_s - runners.EPOCH_S))[1][0] / 640
        assert any(box[0] == pytest.approx(there, abs=0.01) for box in one.persons.tolist())
    # a look for each of them, and those with which it began
    assert len(looks) <= len(samples) + 8


def test_no_sample_is_taken_while_it_is_not_known_who_moves(monkeypatch):
    runner = watch(BrightEye(), crossing, 30)
    monkeypatch.setattr(runner.attention, "ask", lambda *_, **__: False)
    before = len(runner.samples)
    for t in range(30, 60):
        runner.look(runners.frame(street(crossing(t), seed=t), float(t)))
    assert len(runner.samples) == before


def test_who_is_shown_is_looked_for_in_each_picture_in_which_anything_moved():
    eye, seen = FreeEye(), []
    camera = Camera(id="cam-1", source="staged", sample_s=1.0, zone=(square(),))
    runner = runners.runner(camera, detector=eye)
    runner.shown = True
    for t in range(60):
        frame = runners.frame(street(crossing(min(t, 30)), seed=t), float(t))
        runner.look(frame)
        before = len(eye.seen)
        hidden = runner.hidden(frame)
        seen.append(len(eye.seen) - before)
        there = crossing(min(t, 30))[1][0] / 640
        assert any(box[0] == pytest.approx(there, abs=0.01) for box in hidden.tolist())
    assert sum(seen[:30]) >= 20
    # then nothing moves: who stands there is known with the next look for the rules or the hour
    assert sum(seen[45:]) == 0
