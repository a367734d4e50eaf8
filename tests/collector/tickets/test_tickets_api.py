"""Tickets, policies, pauses and the calendar over HTTP, and the page that shows who did what."""

import json
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from collector.people import roster
from collector.people.actor import SYSTEM, Actor, Grant, Role
from collector.store import Ticket, TicketEvent
from collector.web import rights
from tests.collector.tickets.conftest import CHEN, LI, WANG
from tests.collector.tickets.test_desk_steps import ELSEWHERE, refused
from tests.people import at_the_center

ADMIN = Actor("person", "boss", "", frozenset({Grant(Role.ADMIN, "s"), Grant(Role.VIEWER, "other")}))


@pytest.fixture
def client(street):
    street.who = LI
    with at_the_center(street.desk) as client:
        client.app.dependency_overrides[rights.actor] = lambda: street.who
        yield client


def post(client, path, **body):
    return client.post(f"/api/{path}", json=body)


def test_a_step_over_http_and_what_the_page_shows_of_it(street, client):
    street.appears()
    ticket = client.get("/api/tickets/1").json()
    assert ("confirm" in ticket["allowed"], ticket["version"], ticket["street"]) == (True, 1, "s")
    done = post(client, "tickets/1/confirm", seen=1, reason="goods on the pavement")
    assert done.status_code == 200, done.text
    assert (done.json()["state"], done.json()["reviewer"], done.json()["version"]) == ("noticed", "person:li", 2)
    (line,) = [one for one in done.json()["events"] if one["kind"] == "confirm"]
    got = (line["author"], line["reason"], line["before"]["state"])
    assert got == ("person:li", "goods on the pavement", "pending_review")
    page = client.get("/tickets/1").text
    for text in ("已提醒商户", "本环节时限", ">li<", "goods on the pavement", "核实属实"):
        assert text in page
    assert "已提醒商户" in client.get("/tickets").text


