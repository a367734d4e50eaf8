"""What people report goes the same way as what cameras see, except that people look in their place."""

import pytest
from sqlalchemy import select

from collector.evidence import store_check
from collector.exchange.reports import Report, ReportError, take
from collector.indicators import keeping
from collector.learning.verdicts import statistics
from collector.people.actor import PUBLIC, Actor, Grant, Role
from collector.places import shops
from collector.places.codes import load_codes
from collector.store import AuditRow, ReportRow, Ticket
from collector.tickets.desk import RefusedError
from tests import incidents, scenes
from tests.collector.tickets.conftest import CHEN, LI, WANG
from tests.incidents import Case
from tests.people import bearer, browser, make_pages, make_person, sign_in
from tests.places import AROUND, AUTHOR

CODES = load_codes()
SHOP = {"id": "shop-9", "name": "茶铺", "street": "s", "address": "示例路 9 号", "lon": "120.14", "lat": "30.31"}
HOTLINE = Report("hotline", "0507", "s", "纸箱堆在人行道上", address="示例路 12 号", reference="12345-77")


@pytest.fixture
def town(street):
    """A street with a shop of its register."""
    street.desk.write(shops.add, SHOP, AUTHOR, AROUND)
    street.policy(region="330105")
    return street


def report(town, one, actor=LI):
    ticket, new = town.desk.write(take, actor, one, CODES, town.now_ms)
    town.wait()
    return ticket.number, new


def refused(code, town, actor, verb, **args):
    with pytest.raises(RefusedError) as fault:
        town.act(actor, verb, **args)
    assert fault.value.code == code
    return fault.value


def test_people_look_at_register_and_close_a_call_to_the_hotline(town):
    assert report(town, HOTLINE) == (1, True)
    ticket = town.ticket(1)
    got = (ticket.state, ticket.source, ticket.rule, ticket.box_id, ticket.street)
    assert got == ("pending_review", "hotline", "0507", None, "s")
    assert town.kinds("operator") == ["alert"]
    assert "confirm" not in refused("unverified", town, LI, "confirm").allowed
    town.act(LI, "inspect", to="wang")
    assert [(one.kind, one.to) for one, _ in town.orders.values()][1:] == [("task", "wang")]
    town.act(WANG, "found", result="not_exist")
    refused("unverified", town, LI, "confirm")
    town.act(CHEN, "found", result="exists", reason="on the corner")
    assert town.act(LI, "confirm").state == "community"
    assert town.act(LI, "register").case_number.startswith("330105")
    town.act(LI, "dispatch", to="chen")
    town.act(CHEN, "accept")
    ticket = town.act(CHEN, "feed_back")
    assert (ticket.state, ticket.verify) == ("verifying", None)
    town.wait(3)
    assert town.asked() == []  # no box is asked, nor is the desk kept busy with waiting for one
    assert "unseen" in town.kinds("operator")
    assert town.act(LI, "close", reason="picture shows it").state == "closed"
    town.wait(60)
    assert town.ticket(1).state == "closed"


def test_a_reported_shop_is_told_and_seen_put_right_in_time(town):
    report(town, Report("shop", "0504", shop="shop-9", description="neighbour's crates"))
    town.act(WANG, "found", result="exists")
    assert town.act(LI, "confirm").state == "noticed"
    assert town.kinds("shop") == ["shop_notice"]
    refused("untold", town, LI, "put_right")
    town.act(LI, "told", reason="by telephone")
    ticket = town.act(WANG, "put_right", reason="seen from across the street")
    assert (ticket.state, ticket.cleared_ms is not None) == ("self_corrected", True)
    report(town, Report("grid", "0504", shop="shop-9"), WANG)
    # what cameras and people saw there counts together, and who has seen it needs nobody to look
    assert town.act(LI, "confirm", number=2).state == "noticed"


def test_steps_of_people_are_not_for_what_a_camera_watches(town):
    town.appears()
    refused("not_now", town, LI, "inspect", to="wang")
    refused("not_now", town, WANG, "found", result="exists")
    town.act(LI, "confirm")
    refused("not_now", town, WANG, "put_right")


def test_the_same_reference_again_is_the_same_ticket(town):
    assert report(town, HOTLINE) == (1, True)
    assert report(town, HOTLINE) == (1, False)
    assert report(town, HOTLINE, WANG_ROOM) == (2, True)  # another's numbers are their own


WANG_ROOM = Actor("person", "zhou", "周", frozenset({Grant(Role.OPERATOR, "s")}))


