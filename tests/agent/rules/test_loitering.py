import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rules.life import Record, ZoneLife
from agent.rules.loitering import AWAY_S, Loitering
from protocol.settings import GatheringZone

LIMIT_S = 20.0
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
BENCH, DOOR, OUTSIDE = (0.2, 0.4, 0.05, 0.3), (0.4, 0.2, 0.05, 0.3), (0.7, 0.4, 0.05, 0.3)


def loitering(clear_s=5):
    return Loitering(
        GatheringZone(
            id="z", kind="gathering", polygon=LEFT_HALF, max_people=9, loiter_s=LIMIT_S, clear_s=clear_s, dwell_s=1
        )
    )


def look(rule, at_s, people):
    """One picture: track ids to boxes."""
    boxes = np.array(list(people.values()), float).reshape(-1, 4)
    return rule.step(at_s, boxes, np.array(list(people), np.int64))


def first_breach(people_at, until_s=60, step_s=0.2):
    """Seconds until somebody loiters, or None; `people_at` gives the people of a time."""
    rule = loitering()
    for at_s in np.arange(0, until_s, step_s):
        if look(rule, float(at_s), people_at(at_s)):
            return float(at_s)
    return None


def shifted(box, dx):
    return (box[0] + dx, *box[1:])


def through_the_door(t):
    """In turn, somebody walks up to the door and is gone, and somebody else comes out of it and walks away."""
    number, since_s = int(t // 3.5), t % 3.5
    walked_s = since_s if number % 2 else 2 - since_s
    return {number: shifted(DOOR, -0.06 * walked_s)} if since_s < 2 else {}


@pytest.mark.parametrize(
    ("people_at", "expected_s"),
    [
        (lambda _: {1: BENCH}, 20.2),  # longer than the limit
        (lambda t: {1: BENCH} if t < 20 else {}, None),  # just as long
        (lambda _: {1: OUTSIDE}, None),  # the feet are outside of the zone
        (lambda t: {1: BENCH if t < 15 or t > 18 else OUTSIDE}, 20.2),  # stepped out for a moment
        (lambda t: {1: BENCH if t < 15 or t > 30 else OUTSIDE}, 50.2),  # was away: begins anew
        (lambda t: {1: BENCH} if t < 15 or t > 18 else {}, 20.2),  # hidden, and found again as the same
        (lambda t: {1: BENCH} if t < 15 else {7: BENCH} if t > 18 else {}, 20.2),  # hidden, with another track
        # two tracks for a moment, and the older one is dropped
        (lambda t: {1: BENCH} if t < 15 else {1: BENCH, 7: BENCH} if t < 15.5 else {7: BENCH}, 20.2),
        # somebody sits down beside them, and they leave: somebody else
        (lambda t: {1: BENCH} if t < 15 else {1: BENCH, 7: BENCH} if t < 17 else {7: BENCH}, 35.2),
        (lambda t: {1: BENCH} if t < 15 else {7: BENCH} if t > 30 else {}, 50.2),  # too long ago: somebody else
        (lambda t: {1: BENCH} if t < 15 else {7: shifted(BENCH, 0.1)}, 35.2),  # somebody else, elsewhere
        (lambda t: {1: BENCH} if t < 15 else {1: OUTSIDE, 7: BENCH}, 35.2),  # the next one on the bench
        (lambda t: {1: shifted(BENCH, 0.004 * t)}, 20.2),  # strolls about the whole time
        (lambda t: {round(t // 4): BENCH} if t % 4 < 3 else {}, 20.2),  # a tracker that loses them every few seconds
        (lambda t: {round(t * 5): BENCH}, 20.2),  # and one that never knows them again
        (lambda t: {int(t // 2): shifted(BENCH, 0.004 * t)}, 20.2),  # strolls, and is found again at once
        (through_the_door, None),
        (lambda _: {1: (-0.02, 0.8, 0.05, 0.3)}, 20.2),  # cut off by the edges of the picture
    ],
)
def test_who_stays_longer_than_the_limit_loiters(people_at, expected_s):
    found_s = first_breach(people_at)
    assert found_s == (None if expected_s is None else pytest.approx(expected_s, abs=0.3))


@given(st.lists(st.sampled_from(["here", "outside", "hidden"]), min_size=1, max_size=80))
def test_a_stay_lasts_until_somebody_is_away_for_long(seconds):
    """One person with one track: what the rule says is what the definition says, second by second."""
    rule, since_s, last_s = loitering(), None, None
    for at_s, where in enumerate(seconds):
        people = {"here": {1: BENCH}, "outside": {1: OUTSIDE}, "hidden": {}}[where]
        breaches = look(rule, float(at_s), people)
        if where != "here":
            assert breaches == []
            continue
        if last_s is None or at_s - last_s > AWAY_S:
            since_s = at_s
        last_s = at_s
        assert [breach.since_s for breach in breaches] == ([since_s] if at_s - since_s > LIMIT_S else [])


def test_a_breach_stays_at_its_place_and_names_nobody():
    rule = loitering()
    for at_s in range(22):
        breaches = look(rule, at_s, {5: BENCH, 6: shifted(BENCH, 0.15)})
    assert [breach.place for breach in breaches] == [pytest.approx(BENCH), pytest.approx(shifted(BENCH, 0.15))]
    moved = look(rule, 22, {5: DOOR, 6: shifted(BENCH, 0.15)})
    assert [breach.place for breach in moved] == [breach.place for breach in breaches]
    assert not any(breach.items or breach.people for breach in breaches)


def life(records=(), clear_s=5):
    numbers = iter(range(100))
    return ZoneLife("loitering", "cam", "z", None, LIMIT_S, clear_s, lambda _: f"i{next(numbers)}", records)


def watch(rule, zone, people_at, seconds):
    """Let an incident live; gives the kinds of its changes with their times."""
    changes = []
    for at_s in seconds:
        changes += zone.step(at_s, look(rule, at_s, people_at(at_s)), rule.sighting)
    return [(change.kind, change.at_s, change.record) for change in changes]


def test_one_stay_is_one_incident_that_clears_after_it():
    zone, rule = life(), loitering()
    # strolls about after 30 s, leaves at 40
    changes = watch(
        rule, zone, lambda t: {1: shifted(BENCH, max(0, t - 30) * 0.01)} if t < 40 else {1: OUTSIDE}, range(60)
    )
    assert [(kind, at_s) for kind, at_s, _ in changes] == [("opened", 22), ("cleared", 50)]
    assert changes[0][2].opened_s == 0
    assert changes[1][2].cleared_s == 39


def test_after_a_restart_who_still_stands_there_keeps_the_incident():
    zone, rule = life(), loitering()
    changes = watch(rule, zone, lambda _: {1: BENCH}, range(30))
    kept = Record.from_json(changes[-1][2].to_json())
    zone, rule = life([kept]), loitering()
    # a new tracker counts anew
    changes = watch(rule, zone, lambda t: {1: BENCH} if t < 80 else {}, range(31, 110))
    assert [(kind, at_s) for kind, at_s, _ in changes] == [("cleared", 90)]


def test_after_a_restart_a_place_that_is_clear_clears():
    zone, rule = life(), loitering()
    kept = watch(rule, zone, lambda _: {1: BENCH}, range(30))[-1][2]
    changes = watch(loitering(), life([kept]), lambda _: {2: DOOR}, range(31, 50))
    assert [(kind, at_s) for kind, at_s, _ in changes] == [("cleared", 36)]


def test_a_gap_in_the_pictures_begins_anew():
    """While nothing was seen, anybody may have left and come."""
    rule = loitering()
    for at_s in range(15):
        look(rule, at_s, {1: BENCH})
    breaches = [look(rule, at_s, {1: BENCH}) for at_s in range(40, 62)]
    assert [bool(one) for one in breaches] == [False] * 21 + [True]


def test_nothing_is_said_before_the_first_picture():
    kept = watch(loitering(), life(), lambda _: {1: BENCH}, range(30))[-1][2]
    assert loitering().sighting(kept).state == "not_seen"


@pytest.mark.parametrize(
    ("people", "cleared_s"),
    [
        ({}, [85]),  # clear is what was seen clear, not what nobody looked at
        ({9: DOOR}, [85]),
        ({9: BENCH}, []),  # may be the one who was there before
    ],
)
def test_a_gap_in_the_pictures_clears_nothing(people, cleared_s):
    zone, rule = life(), loitering()
    watch(rule, zone, lambda _: {1: BENCH}, range(30))
    changes = watch(rule, zone, lambda _: people, range(80, 100))
    assert [at_s for kind, at_s, _ in changes if kind == "cleared"] == cleared_s
