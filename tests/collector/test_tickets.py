"""Which ticket an incident belongs to, and how a ticket goes on."""

import json
from dataclasses import fields

import pytest
from sqlalchemy import select

from collector.store import IncidentRow, Ticket
from collector.tickets.records import IncidentRecord, TicketRecord
from tests.incidents import START_S, Case


def tickets(desk):
    return desk.rows(select(Ticket).order_by(Ticket.number))


def kinds(desk, number):
    with desk.store.transaction() as session:
        return [event.kind for event in session.get(Ticket, number).events]


DESKS = {
    *("reviewer", "reviewed_ms", "policy", "due_ms", "due_kind", "due_entered", "level", "round", "told_ms"),
    *("shop_due_ms", "shop_asked_ms", "ordered", "urgency", "offences", "assignee", "case_number", "outcome"),
    *("permit", "duplicate_of", "pause", "paused_until_ms", "left_ms", "verify", "verdict"),
    *("source", "found"),
    *("first_told_ms", "registered_ms", "fed_back", "reworked", "overdue"),
}
"""Columns of a ticket that the inbox leaves alone."""


@pytest.mark.parametrize(
    ("record", "table", "others"), [(TicketRecord, Ticket, DESKS), (IncidentRecord, IncidentRow, set())]
)
def test_records_have_the_columns_of_their_tables(record, table, others):
    names = {field.name for field in fields(record)}
    assert names.isdisjoint(others)
    assert names | others == set(table.__table__.columns.keys())


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({}, True),  # the same shop
        ({"camera": "cam-2", "zone": "side"}, True),  # the same shop, seen by another camera
        ({"box": "box-2"}, True),  # the same shop, seen by another box
        ({"shop": "shop-2"}, False),
        ({"shop": None}, False),
        ({"rule": "crowding"}, False),
    ],
)
def test_incidents_of_one_key_join_one_ticket(desk, other, same):
    desk.take(Case().opened())
    desk.take(Case(number=2, **other).opened())
    assert len(tickets(desk)) == (1 if same else 2)


@pytest.mark.parametrize(
    ("other", "same"), [({}, True), ({"zone": "side"}, False), ({"camera": "cam-2"}, False), ({"box": "box-2"}, False)]
)
def test_without_a_shop_the_place_is_the_key(desk, other, same):
    desk.take(Case(shop=None).opened())
    desk.take(Case(number=2, shop=None, **other).opened())
    assert len(tickets(desk)) == (1 if same else 2)


def test_a_ticket_is_clear_when_all_its_incidents_are(desk):
    one, two = Case(), Case(number=2, zone="side")
    desk.take(one.opened(), two.opened(), one.cleared(START_S + 50))
    (ticket,) = tickets(desk)
    assert (ticket.state, ticket.open, ticket.cleared_ms) == ("pending_review", 1, None)
    desk.take(two.cleared(START_S + 40))
    (ticket,) = tickets(desk)
    # the last one to be seen clear was the first one, although it was told first
    assert (ticket.state, ticket.open, ticket.cleared_ms) == ("lapsed", 0, round((START_S + 50) * 1000))
    assert kinds(desk, 1) == ["appeared", "opened", "incident_joined", "incident_cleared", "incident_cleared", "lapsed"]


@pytest.mark.parametrize(("minutes", "tickets_after", "reopened"), [(1, 1, 1), (29.9, 1, 1), (30.1, 2, 0), (600, 2, 0)])
def test_a_return_within_30_minutes_reopens(desk, minutes, tickets_after, reopened):
    case = Case()
    desk.take(case.opened(), case.cleared(START_S + 100))
    desk.take(Case(number=2, opened_s=START_S + 100 + 60 * minutes).opened())
    found = tickets(desk)
    assert len(found) == tickets_after
    assert found[-1].open == 1
    assert found[-1].reopened == reopened
    assert found[-1].repeat_of == (None if tickets_after == 1 else 1)


def test_an_ended_incident_ends_its_ticket_with_its_reason(desk):
    case = Case()
    desk.take(case.opened(), case.ended(START_S + 60, "camera_removed"))
    (ticket,) = tickets(desk)
    assert (ticket.open, ticket.cleared_ms) == (0, None)
    with desk.store.transaction() as session:
        detail = [json.loads(event.detail) for event in session.get(Ticket, 1).events if event.kind == "incident_ended"]
    assert detail[0]["reason"] == "camera_removed"
