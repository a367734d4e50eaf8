"""Ordering: once by its key, never beyond what a shop may get, and what the desk is told."""

from functools import partial
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from collector.notices.orders import Limits, NoticeOrder, order, told, withdraw
from collector.store import NoticeRow, open_store
from tests.collector.conftest import Desk, at_once
from tests.incidents import START_S, Case

DAY_MS = 86_400_000


def test_the_same_order_twice_is_once(office):
    assert office.order() is True
    assert office.order() is False
    assert office.order(key="2", to="shop-2") is True


def test_an_order_that_is_rolled_back_was_none(office):
    class StopError(Exception):
        pass

    def give_up():
        with office.desk.store.writing() as session:
            assert order(session, NoticeOrder("k", 1, "shop_notice", "shop", "shop-1", "s", None, "", 0), now_ms=1)
            raise StopError

    with pytest.raises(StopError):
        give_up()
    assert office.told().state == "none"
    assert office.order(key="k") is True


@pytest.mark.parametrize(
    ("limits", "orders", "taken"),
    [
        (Limits(per_day=2, per_ticket=9), [("a", 1), ("b", 1), ("c", 1)], [True, True, False]),
        (Limits(per_day=9, per_ticket=1), [("a", 1), ("b", 1), ("c", 2)], [True, False, True]),
        (Limits(per_day=1, per_ticket=1), [("a", 1), ("b", 2)], [True, False]),
    ],
)
def test_a_shop_gets_no_more_than_its_policy_allows(office, limits, orders, taken):
    office.desk.take(Case(number=2, zone="side", shop=None).opened())
    assert [office.order(key=key, ticket=ticket, limits=limits) for key, ticket in orders] == taken
    limited = [office.notice(key) for (key, _), good in zip(orders, taken, strict=True) if not good]
    assert {row.state for row in limited} == {"limited"}
    # a limited one does not count against those that come later
    assert office.order(key="z", to="shop-9", limits=limits)


def test_the_day_is_the_streets(office):
    """Five minutes before and after midnight in Shanghai are two days there, and one in UTC."""
    midnight_ms = 1_780_070_400_000  # 2026-05-30 00:00 +08:00
    one = Limits(per_day=1, per_ticket=9)
    assert office.order("a", limits=one, not_before_ms=midnight_ms - 300_000)
    assert not office.order("b", limits=one, not_before_ms=midnight_ms - 1)
    assert office.order("c", limits=one, not_before_ms=midnight_ms)
    utc = Limits(per_day=1, per_ticket=9, zone=ZoneInfo("UTC"))
    assert not office.order("d", limits=utc, not_before_ms=midnight_ms - 100)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from(["shop-1", "shop-2"]), st.sampled_from([1, 2]), st.integers(0, 3 * 24)
        ),
        max_size=25,
    ),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_no_sequence_of_orders_goes_beyond_the_limits(tmp_path_factory, sequence, per_day, per_ticket):
    desk = Desk(tmp_path_factory.mktemp("desk"))
    desk.take(Case().opened(), Case(number=2, zone="b", shop=None).opened())
    limits = Limits(per_day, per_ticket)
    for key, shop, ticket, hour in sequence:
        with desk.store.writing() as session:
            at_ms = round(START_S * 1000) + hour * 3_600_000
            wanted = NoticeOrder(f"{key}/{shop}", ticket, "shop_notice", "shop", shop, "s", None, 0, at_ms)
            order(session, wanted, limits=limits)
    rows = desk.rows(select(NoticeRow).where(NoticeRow.state == "waiting"))
    desk.store.close()
    assert len({row.key for row in rows}) == len(rows)
    for row in rows:
        same = [one for one in rows if one.recipient == row.recipient]
        assert sum(one.day == row.day for one in same) <= per_day
        assert sum(one.ticket_number == row.ticket_number for one in same) <= per_ticket


def test_two_that_order_at_once_stay_within_the_limit(postgres, template):
    """On PostgreSQL two transactions do not see each other's rows: the shop's name is locked."""
    url = postgres.create(template)
    stores = [open_store(url) for _ in range(4)]

    def go(store, number):
        results = []
        for turn in range(5):
            with store.writing() as session:
                wanted = NoticeOrder(f"{number}/{turn}", None, "shop_notice", "shop", "shop-1", "s", None, 0, 0)
                results.append(order(session, wanted, limits=Limits(3, 9)))
        return results

    results = at_once(*(partial(go, store, number) for number, store in enumerate(stores)))
    for store in stores:
        store.close()
    assert sum(map(sum, results)) == 3


@pytest.mark.parametrize(
    ("due_after_ms", "waits_ms", "expires_ms", "expected_ms"),
    [
        (300_000, 0, None, 300_000),  # its deadline lies ahead: pointless afterwards
        (-5_000, 0, None, DAY_MS),  # it tells of a deadline that has passed
        (None, 0, None, DAY_MS),
        (3_600_000, 8 * 3_600_000, None, 8 * 3_600_000 + DAY_MS),  # a quiet night outlasts the deadline
        (300_000, 0, 60_000, 60_000),
    ],
)
def test_when_it_is_of_no_use_any_more(office, due_after_ms, waits_ms, expires_ms, expected_ms):
    now_ms = office.now_ms
    office.order(
        due_ms=None if due_after_ms is None else now_ms + due_after_ms,
        not_before_ms=now_ms + waits_ms,
        expires_ms=None if expires_ms is None else now_ms + expires_ms,
    )
    assert office.notice().expires_ms == now_ms + expected_ms


@pytest.mark.parametrize(
    ("rows", "state", "at_ms", "count"),
    [
        ([], "none", None, 0),
        ([("waiting", None, 0)], "waiting", None, 0),
        ([("sending", None, 0)], "waiting", None, 1),
        ([("accepted", None, 0)], "waiting", None, 1),
        ([("sent", 50, 0)], "sent", 50, 1),
        ([("sent", 50, 0), ("delivered", 90, 0)], "delivered", 50, 2),  # the first time it was told counts
        ([("sent", 50, 0), ("failed", None, 0)], "sent", 50, 1),
        ([("unsure", None, 1)], "unsure", None, 1),
        ([("failed", None, 0), ("unsure", None, 1)], "unsure", None, 1),
        ([("failed", None, 0)], "failed", None, 0),
        ([("expired", None, 0)], "failed", None, 0),
        ([("limited", None, 0)], "failed", None, 0),
        ([("withdrawn", None, 0)], "none", None, 0),
        ([("unsure", None, 1), ("waiting", None, 0)], "waiting", None, 1),
        ([("failed", None, 1)], "failed", None, 1),
    ],
)
def test_what_the_desk_is_told(office, rows, state, at_ms, count):
    for number, (row_state, told_ms, doubt) in enumerate(rows):
        office.order(key=str(number))
        with office.desk.store.writing() as session:
            row = session.scalars(select(NoticeRow).where(NoticeRow.key == str(number))).one()
            row.state, row.told_ms, row.doubt = row_state, told_ms, doubt
    found = office.told()
    assert (found.state, found.at_ms, found.count) == (state, at_ms, count)
    assert office.desk.read(told, 1, since_ms=office.now_ms + 1).state == "none"


def test_what_has_not_gone_out_can_be_taken_back(office):
    office.order()
    assert office.desk.write(withdraw, 1, office.now_ms, "false alarm") == 1
    assert office.told().state == "none"
    assert office.sender().step(wait=True) == 0
