"""Policies: what is refused, revisions, and what a policy decides."""

import json
from datetime import date, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from collector.people.actor import SYSTEM
from collector.store import AuditRow, TicketEvent
from collector.tickets import policy
from collector.tickets.commands import read_file
from collector.tickets.desk import RefusedError
from collector.tickets.machine import OPEN, State
from collector.tickets.policy import BUILT_IN, Offence, Policy, PolicyError, Span, read_policy
from collector.tickets.reasons import load_reasons
from protocol.documents import SettingsError
from tests.collector.tickets.conftest import LI
from tests.services import BIN, run

ROOT = Path(__file__).resolve().parents[3]
NOON_MS = round(datetime(2026, 3, 2, 12, 0, tzinfo=BUILT_IN.zone).timestamp() * 1000)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"shopp": {}}, "unknown key 'shopp'; the nearest known one is 'shop'"),
        ({"shop": {"minutes": {"minutes": 5, "hours": 1}}}, "expected one of minutes, hours"),
        ({"shop": {"minutes": {}}}, "expected one of minutes, hours"),
        ({"shop": {"minutes": {"minutes": -1}}}, "shop, minutes: minutes: "),
        ({"quiet": {"hours": ["24/7"]}}, "expected an hour of the week in which one may be told"),
        ({"quiet": {"hours": ["25:00-26:00"]}}, "quiet: hours"),
        ({"work": {"hours": ["13:00-17:00", "09:00-12:00"]}}, "expected hours in order and apart"),
        ({"work": {"hours": []}}, "work: hours"),
        ({"work": {"hours": ["22:00-02:00"]}}, "expected times of one day"),
        ({"work": {"days": "Mo-Xx"}}, "work: days"),
        ({"timezone": "Asia/Hangzhou"}, "timezone"),
        ({"region": "3301"}, "region"),
        ({"first": "police"}, "first"),
        ({"offences": [{"count": 1, "within_days": 30}]}, "offence.*count"),
        ({"escalations": {"closed": [{}]}}, "expected one of pending_review"),
        ({"escalations": {"handling": []}}, "expected at least one level"),
        ({"escalation": []}, "escalation"),
        ({"unreviewed": [{"hours": []}]}, "unreviewed.*hours"),
        ({"version": 2}, "version"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_in_one_line(values, expected):
    with pytest.raises(PolicyError, match=expected) as fault:
        read_policy(values, "policy.toml")
    assert "\n" not in str(fault.value)
    assert str(fault.value).startswith("policy.toml: ")


def test_the_example_is_the_built_in_one_with_a_region():
    example = read_file(ROOT / "config/policy.example.toml")
    assert policy.differs(BUILT_IN, example) == {"region": ("", "330105")}


def test_a_policy_is_the_same_after_its_document():
    assert Policy.model_validate_json(BUILT_IN.model_dump_json()) == BUILT_IN


def test_revisions_are_kept_and_a_street_has_its_own(desk):
    other = Policy(region="330106")
    with desk.store.writing() as session:
        assert policy.current(session, "a").number is None
        first = policy.put(session, "*", BUILT_IN, SYSTEM, 1)
        second = policy.put(session, "a", other, SYSTEM, 2, "why")
        assert policy.put(session, "a", other, SYSTEM, 3).number == second.number  # nothing changed: no revision
        third = policy.put(session, "a", BUILT_IN, SYSTEM, 4)
        assert [row.revision for row in policy.history(session, "a")] == [2, 1]
        assert policy.current(session, "a").number == third.number
        assert policy.current(session, "b").number == first.number
        assert policy.revision(session, second.number).policy == other
        assert [row.action for row in session.query(AuditRow)] == ["policy.set"] * 3


def test_a_new_center_gets_one_policy_once(desk):
    for _ in range(2):
        desk.write(policy.begin, SYSTEM, "330105001", "Asia/Shanghai", 1)
    (row,) = desk.read(policy.history, "*")
    assert desk.read(policy.current, "x").policy.region == "330105"
    assert row.author == "system"


@pytest.mark.parametrize(
    ("days", "expected"), [((), None), ((29.9,), 2), ((30.1,), None), ((1, 2), 3), ((1, 40), 2), ((1, 2, 3, 4), 3)]
)
def test_a_second_and_a_third_offence_within_its_days(days, expected):
    found = BUILT_IN.offence(days)
    assert (None if found is None else found.count) == expected


@pytest.mark.parametrize(
    ("rule", "shop", "offence", "first"),
    [
        ("encroachment", True, None, "shop"),
        ("encroachment", False, None, "community"),
        ("encroachment", True, Offence(count=3, within_days=30, first="community"), "community"),
        ("crowding", False, None, "officer"),
        ("something new", True, None, "shop"),
    ],
)
def test_who_comes_first(rule, shop, offence, first):
    assert BUILT_IN.begins_with(rule, shop=shop, offence=offence) == first


def test_every_open_state_but_the_shops_has_a_deadline():
    for state in OPEN:
        assert (BUILT_IN.deadline(state, "normal") is None) == (state == State.NOTICED)
        assert BUILT_IN.chain(state)
    assert BUILT_IN.deadline(State.HANDLING, "very_urgent") == ("handle", Span(hours=1))
    assert BUILT_IN.deadline(State.APPEALED, "very_urgent") == ("appeal", Span(work_days=3))


@pytest.mark.parametrize(
    ("hour", "audience", "expected"),
    [(21, "shop", 21), (22, "shop", 7), (3, "shop", 7), (3, "room", 3), (7, "shop", 7)],
)
def test_quiet_hours(hour, audience, expected):
    at_ms = NOON_MS + (hour - 12) * 3_600_000
    found = BUILT_IN.working_time.local(BUILT_IN.not_before_ms(audience, at_ms))
    assert (found.hour, found.minute) == (expected, 0)


def test_what_may_not_be_meant_is_said():
    odd = Policy(unreviewed=({"hours": ["22:00-07:00"]},))
    lines = policy.warnings(odd, date(2026, 12, 1))
    assert [line.split(" / ")[1].split(":")[0] for line in lines] == ["region", "work.calendar", "unreviewed.hours 22"]
    assert "2027" in lines[1]


def test_the_commands(tmp_path):
    def policies(*words):
        return run(BIN / "cityeye-collector", "policies", *words)

    settings = tmp_path / "center.toml"
    settings.write_text('version = 1\n[center]\nid = "demo"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n')
    good, bad = tmp_path / "good.toml", tmp_path / "bad.json"
    good.write_text('region = "330105"\n[shop]\nminutes = { minutes = 7 }\n')
    bad.write_text('{"shop": {"minute": 7}}')
    there = ("--settings", settings, "--street", "a")
    assert policies("check", good).returncode == 0
    refused = policies("check", bad)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "nearest known one is 'minutes'" in refused.stderr
    made = policies("set", good, *there, "--reason", "new rules")
    assert made.returncode == 0, made.stderr
    assert 'shop: {"minutes": {"minutes": 5}' in made.stdout
    assert "street a: revision 1" in made.stdout
    assert "note  no box and nobody's role names street a; there are none yet" in made.stderr
    shown = policies("show", *there, "--json")
    assert json.loads(shown.stdout)["shop"]["minutes"] == {"minutes": 7}
    assert "new rules" in policies("show", *there, "--history").stdout


OWN = '[[reason]]\nid = "own"\nzh = "本街道"\nen = "our own"\n'


def newest(street):
    row = street.desk.one(select(TicketEvent).where(TicketEvent.kind == "false_alarm"))
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
