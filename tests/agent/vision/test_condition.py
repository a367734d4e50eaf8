"""How well a camera sees, on streets rendered here and on what may happen to a camera."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.camera.frame import Frame
from agent.vision.condition import (
    CONFIRM_S,
    CONFIRM_SAMPLES,
    RELEARN_S,
    RELEASE_SAMPLES,
    Blindness,
    Finding,
    Persistence,
    ViewHealth,
)
from tests.eval import backdrops, faults
from tests.eval.staging import Stage

SEEDS = (2, 9)  # by night with a shake, and with low contrast


def frame(t, rgb):
    return Frame(t, key=True, planes=np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8))


@cache
def street(seed):
    scene = replace(Stage().scene(seed), length_s=faults.LENGTH_S)
    return [(t, rgb) for t, rgb in scene.frames(1.0) if t < faults.LENGTH_S]


def clear_look(pictures):
    """The median of the first ten seconds, as the still scene learns it."""
    lumas = [cv2.GaussianBlur(frame(t, rgb).luma(320), (0, 0), 0.8) for t, rgb in pictures if t <= 10]
    return np.median(np.stack(lumas), axis=0).astype(np.uint8)


def observed(pictures, reference=None, health=None):
    """What is said of each picture from the tenth second on."""
    health = health or ViewHealth()
    reference = clear_look(pictures) if reference is None else reference
    seen = []
    for t, rgb in pictures:
        one = frame(t, rgb)
        seen.append((t, health.observe(one.luma(320), t, reference if t > 10 else None, chroma=one.chroma())))
    return seen


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", faults.FAULTS)
def test_each_fault_is_told_as_what_it_is_and_ends(name, seed):
    fault = faults.FAULTS[name]
    seen = observed(faults.struck(name, street(seed), seed))
    begin_s, end_s = faults.BEGIN_S, faults.BEGIN_S + fault.lasts_s
    told = [t for t, view in seen if view.state == fault.state and fault.text in view.text and t >= begin_s]
    assert told, {view.state for _, view in seen}
    assert told[0] <= begin_s + fault.comes_s + faults.RECOGNISED_S
    if fault.state != "live":
        assert {view.state for _, view in seen} == {"live", fault.state}
        assert {view.text for _, view in seen if view.state == fault.state} != {""}
        assert not any(view.trusted for t, view in seen if told[0] <= t < end_s)
    assert {view.state for t, view in seen if t < begin_s or t >= end_s + faults.RECOVERED_S} == {"live"}
    assert all(view.trusted for t, view in seen if t < begin_s)


@pytest.mark.parametrize("seed", [2, 9])
@pytest.mark.parametrize(
    ("light", "shake"),
    [
        ("steady", "nudge"),
        ("ramp", "firm"),
        ("clouds", "shake"),
        ("shadow", "firm"),
        ("headlights", "firm"),
        ("lamp", "shake"),
    ],
)
def test_ordinary_light_and_a_nudge_are_no_fault(light, shake, seed):
    scene = replace(
        Stage().scene(seed),
        shake=shake,
        length_s=60.0,
        _light=backdrops.light(light, np.random.default_rng(seed), 60.0),
    )
    seen = observed(list(scene.frames(1.0)))
    assert {view.state for _, view in seen} == {"live"}
    # a nudge is followed from its second sample on
    assert sum(not view.trusted for _, view in seen) <= (2 if shake == "nudge" else 0)
    assert not any("lens" in view.text or "snow" in view.text or "lightning" in view.text for _, view in seen)


def test_a_crowd_is_no_fault():
    stage, rng = Stage(), np.random.default_rng(4)
    crowd = tuple(stage._walker(rng, 60.0) for _ in range(45))
    seen = observed(list(replace(stage.scene(8), walkers=crowd, length_s=60.0).frames(1.0)))
    assert {(view.state, view.trusted) for _, view in seen} == {("live", True)}


def test_headlights_are_told():
    light = backdrops.light("headlights", np.random.default_rng(3), 60.0)
    scene = replace(Stage().scene(2), _light=light, length_s=60.0)
    seen = observed(list(scene.frames(1.0)))
    assert any("headlights" in view.text for _, view in seen)
    assert all(view.trusted for _, view in seen)


def test_people_may_hide_the_view():
    """A detector says that people stand there: the view is not covered."""
    pictures = faults.struck("half_cloth", street(9), 9)
    reference = clear_look(pictures)
    for people, state in (((), "covered"), (((0.0, 0.0, 1.0, 1.0),), "live")):
        health = ViewHealth()
        seen = [health.observe(frame(t, rgb).luma(320), t, reference, people=people) for t, rgb in pictures]
        assert seen[50].state == state


@pytest.mark.parametrize("name", ["cap", "cloth", "darken", "freeze"])
def test_some_faults_are_told_before_the_place_is_learned(name):
    fault = faults.FAULTS[name]
    health = ViewHealth()
    seen = [
        health.observe(one.luma(320), one.time_s, None, chroma=one.chroma())
        for one in (frame(t, rgb) for t, rgb in faults.struck(name, street(9), 9))
    ]
    assert {view.state for view in seen} == {"live", fault.state}
    assert not any(view.relearn for view in seen)


def test_a_view_that_stays_moved_is_to_be_learned_again():
    pictures = street(9)
    turned = faults.FAULTS["turn"].make(np.random.default_rng(1), backdrops.drawn(np.random.default_rng(77)).rgb)
    longer = [*pictures[:30], *((30.0 + n, turned(pictures[0][1], n)) for n in range(90))]
    seen = observed(longer)
    since_s = next(view.since_s for _, view in seen if view.state == "moved")
    assert 30 <= since_s <= 32
    assert {t for t, view in seen if view.relearn} == {t for t, _ in longer if t - since_s >= RELEARN_S}
    # once the old reference is given up, the new view is as good as any
    health = ViewHealth()
    observed(longer, health=health)
    for n in range(5):
        last = health.observe(frame(120.0 + n, turned(pictures[0][1], n)).luma(320), 120.0 + n, None)
    assert (last.state, last.trusted) == ("live", True)


def test_time_without_sight_is_remembered():
    health = ViewHealth()
    observed(faults.struck("pan", street(9), 9), health=health)
    assert 32 <= health.blind_s(0.0) <= 36
    assert health.blind_s(50.0) == pytest.approx(health.sighted_since_s - 50)
    assert health.blind_s(faults.END_S + faults.RECOVERED_S) == 0
    assert faults.END_S <= health.sighted_since_s <= faults.END_S + 4


FINDINGS = st.sampled_from(
    [Finding(), Finding(), Finding(odd=True), *(Finding(state, "because") for state in CONFIRM_S)]
)


@given(st.lists(st.tuples(st.floats(0.2, 6), st.lists(FINDINGS, min_size=1, max_size=1))), st.booleans())
def test_a_state_lasts_before_it_is_told_and_good_sight_ends_it(steps, constant):
    """Whatever the samples show: no state without enough samples of it, none goes on through good ones."""
    kept, time_s, shown = Persistence(), 0.0, []
    for gap_s, (finding,) in steps:
        time_s += 1.0 if constant else gap_s
        kept.follow(finding, time_s)
        shown.append((time_s, finding))
        if kept.state != "live":
            assert kept.text == "because"
            assert kept.since_s <= time_s
            assert sum(one.state == kept.state for _, one in shown) >= CONFIRM_SAMPLES
        # three at the longest gap, and one: longer than any release
        if len(shown) > RELEASE_SAMPLES + 10 and all(one.good for _, one in shown[-RELEASE_SAMPLES - 10 :]):
            assert kept.state == "live"
        assert (kept.odd_since_s is None) == finding.good


@given(st.lists(st.tuples(st.floats(0.1, 10), st.booleans()), min_size=1), st.floats(0, 50))
def test_blindness_is_the_time_from_each_blind_sample_to_the_next(steps, since_s):
    memory, time_s, expected, began_s, before = Blindness(), 0.0, 0.0, None, None
    for gap_s, blind in steps:
        if before:
            expected += max(0.0, time_s + gap_s - max(time_s, since_s))
        time_s += gap_s
        began_s = (began_s if before else time_s) if blind else None
        memory.note(time_s, began_s)
        before = blind
    assert memory.since(since_s) == pytest.approx(expected)
