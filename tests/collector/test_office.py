"""The desk with the real rooms of notices and places: what is ordered, who is told, and what a permit does."""

import pytest
from sqlalchemy import select, update

from collector.office import make_office
from collector.places import permits, shops
from collector.store import NoticeRow
from collector.tickets import desk as door
from tests.collector.tickets.conftest import CHEN, LI, Street
from tests.places import AROUND, AUTHOR, PERMIT, SHOP


@pytest.fixture
def street(desk):
    found = Street(desk)
    found.office = make_office()
    found.restart()
    return found


def registered(street, **values):
    street.desk.write(shops.add, {**SHOP, "id": "shop-1", "zones": "", **values}, AUTHOR, AROUND)


def notices(street, audience="shop"):
    rows = street.desk.rows(select(NoticeRow).where(NoticeRow.audience == audience).order_by(NoticeRow.number))
    return [(row.kind, row.recipient, row.state) for row in rows]


def reach(street, state="sent"):
    """The notice to the shop goes out now."""
    with street.desk.store.writing() as session:
        told = update(NoticeRow).where(NoticeRow.audience == "shop", NoticeRow.state == "waiting")
        session.execute(told.values(state=state, told_ms=street.now_ms))
        door.look(session, 1)
    street.wait()


def test_a_shop_is_told_once_and_its_minutes_begin_with_that(street):
    registered(street)
    case = street.confirmed()
    assert notices(street) == [("shop_notice", "shop-1", "waiting")]
    street.wait(minutes=1)
    assert street.ticket().shop_due_ms is None
    reach(street)
    assert street.ticket().shop_due_ms > street.now_ms
    street.wait(minutes=1)
    street.clears(case, seconds_ago=5)
    assert street.state() == "self_corrected"
    assert [kind for kind, _, _ in notices(street)] == ["shop_notice"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_notice_taken_back_by_an_appeal_is_ordered_anew(street, at_once):
    registered(street)
    street.confirmed()
    street.desk.write(door.act, LI, 1, "appeal", at_ms=street.now_ms, reason="they called")
    if not at_once:
        street.wait(minutes=1)
        assert notices(street) == [("shop_notice", "shop-1", "withdrawn")]
    street.act(LI, "reject", reason="they were there")
    got = [(kind, state) for kind, _, state in notices(street)]
    assert got == [("shop_notice", "withdrawn"), ("shop_notice", "waiting"), ("appeal_rejected", "waiting")]
    reach(street)
    assert street.ticket().shop_due_ms is not None
    street.wait(minutes=1)
    assert len(notices(street)) == 3


@pytest.mark.parametrize(("verb", "state"), [("reject", "noticed"), ("uphold", "closed")])
def test_word_of_a_decision_tells_no_minutes_and_keeps_to_limits(street, verb, state):
    registered(street)
    street.policy(shop={"notices_a_day": 2}, quiet={"hours": ["10:00-11:00"], "audiences": ["shop"]})
    street.confirmed()
    street.act(LI, "appeal", reason="they called")
    street.act(LI, verb, reason="they\nwere there")
    street.wait(minutes=1)
    with street.desk.store.transaction() as session:
        rows = [one for one in session.scalars(select(NoticeRow)) if one.kind.startswith("appeal_")]
        assert [(one.text, one.not_before_ms > street.now_ms) for one in rows] == [("they were there", True)]
        session.execute(update(NoticeRow).where(NoticeRow.kind == rows[0].kind).values(state="sent", told_ms=5))
        door.look(session, 1)
    street.wait(minutes=1)
    assert (street.state(), street.ticket().told_ms) == (state, None)
    if verb == "reject":
        street.act(LI, "appeal", reason="again")
        street.act(LI, verb, reason="as before")
        assert [one for kind, _, one in notices(street) if kind == "appeal_rejected"] == ["sent", "limited"]


@pytest.mark.parametrize("state", ["sending", "accepted", "unsure", "failed"])
def test_a_notice_that_an_appeal_left_is_not_sent_again(street, state):
    registered(street)
    street.confirmed()
    street.desk.execute(update(NoticeRow).values(state=state))
    street.desk.write(door.look, 1)
    street.wait()
    street.act(LI, "appeal", reason="they called")
    street.act(LI, "reject", reason="they were there")
    street.wait(minutes=1)
    assert [one for one in notices(street) if one[0] == "shop_notice"] == [("shop_notice", "shop-1", state)]
    undelivered = [state for kind, _, state in notices(street, "operator") if kind == "undelivered"]
    assert undelivered == (["waiting"] if state in ("unsure", "failed") else [])


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (None, "unregistered"),
        ({"id": "other-1", "zones": "box-1/cam-1/front"}, "contradiction"),
        ({"state": "closed"}, "closed"),
    ],
)
def test_who_may_be_the_wrong_one_is_not_told_but_a_person(street, values, code):
    if values is not None:
        registered(street, **values)
    street.confirmed()
    street.wait(minutes=1)
    assert [state for _, _, state in notices(street)] == ["limited"]
    row = street.desk.one(select(NoticeRow).where(NoticeRow.audience == "shop"))
    assert row.code == code
    assert "policy" not in row.reason
    assert "undelivered" in [kind for kind, _, _ in notices(street, "operator")]
    street.wait(minutes=600)
    assert street.state() in ("noticed", "community")
    assert street.ticket().case_number is None


