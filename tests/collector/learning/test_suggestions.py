"""Other limits on past alerts: a table of replays, and what no suggestion may ever do."""

from collections import Counter
from datetime import timedelta, timezone
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as some

from collector.learning import suggestions
from collector.learning.outlook import Outlook, outlook_json
from collector.learning.replay import Limits, Presence, Sample, Stretch, read_presence, reported, try_out
from collector.learning.suggestions import KEPT, MIN_CONFIRMED, MIN_FALSE, suggest, wilson
from collector.learning.verdicts import Place, Statistics, Wanted
from protocol.messages import Incident

DAY_S = 86_400.0


def presence(stood_s, *areas, opened_s=0.0):
    """Something that stood for so long; areas as (seconds after it came, m²)."""
    parts = tuple(Stretch(opened_s + after_s, area_m2) for after_s, area_m2 in areas or ((0, None),))
    return Presence(opened_s, opened_s + stood_s, parts)


@pytest.mark.parametrize(
    ("one", "limits", "expected"),
    [
        (presence(200), Limits(180), 180),
        (presence(180), Limits(180), None),  # for longer than, not as long as
        (presence(200), Limits(180, 1.0), 180),  # its area is not known: not known to be smaller
        (presence(900, (0, 0.4)), Limits(180, 0.5), None),
        (presence(900, (0, 0.5)), Limits(180, 0.5), 180),
        (presence(900, (0, 0.4), (300, 0.6)), Limits(180, 0.5), 300),  # more was put there
        (presence(900, (0, 0.6), (100, 0.4)), Limits(180, 0.5), None),  # less by the time that it was due
        (presence(inf, (0, 0.4)), Limits(180), 180),
    ],
)
def test_an_alert_is_replayed_as_a_box_would_have_reported_it(one, limits, expected):
    assert one.reported_s(limits) == expected
    sample = Sample(1, "false", (one, presence(1000, opened_s=5000)))
    assert sample.reported_s(limits) == (5180 if expected is None else expected)


def test_a_trial_says_what_is_gone_and_what_is_later():
    known = [Sample(at, "false", (presence(stood_s),)) for at, stood_s in enumerate((100, 200, 400, inf))]
    got = [(one.sample.ticket, one.later_s) for one in try_out(known, Limits(180), Limits(300))]
    assert got == [(1, None), (2, 120), (3, 120)]


def test_what_was_not_seen_clear_is_held_against_a_change():
    values = {
        "incident": "i", "seq": 1, "place_id": "p", "rule": "encroachment", "camera": "c", "zone": "z",
        "opened_at": "2026-05-01T00:00:00Z", "at": "2026-05-01T00:10:00Z", "dwell_s": 600, "dwell_limit_s": 180,
        "visibility": "seen", "reason": "withdrawn", "place": (0, 0, 1, 1), "settings_digest": "0" * 64,
        "clock": {"state": "synchronised", "boot_id": "b", "uptime_s": 1},
    }  # fmt: skip
    ended = [Incident.model_validate(values)]
    assert read_presence(ended, "false").end_s == inf
    assert read_presence(ended, "confirmed").end_s - read_presence(ended, "confirmed").opened_s == 600


@pytest.mark.parametrize(
    ("count", "of", "expected"),
    [(10, 10, (0.722, 1.0)), (0, 10, (0.0, 0.278)), (8, 10, (0.490, 0.943)), (0, 0, (0, 1))],
)
def test_wilsons_interval_is_that_of_the_books(count, of, expected):
    assert wilson(count, of) == pytest.approx(expected, abs=0.001)


def market(false_s=(190,) * 12, confirmed_s=(600,) * 30, days=10, day_s=DAY_S):
    """Alerts that stood for so long, spread over days."""
    known = [("false", stood_s) for stood_s in false_s] + [("confirmed", stood_s) for stood_s in confirmed_s]
    return [
        Sample(at, verdict, (presence(stood_s, opened_s=(at % days) * day_s),))
        for at, (verdict, stood_s) in enumerate(known)
    ]


def test_the_dwell_that_tells_short_stays_from_goods_is_suggested():
    (found,) = suggest(market(), Limits(180))
    assert (found.what, found.limits) == ("dwell_s", Limits(210))
    assert (found.spared, found.false, found.lost, found.confirmed) == (12, 12, 0, 30)
    # once it is in force nothing more is
    assert suggest(market(), found.limits) == []


