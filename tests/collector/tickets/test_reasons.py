"""Reasons of false alarms are data, and are kept by id."""

import json

import pytest

from collector.store import TicketEvent
from collector.tickets.desk import RefusedError
from collector.tickets.reasons import load_reasons
from protocol.documents import SettingsError
from tests.collector.tickets.conftest import LI

OWN = '[[reason]]\nid = "own"\nzh = "本街道"\nen = "our own"\n'


def newest(street):
    with street.desk.store.transaction() as session:
        row = session.query(TicketEvent).filter_by(kind="false_alarm").order_by(TicketEvent.id.desc()).first()
        return json.loads(row.detail).get("reason_id"), row.reason


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, (None, "")),
        ({"reason": "看错了"}, (None, "看错了")),
        ({"reason_id": "people"}, ("people", "行人驻足或经过 / People standing or passing by")),
        ({"reason_id": "people", "reason": "排队"}, ("people", "排队")),
    ],
)
def test_a_false_alarm_keeps_its_reason(street, args, expected):
    street.appears()
    street.act(LI, "false_alarm", **args)
    assert newest(street) == expected


def test_a_reason_that_is_not_in_the_table_is_refused(street):
    street.appears()
    with pytest.raises(RefusedError, match=r"reason_id: expected one of people, .* got 'nobody'") as refused:
        street.act(LI, "false_alarm", reason_id="nobody")
    assert refused.value.code == "invalid"
    assert street.state() == "pending_review"


def test_a_center_has_its_own_table(tmp_path):
    path = tmp_path / "reasons.toml"
    path.write_text(OWN, "utf-8")
    assert [one.id for one in load_reasons(path).reason] == ["own"]
    (tmp_path / "twice.toml").write_text(OWN * 2, "utf-8")
    with pytest.raises(SettingsError, match="own is there twice"):
        load_reasons(tmp_path / "twice.toml")
