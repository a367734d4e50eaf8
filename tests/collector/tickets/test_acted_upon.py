"""Whatever the order in which messages come, tickets end up the same, also those that people have acted upon."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from collector.people.actor import Actor
from collector.store import Ticket
from collector.tickets import desk as door
from tests.collector.conftest import Desk
from tests.collector.test_orders_of_arrival import state
from tests.collector.tickets.conftest import CHEN, LI
from tests.incidents import START_S, Case

MINUTE_S = 60.0
HOUR_S = 3600.0
KEY = "encroachment/shop/shop-1"
OTHER = "encroachment/shop/shop-2"
POLICY = Actor.policy("s")


def before():
    """Until 8:10: something stands there, and a backlog of three hours ago comes beside it."""
    case = Case(number=1, opened_s=START_S)
    old = Case(number=2, opened_s=START_S - 3 * HOUR_S, zone="side")
    other = Case(number=9, shop="shop-2", opened_s=START_S)
    return [
        *(case.opened(), case.updated(START_S + 60, visibility="not_seen")),
        *(old.opened(), old.cleared(START_S - 2.5 * HOUR_S)),
        other.opened(),
    ], [case, other]


def meanwhile(case, other):
    """Until 13:00: more joins it, all is cleared; another backlog, of what was long before and of what was during."""
    second = Case(number=3, zone="side", opened_s=START_S + HOUR_S)
    third = Case(number=4, opened_s=START_S + 4 * HOUR_S)
    during = Case(number=5, opened_s=START_S + 20 * MINUTE_S, zone="back")
    long_before = Case(number=6, opened_s=START_S - 1.5 * HOUR_S, zone="back")
    return [
        *(second.opened(), second.cleared(START_S + 1.6 * HOUR_S), case.cleared(START_S + 1.5 * HOUR_S)),
        *(third.opened(), third.updated(START_S + 4.2 * HOUR_S), third.cleared(START_S + 4.5 * HOUR_S)),
        *(during.opened(), during.cleared(START_S + 25 * MINUTE_S)),
        *(long_before.opened(), long_before.cleared(START_S - 1.4 * HOUR_S)),
        other.cleared(START_S + 2 * HOUR_S),
    ]


def afterwards():
    """After 13:00, when it was closed: a repeat, a late one of while it was open, and one after a judgement."""
    repeat = Case(number=7, opened_s=START_S + 5.2 * HOUR_S)
    late = Case(number=8, opened_s=START_S + 4.55 * HOUR_S, zone="back")
    judged = Case(number=10, shop="shop-2", opened_s=START_S + 5.1 * HOUR_S)
    return [
        *(repeat.opened(), repeat.updated(START_S + 5.3 * HOUR_S)),
        *(late.opened(), late.cleared(START_S + 4.6 * HOUR_S)),
        judged.opened(),
    ]


def act(desk, key, *steps):
    """People act upon the open ticket of a key."""
    for actor, verb, at_s, args in steps:
        with desk.store.writing() as session:
            number = session.scalars(select(Ticket.number).where(Ticket.key == key, Ticket.open == 1)).one()
            door.act(session, actor, number, verb, at_ms=round(at_s * 1000), **args)


def play(folder, orders, again=()):
    """The three parts, each in an order of its own, with the acts of people in between."""
    desk = Desk(folder)
    first, open_cases = before()
    parts = (first, meanwhile(*open_cases), afterwards())
    for index, (part, order) in enumerate(zip(parts, orders, strict=True)):
        desk.now_s = START_S + (10 * MINUTE_S, 5 * HOUR_S, 6 * HOUR_S)[index]
        for number in order:
            desk.take_any(part[number])
            if number in again:
                desk.take_any(part[number])
        if index == 0:
            now_s = START_S + 10 * MINUTE_S
            told = ((LI, "confirm", now_s, {}), (LI, "told", now_s, {}))
            act(desk, KEY, *told, (POLICY, "time_up", now_s + 400, {}), (LI, "register", now_s + 500, {}))
            act(desk, OTHER, (LI, "false_alarm", now_s, {}))
        elif index == 1:
            now_s = START_S + 5 * HOUR_S - 60
            done = ((CHEN, "accept", now_s, {}), (CHEN, "feed_back", now_s, {}))
            closed = (LI, "close", now_s + 30, {"reason": "seen"})
            act(desk, KEY, (LI, "dispatch", now_s, {"to": "chen"}), *done, closed)
    found = state(desk.store)
    desk.store.close()
    return found


@pytest.fixture(scope="module")
def in_order(tmp_path_factory):
    sizes = [len(before()[0]), len(meanwhile(*before()[1])), len(afterwards())]
    found = play(tmp_path_factory.mktemp("in-order"), [range(size) for size in sizes])
    by_state = [(ticket[0], ticket[1], len(ticket[7])) for ticket in found["tickets"]]
    assert sorted(by_state) == [
        (KEY, "closed", 5),  # with what was there while it was open, the late one too
        (KEY, "lapsed", 1),
        (KEY, "lapsed", 1),
        (KEY, "pending_review", 1),
        (OTHER, "false_alarm", 1),
        (OTHER, "pending_review", 1),
    ]
    return found


@settings(
    max_examples=40,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    orders=st.tuples(st.permutations(range(5)), st.permutations(range(11)), st.permutations(range(5))),
    again=st.sets(st.integers(0, 10)),
)
def test_any_order_between_the_acts_of_people_ends_alike(tmp_path_factory, in_order, orders, again):
    assert play(tmp_path_factory.mktemp("desk"), orders, again) == in_order