def test_the_area_that_tells_leaves_from_goods_is_suggested():
    known = [
        Sample(
            at,
            "false" if at < 15 else "confirmed",
            (presence(900, (0, 0.35 if at < 15 else 1.2), opened_s=at * DAY_S),),
        )
        for at in range(60)
    ]
    assert [(one.what, one.limits) for one in suggest(known, Limits(180))] == [("min_area_m2", Limits(180, 0.4))]


@pytest.mark.parametrize(
    "known",
    [
        market(false_s=(190,) * (MIN_FALSE - 1)),
        market(confirmed_s=(600,) * (MIN_CONFIRMED - 1)),
        market(confirmed_s=(600,) * 21),  # none lost, and still not sure
        market(days=suggestions.MIN_DAYS - 1),
        market(confirmed_s=(185,) * 30),  # as short as what is false
        market(false_s=(900,) * 12),  # the dwell would have to be five times as long
    ],
)
def test_without_evidence_nothing_is_suggested(known):
    assert suggest(known, Limits(180)) == []


def test_days_are_those_of_the_center():
    known = market(days=8, day_s=DAY_S / 2)
    assert suggest(known, Limits(180)) == []
    assert suggest(known, Limits(180), timezone(timedelta(hours=12))) != []


def test_a_dwell_is_tried_with_the_wanted_area():
    known = (Sample(1, "false", (presence(900, (0, 0.6), (200, 0.4)),)),)
    found = Outlook(Place("b", "c", "z", "r"), Statistics("s"), Wanted(1, Limits(180, 0.5), ground=True), known)
    assert [outlook_json(found, 240, area)["trial"][0]["later_s"] for area in (None, 0.3)] == [None, 60]


stays = some.builds(
    lambda stood_s, areas, at: Presence(
        at * DAY_S, at * DAY_S + stood_s, tuple(Stretch(at * DAY_S + n * 100, area) for n, area in enumerate(areas))
    ),
    some.floats(1, 5000),
    some.lists(some.none() | some.floats(0.05, 5), min_size=1, max_size=3),
    some.integers(0, 12),
)
alerts = some.lists(
    some.tuples(some.sampled_from(["false", "confirmed"]), some.lists(stays, min_size=1, max_size=2)), max_size=120
).map(lambda found: [Sample(at, verdict, tuple(parts)) for at, (verdict, parts) in enumerate(found)])
short_and_long = some.tuples(
    some.lists(some.floats(181, 400), max_size=40),
    some.lists(some.floats(185, 3000), max_size=60),
    some.integers(1, 20),
).map(lambda of: market(*of))


@given(alerts | short_and_long, some.floats(10, 900), some.none() | some.floats(0.05, 3))
def test_no_suggestion_loses_more_than_allowed_or_rests_on_too_few(known, dwell_s, area_m2):
    now = Limits(dwell_s, area_m2)
    there = reported(known, now)
    counts = Counter(one.verdict for one in there)
    for found in suggest(known, now):
        gone = Counter(one.verdict for one in there if one.reported_s(found.limits) is None)
        assert counts["confirmed"] >= MIN_CONFIRMED
        assert counts["false"] >= MIN_FALSE
        assert counts["confirmed"] - gone["confirmed"] >= KEPT * counts["confirmed"]
        assert (gone["false"], gone["confirmed"]) == (found.spared, found.lost)
        assert gone["false"] > 0
        # bounds, and never a narrower one
        assert dwell_s <= found.limits.dwell_s <= min(suggestions.MOST_TIMES * dwell_s, suggestions.DWELL_S[1])
        assert found.limits.min_area_m2 in (area_m2, None) or found.limits.min_area_m2 <= suggestions.AREA_M2[1]
        assert area_m2 is None or found.limits.min_area_m2 >= area_m2


@given(short_and_long, some.floats(10, 900), some.floats(10, 900))
def test_a_longer_dwell_never_reports_more_or_earlier(known, one_s, other_s):
    shorter, longer = Limits(min(one_s, other_s)), Limits(max(one_s, other_s))
    for sample in known:
        was_s, is_s = sample.reported_s(shorter), sample.reported_s(longer)
        assert is_s is None or (was_s is not None and was_s <= is_s)
