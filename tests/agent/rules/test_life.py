from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.rules.life import HEARTBEAT_S, NOT_SEEN_AFTER_S, Breach, Record, Sighting, ZoneLife, dwell_s, end, same_place
from protocol.messages import Item, People

HERE = (0.1, 0.1, 0.2, 0.2)
THERE = (0.6, 0.6, 0.2, 0.2)
OCCUPIED = Sighting("occupied")
HIDDEN = Sighting("not_seen")


def clear_since(since_s):
    return Sighting("clear", clear_since_s=since_s)


def item(box, kind="object"):
    return Item(id="i", kind=kind, box=box)


def breach(box=HERE, since_s=0.0, kind="object"):
    return Breach(box, since_s, (item(box, kind),))


def life(records=()):
    numbers = count(1)
    return ZoneLife(
        rule="encroachment", camera="cam-1", zone="z", shop=None, dwell_limit_s=10, clear_s=5,
        new_id=lambda _: f"id-{next(numbers)}", records=records,
    )  # fmt: skip


def walk(zone, steps):
    """Steps of (time, breaches, sighting of every open incident); gives (time, kind, seq) of each change."""
    return [
        (at_s, change.kind, change.record.seq)
        for at_s, breaches, sighting in steps
        for change in zone.step(at_s, breaches, lambda _, seen=sighting: seen)
    ]


def opened(zone, at_s=11.0, box=HERE):
    changes = zone.step(at_s - 1, [breach(box)], lambda _: OCCUPIED)
    changes += zone.step(at_s, [breach(box)], lambda _: OCCUPIED)
    return changes[-1].record


@pytest.mark.parametrize(
    ("steps", "changes"),
    [
        # one sample is not enough
        ([(10, [breach()], OCCUPIED), (11, [], OCCUPIED), (12, [breach()], OCCUPIED)], []),
        ([(10, [breach()], OCCUPIED), (11, [breach()], OCCUPIED)], [(11, "opened", 1)]),
        # two places in one sample are two incidents
        (
            [(10, [breach(), breach(THERE)], OCCUPIED), (11, [breach(), breach(THERE)], OCCUPIED)],
            [(11, "opened", 1), (11, "opened", 1)],
        ),
        # a breach that goes on says nothing new
        ([(t, [breach()], OCCUPIED) for t in range(10, 60)], [(11, "opened", 1)]),
    ],
)
def test_a_breach_opens_once_two_samples_show_it(steps, changes):
    assert walk(life(), steps) == changes


@pytest.mark.parametrize(
    ("steps", "changes"),
    [
        # clear for less than clear_s, then occupied again: nothing
        ([(12, [], clear_since(12)), (15, [], clear_since(12)), (16, [], OCCUPIED)], []),
        ([(12, [], clear_since(12)), (17, [], clear_since(12))], [(17, "cleared", 2)]),
        # a passer-by hides the place shortly: nothing
        ([(12, [], HIDDEN), (15, [], HIDDEN), (16, [], OCCUPIED)], []),
        # hidden for long: said once; seen again: said once; never cleared
        (
            [*((t, [], HIDDEN) for t in range(12, 100)), (100, [], OCCUPIED), (101, [], OCCUPIED)],
            [(12 + NOT_SEEN_AFTER_S, "updated", 2), (100, "updated", 3)],
        ),
        # hidden, then seen clear: cleared, after it was said to be seen
        (
            [*((t, [], HIDDEN) for t in range(12, 30)), (30, [], clear_since(30)), (36, [], clear_since(30))],
            [(22, "updated", 2), (30, "updated", 3), (36, "cleared", 4)],
        ),
        # a heartbeat every ten minutes
        ([(11 + HEARTBEAT_S * n / 4, [], OCCUPIED) for n in range(1, 10)], [(611, "updated", 2), (1211, "updated", 3)]),
    ],
)
def test_only_seen_clear_clears(steps, changes):
    zone = life()
    opened(zone)
    assert walk(zone, steps) == changes


def test_changed_items_are_told_at_most_once_a_minute():
    zone = life()
    opened(zone)
    other = [breach(kind="table")]
    assert walk(zone, [(t, other, OCCUPIED) for t in range(12, 70)]) == []
    assert walk(zone, [(t, other, OCCUPIED) for t in range(71, 200)]) == [(71, "updated", 2)]