def turns_out(street, state):
    """A report says that the notice to the shop never came; the next channel is to try it, or none is left."""
    with street.desk.store.writing() as session:
        never = update(NoticeRow).where(NoticeRow.kind == "shop_notice")
        session.execute(never.values(state=state, told_ms=None))
        door.look(session, 1)
    street.wait()


def enforced(street):
    registered(street)
    street.confirmed()
    reach(street)
    street.wait(minutes=10)
    street.act(LI, "register")


def test_a_notice_that_never_came_goes_over_its_next_channel_all_the_same(street):
    enforced(street)
    turns_out(street, "waiting")
    assert (street.state(), street.ticket().told_ms) == ("community", None)
    assert ("shop_notice", "shop-1", "waiting") in notices(street)
    assert "undelivered" not in [kind for kind, _, _ in notices(street, "operator")]
    reach(street)
    assert street.ticket().told_ms == street.now_ms


def test_a_notice_whose_next_channel_is_taken_back_is_an_operators(street):
    enforced(street)
    street.act(LI, "dispatch", to="chen")
    turns_out(street, "waiting")
    assert "undelivered" not in [kind for kind, _, _ in notices(street, "operator")]
    street.act(CHEN, "accept")
    street.wait(minutes=1)
    assert ("shop_notice", "shop-1", "withdrawn") in notices(street)
    assert [kind for kind, _, _ in notices(street, "operator")].count("undelivered") == 1
    assert street.act(LI, "told", reason="by telephone").told_ms is not None


def test_an_operator_hears_once_that_a_notice_never_came(street):
    enforced(street)
    street.act(LI, "dispatch", to="chen")
    turns_out(street, "failed")
    for verb in ("accept", "feed_back"):
        street.act(CHEN, verb)
        street.wait(minutes=1)
    assert [state for kind, _, state in notices(street, "operator") if kind == "undelivered"] == ["waiting"]


def test_a_collector_whose_clock_is_behind_orders_all_the_same(street):
    registered(street)
    street.appears()
    street.desk.write(door.act, LI, 1, "confirm", at_ms=street.now_ms + 200)
    street.wait()
    assert notices(street) == [("shop_notice", "shop-1", "waiting")]
    reach(street)
    assert street.ticket().told_ms == street.now_ms


def test_a_permit_ends_the_work_and_its_hours_begin_it_again(street):
    registered(street)
    street.appears()
    assert street.state() == "pending_review"
    with street.desk.store.writing() as session:
        given = {**PERMIT, "shop": "shop-1", "from_day": "2026-03-01", "hours": "09:00-12:00"}
        permits.add(session, given, AUTHOR, AROUND)
    street.wait()
    assert (street.state(), street.ticket().permit) == ("exempt", PERMIT["number"])
    street.wait(until="2026-03-02 11:59:58")
    assert street.state() == "exempt"
    street.wait(until="2026-03-02 12:00:05")
    assert street.state() == "pending_review"
    assert notices(street) == []
