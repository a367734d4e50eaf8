"""Statistics of zones against a table written by hand, and samples as the messages say."""

from math import inf

import pytest

from collector.learning.replay import Limits
from collector.learning.verdicts import WEEKS, Place, samples, statistics, verdict
from collector.tickets import desk as door
from tests.collector.learning.conftest import LI

FRONT, SIDE = Place("box-1", "cam-1", "front", "encroachment"), Place("box-1", "cam-2", "side", "encroachment")
ALERTS = [
    # place, days ago, verdict, reason
    (FRONT, 1, "confirm", None),
    (FRONT, 1, "false_alarm", "people"),
    (FRONT, 2, "false_alarm", "people"),
    (FRONT, 8, "false_alarm", "awning"),
    (FRONT, 8, "false_alarm", None),
    (FRONT, 8, "", None),  # clear before anyone looked: an alert without a verdict
    (FRONT, 57, "false_alarm", "people"),  # longer ago than eight weeks
    (SIDE, 3, "confirm", None),
    (SIDE, 15, "confirm", None),
    (SIDE, 15, "false_alarm", "weather"),
]
EXPECTED = {
    FRONT: (6, 1, 4, {"people": 2, "awning": 1, "": 1}, {1: (3, 1, 2), 2: (3, 0, 2)}),
    SIDE: (3, 2, 1, {"weather": 1}, {1: (1, 1, 0), 3: (2, 1, 1)}),
}


def test_statistics_are_those_of_the_table(zone):
    for place, days, verb, reason in ALERTS:
        zone.alert(verb, days_ago=days, reason_id=reason, camera=place.camera, zone=place.zone)
    with zone.desk.store.transaction() as session:
        found = statistics(session, None, zone.now_ms)
        assert list(found) == [FRONT, SIDE]
        for place, (alerts, confirmed, false, reasons, weeks) in EXPECTED.items():
            one = found[place]
            assert (one.street, one.alerts, one.confirmed, one.false) == ("s", alerts, confirmed, false)
            assert dict(one.reasons) == reasons
            assert one.share == false / (confirmed + false)
            told = {WEEKS - at: vars(week) for at, week in enumerate(one.weeks) if week.alerts}
            names = ("alerts", "confirmed", "false")
            assert told == {ago: dict(zip(names, counts, strict=True)) for ago, counts in weeks.items()}
        assert list(statistics(session, None, zone.now_ms, SIDE)) == [SIDE]
        assert statistics(session, {"elsewhere"}, zone.now_ms) == {}


def test_a_judgement_taken_back_counts_as_the_newest_says(zone):
    number, _ = zone.alert("false_alarm", reason_id="people", stood_s=None)
    zone.desk.write(door.act, LI, number, "reconsider", at_ms=zone.now_ms, reason="看错")
    zone.desk.write(door.act, LI, number, "false_alarm", at_ms=zone.now_ms, reason_id="light")
    assert dict(zone.desk.read(statistics, None, zone.now_ms)[FRONT].reasons) == {"light": 1}


@pytest.mark.parametrize(
    ("state", "outcome", "reviewed", "expected"),
    [
        ("false_alarm", None, True, "false"),  # confirmed first, then found to be false
        ("closed", "handled", True, "confirmed"),
        ("noticed", None, True, "confirmed"),
        ("noticed", None, False, ""),  # told by the policy, nobody has looked
        ("closed", "withdrawn", True, ""),
        ("appealed", None, True, ""),
        ("pending_review", None, True, ""),
        ("exempt", None, True, ""),
        ("lapsed", None, False, ""),
    ],
)
def test_what_counts_as_a_verdict(state, outcome, reviewed, expected):
    assert verdict(state, outcome, reviewed=reviewed) == expected


def test_samples_are_what_the_messages_said(zone):
    zone.alert("confirm", stood_s=400, area_m2=1.4)
    zone.alert("false_alarm", stood_s=None, area_m2=0.3, reason_id="hawker")
    zone.alert("confirm", zone="another")
    zone.alert("", stood_s=90)
    confirmed, false = zone.desk.read(samples, FRONT, zone.now_ms)
    assert (confirmed.ticket, confirmed.verdict, confirmed.reason) == (1, "confirmed", "")
    (presence,) = confirmed.presences
    assert presence.end_s - presence.opened_s == 400
    assert [one.area_m2 for one in presence.stretches] == [1.4, 1.4]
    assert (false.ticket, false.reason, false.presences[0].end_s) == (2, "hawker", inf)
    assert confirmed.reported_s(Limits(400)) is None
    assert false.reported_s(Limits(1800, 0.4)) is None