def test_a_changed_level_is_told_at_once_and_a_changed_count_by_a_fifth():
    zone = life()
    over = Breach(HERE, 0, people=People(count=10, lower_bound=False, level="over"))
    for at_s in (10, 11):
        zone.step(at_s, [over], lambda _: OCCUPIED)

    def seen(count_, level):
        return Sighting("occupied", people=People(count=count_, lower_bound=False, level=level))

    assert walk(zone, [(80, [], seen(12, "over"))]) == []
    assert walk(zone, [(81, [], seen(13, "over"))]) == [(81, "updated", 2)]
    assert walk(zone, [(82, [], seen(13, "critical"))]) == [(82, "updated", 3)]


def test_a_return_is_a_new_incident_at_the_same_place():
    zone = life()
    first = opened(zone)
    walk(zone, [(20, [], clear_since(18)), (24, [], clear_since(18))])
    second = opened(zone, 40.0)
    assert second.incident != first.incident
    assert (second.previous, second.place_id) == (first.incident, first.place_id)
    assert second.opened_s == 18  # not before the place was seen clear
    elsewhere = opened(zone, 60.0, THERE)
    assert (elsewhere.previous, elsewhere.place_id) != (second.incident, first.place_id)


def test_dwell_ends_when_the_place_was_seen_clear():
    zone = life()
    record = opened(zone)
    assert dwell_s(record, 30) == 30
    cleared = zone.step(24, [], lambda _: clear_since(18))[0].record
    assert (cleared.cleared_s, dwell_s(cleared, 24)) == (18, 18)


def test_a_lost_camera_ends_nothing_and_is_told_once():
    zone = life()
    opened(zone)
    assert [change.record.visibility for change in zone.hide(20)] == ["not_seen"]
    assert zone.hide(21) == []
    assert walk(zone, [(30, [], OCCUPIED)]) == [(30, "updated", 3)]


def test_an_incident_goes_on_after_a_restart():
    record = opened(life())
    again = life([Record.from_json(record.to_json())])
    assert again.open_records == (record,)
    assert walk(again, [(50, [breach()], OCCUPIED), (51, [breach()], OCCUPIED)]) == []
    assert walk(again, [(60, [], clear_since(55))]) == [(60, "cleared", 2)]


def test_the_end_has_a_reason():
    change = end(opened(life()), 30, "rule_changed")
    assert (change.kind, change.record.reason, change.record.seq, change.record.open) == (
        "ended",
        "rule_changed",
        2,
        False,
    )


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (HERE, HERE, True),
        (HERE, THERE, False),
        (HERE, (0.15, 0.15, 0.05, 0.05), True),  # a part of it
        (HERE, (0.28, 0.1, 0.2, 0.2), False),  # a tenth in common
        (HERE, (0.1, 0.1, 0, 0.2), False),  # no area
    ],
)
def test_places_are_told_apart(a, b, same):
    assert same_place(a, b) is same
    assert same_place(b, a) is same


sightings = st.sampled_from(["occupied", "not_seen", "clear"])
moves = st.lists(st.tuples(st.floats(0.1, 100), st.booleans(), sightings, st.booleans()), max_size=60)


@given(moves)
def test_whatever_is_seen_the_life_stays_sound(steps):
    """No gaps in seq, no two open incidents at one place, no change after the end, no clear without being seen."""
    zone = life()
    at_s, clear_from = 0.0, None
    seqs: dict[str, int] = {}
    closed: set[str] = set()
    for pause_s, there, state, lost in steps:
        at_s += pause_s
        clear_from = None if state != "clear" else (at_s if clear_from is None else clear_from)
        changes = zone.hide(at_s) if lost else []
        sighting = Sighting(state, clear_since_s=clear_from or 0)
        before = {record.incident for record in zone.open_records}
        changes += zone.step(at_s, [breach(since_s=at_s - 10)] if there else [], lambda _, seen=sighting: seen)
        for change in changes:
            record = change.record
            assert record.incident not in closed
            assert record.seq == seqs.get(record.incident, 0) + 1
            seqs[record.incident] = record.seq
            assert (change.kind == "opened") == (record.seq == 1)
            if change.kind == "cleared":
                closed.add(record.incident)
                assert state == "clear"
                assert record.incident in before
                assert at_s - record.cleared_s >= zone.clear_s
                assert record.cleared_s >= record.opened_s
        assert len(zone.open_records) <= 1
        # and what the box remembers is enough to go on
        zone._open = [Record.from_json(replace(record).to_json()) for record in zone._open]
