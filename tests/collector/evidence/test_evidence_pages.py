"""Packages and legal holds at the pages: who may, and what stands in the record."""

import json

import pytest
from sqlalchemy import select

from collector.evidence import package, retention
from collector.people import roster
from collector.people.actor import SYSTEM
from collector.store import AuditRow, Ticket
from tests.incidents import Case, status
from tests.people import browser, make_pages, make_person, now_ms, sign_in


@pytest.fixture
def client(desk):
    case = Case()
    desk.take(status(), case.picture(), case.opened())
    make_person(desk.store, "li", "operator@s")
    make_person(desk.store, "ann", "viewer@s")
    make_person(desk.store, "far", "operator@elsewhere")
    desk.write(roster.change, SYSTEM, "li", now_ms(), unit="执法一队")
    return browser(make_pages(desk))


def test_a_package_takes_a_right_and_a_reason_and_is_on_record(desk, client):
    path = "/evidence/tickets/1/package"
    for who, status_code in (("ann", 403), ("far", 404)):
        sign_in(desk.store, who, client)
        assert client.post(path, data={"reason": "复核"}).status_code == status_code
    sign_in(desk.store, "li", client)
    assert client.post(path, data={"reason": "x"}).status_code == 400
    answer = client.post(path, data={"reason": "行政复议"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    faults, manifest = package.check(answer.content)
    assert (faults, manifest["ticket"], len(manifest["pictures"])) == ([], 1, 1)
    (line,) = desk.rows(select(AuditRow).where(AuditRow.action == "evidence.package"))
    told = json.loads(line.detail)
    assert (line.actor, told["reason"], told["name"], told["unit"]) == ("person:li", "行政复议", "Li", "执法一队")
    assert told["pictures"] == [manifest["pictures"][0]["sha256"]]
    _, files, _ = package._open(answer.content)
    assert "evidence.package" in files["access.json"].decode()


def test_an_original_is_on_record_with_name_and_unit_and_not_shown_once_deleted(desk, client):
    sign_in(desk.store, "li", client)
    ((name, _),) = desk.files.names()
    assert client.post(f"/evidence/{name}/original", data={"reason": "复核"}).status_code == 200
    with desk.store.writing() as session:
        (line,) = session.scalars(select(AuditRow).where(AuditRow.action == "evidence.original"))
        assert json.loads(line.detail) | {"box": ""} == {"reason": "复核", "box": "", "name": "Li", "unit": "执法一队"}
        ticket = session.get(Ticket, 1)
        ticket.open, ticket.state, ticket.closed_ms = 0, "closed", 1
    retention.retain(desk.store, desk.files, retention.EvidenceSection(), now_ms() + 10**11, desk.folder)
    for path in (f"/evidence/{name}.jpg", f"/evidence/{name}/160.jpg"):
        assert client.get(path).status_code == 404
    assert client.post(f"/evidence/{name}/original", data={"reason": "复核"}).status_code == 404
    page = client.get("/tickets/1").text
    assert "工单已办结" in page


def test_a_hold_is_set_and_lifted_by_a_button(desk, client):
    sign_in(desk.store, "ann", client)
    assert "/evidence/tickets/1/hold" not in client.get("/tickets/1").text
    assert client.post("/evidence/tickets/1/hold", data={"reason": "诉讼"}).status_code == 403
    sign_in(desk.store, "li", client)
    assert "/evidence/tickets/1/hold" in client.get("/tickets/1").text
    assert client.post("/evidence/tickets/1/hold", data={"reason": "诉讼中"}).headers["location"] == "/tickets/1"
    page = client.get("/tickets/1").text
    assert ("诉讼中" in page, 'name="lift"' in page) == (True, True)
    assert client.post("/evidence/tickets/1/hold", data={"reason": "诉讼"}).status_code == 409
    assert client.post("/evidence/tickets/1/hold", data={"reason": "结案了", "lift": "1"}).status_code == 303
    rows = desk.rows(select(AuditRow.action).where(AuditRow.object == "ticket/1"))
    assert [one for one in rows if "hold" in one or "held" in one] == ["evidence.held", "evidence.hold_lifted"]