@pytest.mark.parametrize(
    ("field", "actor", "values"),
    [
        ("source", LI, {"source": "video"}),
        ("source", WANG, {"source": "hotline"}),  # who works in the street tells what they saw
        ("source", PUBLIC, {"source": "grid"}),
        ("code", LI, {"code": "9999"}),
        ("street", LI, {"street": "elsewhere"}),
        ("shop", LI, {"shop": "shop-1"}),  # not in the register
        ("shop", LI, {"shop": "shop-9", "street": "other"}),
        ("address", LI, {"address": " "}),  # no place at all
        ("lat", LI, {"lon": 120.0}),
        ("lat", LI, {"lon": 120.0, "lat": 91.0}),
        ("lon", LI, {"lon": float("nan"), "lat": 30.0}),
        ("cell", LI, {"cell": "330105001001001"}),
        ("description", LI, {"description": "x" * 2001}),
        ("seen_at", LI, {"seen_ms": 1}),
    ],
)
def test_what_is_wrong_with_a_report_is_named(town, field, actor, values):
    values = {"source": "public", "code": "0504", "street": "s", "address": "1"} | values
    with pytest.raises(ReportError) as fault:
        report(town, Report(**values), actor)
    assert fault.value.field == field
    assert town.desk.rows(select(ReportRow)) == []


def test_pages_and_api_show_a_ticket_without_a_camera(town):
    desk = town.desk
    app = make_pages(desk)
    for person, role in (("li", "operator"), ("wang", "grid_worker"), ("wu", "viewer"), ("far", "operator@other")):
        make_person(desk.store, person, role if "@" in role else f"{role}@s")
    told = {"source": "hotline", "code": "0504", "street": "s", "address": "示例路 3 号", "reference": "a-1"}
    made = browser(app).post("/api/reports", json=told, headers=bearer(desk.store, "li"))
    assert made.status_code == 201, made.text
    ticket = made.json()
    assert (ticket["rule"], ticket["box"], ticket["report"]["code"]) == ("encroachment", None, "0504")
    assert "inspect" in ticket["allowed"]
    assert "confirm" not in ticket["allowed"]
    again = browser(app).post("/api/reports", json=told | {"address": "x"}, headers=bearer(desk.store, "li"))
    assert again.status_code == 200
    client = browser(app)
    sign_in(desk.store, "li", client)
    for path in ("/", "/tickets", "/tickets/1", "/board/1", "/board/cards?number=1", "/tickets?source=hotline"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "示例路 3 号" in answer.text, path
        assert "12345" in answer.text or path in ("/", "/tickets", "/board/cards?number=1"), path
    assert client.get("/api/tickets/1/place").json()["spot"]["lon"] is None
    assert client.post("/api/tickets/1/inspect", json={"seen": 1, "args": {"to": "wang"}}).status_code == 200
    sign_in(desk.store, "wang", client)
    assert "示例路 3 号" in client.get("/tasks").text
    assert 'value="not_exist"' in client.get("/tasks/1").text
    page = client.post("/tasks/1/found", data={"seen": "2", "result": "exists", "reason": "crates"})
    assert page.status_code == 303, page.text
    sign_in(desk.store, "far", client)
    assert client.get("/tickets/1").status_code == 404
    assert desk.get(Ticket, 1).found == "exists"
    assert "ticket.reported" in set(desk.rows(select(AuditRow.action)))


def test_the_form_takes_a_picture_for_this_street_alone(town):
    desk = town.desk
    app = make_pages(desk)
    for person, role in (("wang", "grid_worker@s"), ("far", "operator@other")):
        make_person(desk.store, person, role)
    client = browser(app)
    sign_in(desk.store, "wang", client)
    assert 'value="grid"' in client.get("/report").text
    assert 'value="hotline"' not in client.get("/report").text
    fields = {"source": "grid", "code": "0501", "street": "s", "position": "120.14, 30.31", "description": "推车"}
    picture = {"picture": ("a.jpg", scenes.jpeg(scenes.street(3)), "image/jpeg")}
    made = client.post("/report", data=fields, files=picture)
    assert made.headers["location"] == "/tickets/1", made.text
    (shown,) = client.get("/api/tickets/1").json()["report"]["pictures"]
    assert (shown["role"], shown["masked"], shown["author"]) == ("at", False, "person:wang")
    assert client.get(shown["url"]).status_code == 200
    assert shown["sha256"] in client.get("/tickets/1").text
    wrong = client.post("/report", data=fields | {"position": "here"}, files=picture)
    assert wrong.status_code == 422
    assert "推车" in wrong.text
    sign_in(desk.store, "far", client)
    assert client.get(shown["url"]).status_code == 404


def test_other_rooms_know_tickets_of_no_camera(town):
    desk = town.desk
    report(town, HOTLINE)
    town.act(LI, "false_alarm", reason="nobody found it")
    assert list(desk.read(store_check.check, desk.files)) == []
    assert desk.read(statistics, None, town.now_ms + 1) == {}, "it is no zone's"
    assert desk.read(keeping.streets) == ["s"]


@pytest.mark.parametrize("name", ["report-1", "report-abc"])
def test_no_box_writes_into_what_people_reported(town, name):
    town.desk.take(incidents.status())
    one = type("Named", (Case,), {"id": name})()
    assert town.desk.take(one.picture("at", number=5))[1] == ["invalid"]
    assert town.desk.take(one.opened())[1] == ["invalid"]