@pytest.mark.parametrize(
    ("who", "path", "body", "status", "code"),
    [
        (LI, "tickets/9/confirm", {}, 404, "unknown"),
        (ELSEWHERE, "tickets/1/confirm", {}, 404, "unknown"),  # of another street: there is no such ticket for them
        (LI, "tickets/1/accept", {}, 409, "not_now"),
        (LI, "tickets/1/fly", {}, 422, "unknown_verb"),
        (LI, "tickets/1/duplicate", {}, 422, "missing"),
        (LI, "tickets/1/confirm", {"args": {"at_ms": 1}}, 422, "invalid"),
    ],
)
def test_a_refusal_over_http(street, client, who, path, body, status, code):
    street.appears()
    street.who = who
    answer = post(client, path, **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert isinstance(answer.json()["allowed"], list)
    assert street.steps() == []


def test_the_list_is_asked_for_by_what_one_works_on(street, client):
    street.appears()
    street.appears(shop="shop-2", zone="side")
    case = street.appears(rule="crowding", shop=None, zone="square")
    street.clears(case)
    street.act(LI, "confirm")

    def numbers(query):
        return [one["number"] for one in client.get(f"/api/tickets?{query}").json()]

    assert numbers("") == [3, 2, 1]
    assert numbers("open=true") == [2, 1]
    assert numbers("state=noticed&state=lapsed") == [3, 1]
    assert numbers("rule=crowding") == [3]
    assert numbers("shop=shop-2") == [2]
    assert numbers("street=other") == []
    assert numbers("before=3&limit=1") == [2]
    assert numbers("overdue=true") == [2, 1]  # by the wall clock of the server they are long over
    assert numbers("paused=true") == []
    assert client.get("/api/tickets?state=nonsense").status_code == 422
    street.who = ELSEWHERE
    assert numbers("") == []
    assert client.get("/api/tickets/1").status_code == 404


def test_policies_over_http(street, client):
    assert client.put("/api/policies/s", json={"policy": {}}).status_code == 403  # an operator may not
    street.who = ADMIN
    begin = client.get("/api/policies/s").json()
    assert begin["revisions"] == []
    assert begin["notes"]
    changed = {**begin["policy"], "region": "330105"}
    assert client.put("/api/policies/s", json={"policy": changed, "reason": "numbers"}).json()["revision"] == 1
    stale = client.put("/api/policies/s", json={"policy": begin["policy"], "based_on": 0})
    assert (stale.status_code, stale.json()["code"]) == (409, "changed")
    wrong = client.put("/api/policies/s", json={"policy": {"shop": {"minute": 5}}})
    assert (wrong.status_code, "nearest known one is 'minutes'" in wrong.json()["detail"]) == (422, True)
    assert client.post("/api/policies/check", json={"first": "nobody"}).status_code == 422
    assert client.post("/api/policies/check", json=changed).status_code == 200
    found = client.get("/api/policies/s").json()
    assert (found["policy"]["region"], found["revisions"][0]["author"]) == ("330105", "person:boss")
    assert [one["street"] for one in client.get("/api/policies").json()] == ["s"]
    # whose street it is not, and who has not all of them
    assert client.put("/api/policies/other", json={"policy": {}}).status_code == 403
    assert client.put("/api/policies/*", json={"policy": {}}).status_code == 403


def test_pauses_over_http(street, client):
    body = {"box": "box-1", "camera": "cam-1", "zone": "front", "until": "2099-01-01T00:00:00Z", "reason": "wind"}
    assert post(client, "pauses", **body).status_code == 422  # too long
    body["until"] = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
    street.who = ELSEWHERE
    there, none = (post(client, "pauses", **{**body, "box": box}) for box in ("box-1", "box-9"))
    assert there.status_code == none.status_code == 422
    assert there.text == none.text.replace("box-9", "box-1"), "it says nothing of other streets"
    street.who = LI
    made = post(client, "pauses", **body).json()
    assert (made["street"], made["author"], made["tickets"]) == ("s", "person:li", 0)
    assert [one["number"] for one in client.get("/api/pauses").json()] == [made["number"]]
    street.who = ELSEWHERE
    assert [post(client, f"pauses/{one}/end").status_code for one in (made["number"], 99)] == [404, 404]
    street.who = LI
    assert post(client, f"pauses/{made['number']}/end").json()["ended_by"] == "person:li"
    assert post(client, f"pauses/{made['number']}/end").status_code == 404
    assert client.get("/api/pauses").json() == []
    assert len(client.get("/api/pauses?ended=true").json()) == 1


def test_the_calendar_over_http(client):
    found = client.get("/api/calendar?first=2026-02-13&last=2026-02-16").json()
    got = [(one["worked"], one["holiday"], one["make_up"]) for one in found["days"]]
    assert got == [(True, None, False), (True, None, True), (False, "春节", False), (False, "春节", False)]
    assert found["unknown_years"] == []
    assert client.get("/api/calendar?first=2026-12-31&last=2027-01-01").json()["unknown_years"] == [2027]
    assert client.get("/api/calendar?first=2026-12-31&last=2026-01-01").status_code == 422


STRANGE = [
    ("confirm", {"ticket": 1}, "ticket"),
    ("confirm", {"session": 1, "number": 2, "verb": "fly"}, "number"),
    ("confirm", {"\ud800": 1}, "ud800"),
    ("duplicate", {"of": True}, "of"),
    ("duplicate", {"of": 10**30}, "of"),
    ("exempt", {"permit": "on paper 12", "until_ms": "abc"}, "until_ms"),
    ("exempt", {"permit": "on paper 12", "until_ms": 9_000_000_000_000_000}, "until_ms"),
    ("exempt", {"permit": "on paper 12", "until_ms": 1}, "until_ms"),
    ("exempt", {"permit": "on paper 12", "permit_id": 4}, "permit_id"),
    ("exempt", {"permit": ["on paper 12"]}, "permit"),
    ("exempt", {"permit": "on\u0000paper"}, "permit"),
    ("exempt", {"permit": "nonsense"}, "permit"),
    ("exempt", {"permit": "of another street"}, "permit"),
    ("exempt", {"permit": "withdrawn"}, "permit"),
    ("exempt", {"permit": "over"}, "permit"),
    ("urge", {"urgency": {}}, "urgency"),
    ("extend", {"due_ms": 1.5, "reason": "x"}, "reason"),
    ("remark", {"pictures": [1]}, "pictures"),
]


@pytest.mark.parametrize(("verb", "args", "named"), STRANGE)
def test_what_a_verb_does_not_take_is_refused_and_named(street, client, verb, args, named):
    street.permit()
    street.permit("of another street", street="other")
    street.permit("withdrawn", state="withdrawn")
    street.permit("over", until_day="2026-01-31")
    street.appears()
    content = json.dumps({"args": args, "reason": "why"})
    answer = client.post(f"/api/tickets/1/{verb}", content=content, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert named in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]
    assert street.steps() == []


def test_an_officer_forges_no_picture_and_no_time(street, client):
    street.policy(first="officer")
    street.appears()
    for who, verb, args in ((LI, "confirm", {}), (LI, "dispatch", {"to": "chen"}), (CHEN, "accept", {})):
        street.act(who, verb, **args)
    street.who = CHEN
    for args in ({"pictures": [1]}, {"at_seen_ms": 5}, {"pictures": [{"role": "after", "sha256": "a" * 64}]}):
        assert post(client, "tickets/1/feed_back", args=args).json()["code"] == "invalid"
    assert street.state() == "handling"
    assert post(client, "tickets/1/feed_back").status_code == 200


@pytest.mark.parametrize(
    "detail",
    [
        {"pictures": [1], "state": "verifying"},
        {"pictures": 5, "seen": [], "due_ms": "soon", "shop_due_ms": 9e300},
        {"pictures": [{"sha256": 4}, {"sha256": "../x"}, {}], "due_ms": 9 * 10**15},
        {"permit": ["a"], "reason": {}, "clock": [1], "state": {}, "count": {}},
        [1],
    ],
)
def test_the_page_bears_whatever_is_in_the_time_line(street, client, detail):
    street.appears()
    street.act(LI, "remark", reason="x")
    with street.desk.store.writing() as session:
        line = session.scalars(select(TicketEvent).where(TicketEvent.kind == "remark")).one()
        line.detail, line.author = json.dumps(detail), "camera:box-1"
        session.get_one(Ticket, 1).due_ms = 9 * 10**15
    assert client.get("/tickets/1").status_code == 200
    assert client.get("/api/tickets/1").status_code == 200


def test_a_picture_of_which_a_person_spoke_is_none_of_a_camera(street, client):
    street.appears()
    street.act(LI, "remark", reason="x")
    kept = json.dumps({"pictures": [{"role": "after", "sha256": "a" * 64}]})
    for author, shown in (("person:chen", False), ("camera:box-1", True)):
        with street.desk.store.writing() as session:
            line = session.scalars(select(TicketEvent).where(TicketEvent.kind == "remark")).one()
            line.detail, line.author = kept, author
        assert ("a" * 64 in client.get("/tickets/1").text) == shown


def test_a_case_goes_to_somebody_who_works_there(street):
    street.policy(first="officer")
    street.confirmed()
    for to in ("13800000000", "+8613800000000", "somebody@example.org", "x\u0000", "Some Body"):
        assert refused(street, LI, "dispatch", to=to).code == "invalid"
    with street.desk.store.writing() as session:
        for person, *given in (
            ("chen", "officer@s"),
            ("wang", "grid_worker"),
            ("gone", "officer@s"),
            ("li", "operator@s", "officer@other"),
            ("13800000000", "viewer@s"),
        ):
            roster.add(session, SYSTEM, person, person, [Grant.read(one) for one in given], now_ms=0)
        roster.disable(session, SYSTEM, "gone", 0)
    for to in ("nobody-such", "gone", "li", "13800000000", "somebody@example.org", "person:chen", "Chen", "\ud800"):
        fault = refused(street, LI, "dispatch", to=to)
        assert (fault.code, "to:" in fault.text) == ("invalid", True)
    assert street.state() == "registered"
    assert street.act(LI, "dispatch", to="wang").assignee == "wang"
    street.act(WANG, "send_back", reason="not mine")
    assert street.act(LI, "dispatch", to="chen").assignee == "chen"
