"""What is accepted is wanted of the box, with who and why; what is released was a false alarm."""

import json

import pytest

from collector.boxes import wanted
from collector.learning import acceptance
from collector.learning.outlook import look
from collector.learning.replay import Limits
from collector.learning.verdicts import Place
from collector.store import AuditRow, TrainingRelease
from collector.tickets.desk import RefusedError
from tests.collector.learning.conftest import LI, market
from tests.incidents import jpeg

FRONT = Place("box-1", "cam-1", "front", "encroachment")


def accept(zone, limits, place=FRONT, based_on=1, reason="游商"):
    return zone.desk.write(
        acceptance.accept, LI, place, limits, reason=reason, based_on=based_on, now_ms=zone.now_ms
    ).revision


def test_a_suggestion_is_the_next_revision_and_not_made_again(zone):
    market(zone)
    found = zone.desk.read(look, FRONT, {"s"}, zone.now_ms)
    assert zone.desk.read(look, FRONT, {"elsewhere"}, zone.now_ms) is None
    (suggestion,) = found.suggestions
    assert len(found.try_out(suggestion.limits).gone("false")) == suggestion.spared == 12
    assert accept(zone, suggestion.limits) == 2
    with zone.desk.store.transaction() as session:
        row = wanted.newest(session, "box-1")
        (held,) = json.loads(row.document)["camera"][0]["zone"]
        assert (held["dwell_s"], row.state, row.by, row.based_on) == (210, "wanted", "person:li", 1)
        line = session.query(AuditRow).filter_by(action="learning.accept").one()
        told = json.loads(line.detail)
        assert (line.actor, line.object, told["reason"]) == ("person:li", f"zone/{FRONT}", "游商")
        assert look(session, FRONT, None, zone.now_ms).suggestions == ()


@pytest.mark.parametrize(
    ("limits", "more", "code"),
    [
        (Limits(5), {}, "invalid"),
        (Limits(4000), {}, "invalid"),
        (Limits(200, 9.0), {}, "invalid"),
        (Limits(200, 0.5), {}, "invalid"),  # its camera has no plane
        (Limits(180), {}, "not_now"),
        (Limits(200), {"based_on": 0}, "changed"),
        (Limits(200), {"reason": " "}, "missing"),
        (Limits(200), {"place": Place("box-1", "cam-1", "side", "encroachment")}, "unknown"),
        (Limits(200), {"place": Place("box-1", "cam-1", "front", "crowding")}, "unknown"),
        (Limits(200), {"place": Place("box-9", "cam-1", "front", "encroachment")}, "unknown"),
    ],
)
def test_what_cannot_be_accepted_changes_nothing(zone, limits, more, code):
    with pytest.raises(RefusedError) as refused:
        accept(zone, limits, **more)
    assert refused.value.code == code
    assert zone.desk.read(wanted.newest, "box-1").revision == 1


def test_only_false_alarms_are_released_and_once(zone):
    zone.alert("false_alarm", picture=jpeg(1))
    zone.alert("confirm", picture=jpeg(2))
    with zone.desk.store.writing() as session:
        assert acceptance.release(session, LI, [1], "光影", zone.now_ms) == 1
        assert acceptance.release(session, LI, [1], "光影", zone.now_ms) == 0
        row = session.query(TrainingRelease).one()
        assert (row.ticket, row.by, row.why) == (1, "person:li", "光影")
    for numbers, code in (([2], "not_now"), ([], "missing"), ([9], "unknown")):
        with zone.desk.store.writing() as session, pytest.raises(RefusedError) as refused:
            acceptance.release(session, LI, numbers, "光影", zone.now_ms)
        assert refused.value.code == code
