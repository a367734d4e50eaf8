"""What is checked as pictures and records come: the box's signature, its chain, and the ledger of all that came."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select, text

from collector.evidence import ledger, seals
from collector.store import AuditRow, SealRow, Ticket
from collector.web import views
from protocol.seal import seal
from tests.incidents import KEY, START_S, Case, status


def states(desk):
    return [(row.state, row.why) for row in desk.rows(select(SealRow).order_by(SealRow.picture_id))]


def broken_lines(desk):
    rows = desk.rows(select(AuditRow).where(AuditRow.action == "evidence.broken"))
    return [(row.actor, json.loads(row.detail)["why"]) for row in rows]


def other_size(case):
    record, content = case.pictures[0]
    case.pictures[0] = (record.model_copy(update={"width": 1}), content)


def other_key(case):
    record, content = case.pictures[0]
    case.pictures[0] = (seal(case.id, record, None, Ed25519PrivateKey.generate()), content)


def no_signature(case):
    record, content = case.pictures[0]
    case.pictures[0] = (record.model_copy(update={"signature": None}), content)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda _: None, None),
        (other_size, "the signature does not match"),
        (other_key, "the signature does not match"),
        (no_signature, "it bears no signature"),
    ],
)
def test_a_seal_is_checked_as_it_comes_and_a_broken_one_is_on_record_and_proves_nothing(desk, spoil, why):
    case = Case()
    picture = case.picture()
    spoil(case)
    desk.take(status(), picture, case.opened(), case.updated(START_S + 60))
    ((state, said),) = states(desk)
    assert (state, said.startswith(why or "")) == ("broken" if why else "good", True)
    assert [(who, one.startswith(why)) for who, one in broken_lines(desk)] == ([("camera:box-1", True)] if why else [])
    with desk.store.writing() as session:
        ticket = session.get(Ticket, 1)
        (shown,) = views.ticket_view(session, ticket, 1).incidents[0].pictures
        assert shown.broken == bool(why)
        (row,) = session.scalars(select(views.PictureRow))
        (kept,) = seals.of(session, [case.id]).values()
        assert seals.no_evidence(ticket, row, kept) == "no named person has reviewed it"
        ticket.reviewer = "person:li"
        assert bool(seals.no_evidence(ticket, row, kept)) == bool(why)


def test_a_seal_waits_for_the_key_of_its_box(desk):
    good, bad = Case(), Case(number=2, shop="shop-2")
    desk.take(good.picture(), bad.picture(number=1))
    other_size(bad)
    desk.take(good.opened(), bad.opened())
    assert states(desk) == [("unknown", seals.NO_KEY)] * 2
    desk.take(status())
    assert [state for state, _ in states(desk)] == ["good", "broken"]
    assert len(broken_lines(desk)) == 1


def test_a_forked_chain_and_a_record_told_anew_are_broken(desk):
    first, second, third = (Case(number=number, shop=f"shop-{number}") for number in (1, 2, 3))
    first.picture()
    second.head = third.head = first.head
    second.picture(number=2)
    third.picture(number=3)
    desk.take(status(), first.opened(), second.opened())
    assert [state for state, _ in states(desk)] == ["good", "good"]
    desk.take(third.opened())
    assert "the chain forks" in states(desk)[2][1]
    record, content = first.pictures[0]
    again = seal(first.id, record.model_copy(update={"masked": False}), None, KEY)
    first.pictures[0] = (again, content)
    desk.take(first.updated(START_S + 60))
    assert states(desk)[0] == ("broken", "the box told it differently before")


def test_whoever_empties_the_ledger_is_found(desk):
    desk.take(Case().picture(), Case().opened())
    with desk.store.engine.begin() as connection:
        connection.execute(text("DELETE FROM ledger"))
    desk.take(Case(number=2).opened())
    found = desk.read(ledger.verify)
    assert len(found) == 2
    assert all("no line of the ledger" in one for one in found)
