"""What is put right on the way: appeals and how they end, notices that never came, tickets that go to somebody else."""

from functools import partial

import pytest
from sqlalchemy.exc import SQLAlchemyError

from collector.people.actor import Actor, Grant, Role
from collector.store import is_race
from collector.tickets import desk as door
from collector.tickets.desk import RefusedError
from collector.tickets.seams import Told
from tests.collector.conftest import at_once
from tests.collector.tickets.conftest import CHEN, LI, SHOP, WANG

HAN = Actor("person", "han", "韩", frozenset({Grant(Role.OFFICER, "s")}))
MINUTE_MS = 60_000


def allowed(street, who, number=1):
    with street.desk.store.transaction() as session:
        return set(door.able(session, door.hold(session, number), who, street.now_ms))


def test_a_step_after_an_appeal_keeps_its_name_and_policy(street):
    street.policy(shop={"minutes": {"minutes": 5}})
    street.noticed()
    street.wait(minutes=2)
    before = street.ticket()
    street.act(SHOP, "appeal", reason="we have a permit")
    assert street.ticket().due_kind.startswith("appeal: ")
    street.policy(shop={"minutes": {"minutes": 60}})
    street.wait(minutes=30)
    after = street.act(LI, "reject", reason="it was over yesterday")
    assert (after.state, after.due_kind, after.policy) == ("noticed", before.due_kind, before.policy)
    assert after.due_ms == after.shop_due_ms == before.due_ms + 30 * MINUTE_MS


@pytest.mark.parametrize("arrives", ["before", "meanwhile"])
def test_a_notice_around_an_appeal_gives_all_minutes(street, arrives):
    street.policy(shop={"minutes": {"minutes": 10}})
    street.confirmed()
    street.word = Told("waiting")  # its report is late: nobody knows yet that it came
    told_ms = street.now_ms
    street.wait(minutes=2)
    street.act(WANG, "appeal", reason="the shop called")
    street.wait(minutes=3)
    if arrives == "meanwhile":
        told_ms = street.now_ms
    street.wait(minutes=30)
    street.act(LI, "reject", reason="no permit")
    rejected_ms = street.now_ms
    street.word = Told("delivered", told_ms, 1)
    street.desk.write(door.look, 1)
    street.wait()
    left_min = 8 if arrives == "before" else 10
    assert street.ticket().shop_due_ms == rejected_ms + left_min * MINUTE_MS


@pytest.mark.parametrize(
    ("verb", "kind", "state"), [("reject", "appeal_rejected", "noticed"), ("uphold", "appeal_upheld", "closed")]
)
def test_the_shop_is_told_once_of_its_objection(street, verb, kind, state):
    street.noticed()
    street.act(SHOP, "appeal", reason="we have a permit")
    street.act(LI, verb, reason="the permit is of another street")
    street.wait(minutes=2)
    found = [order for order, _ in street.orders.values() if order.kind.startswith("appeal_")]
    assert [(one.kind, one.audience, one.to, one.text) for one in found] == [
        (kind, "shop", "shop-1", "the permit is of another street")
    ]
    assert street.state() == state


@pytest.mark.parametrize(("clear", "state"), [(True, "self_corrected"), (False, "community")])
def test_the_shop_is_told_although_the_next_step_follows_at_once(street, clear, state):
    case = street.noticed()
    street.wait(minutes=1 if clear else 5.5)  # within its minutes, or in the grace after them
    street.act(SHOP, "appeal", reason="we have a permit")
    street.wait(minutes=1)
    if clear:
        street.clears(case, seconds_ago=5)
    assert street.act(LI, "reject", reason="it was over yesterday").state == state
    street.wait(minutes=2)
    assert street.kinds("shop").count("appeal_rejected") == 1


def test_the_shop_is_told_although_a_person_goes_on_at_once(street):
    street.noticed()
    street.act(SHOP, "appeal", reason="we have a permit")
    street.desk.write(door.act, LI, 1, "reject", at_ms=street.now_ms, reason="it was over yesterday")
    street.desk.write(door.act, LI, 1, "pass_on", at_ms=street.now_ms, reason="they do not answer")
    street.wait(minutes=2)
    assert (street.state(), street.kinds("shop").count("appeal_rejected")) == ("community", 1)


def test_what_is_allowed_is_what_will_be_taken(street):
    street.confirmed()
    assert not {"review"} & allowed(street, LI)  # it was reviewed
    assert "told" in allowed(street, LI)
    street.tell()
    assert "told" not in allowed(street, LI)
    assert "shop_done" in allowed(street, SHOP)
    assert allowed(street, Actor.shop("shop-2")) == set()
    street.act(SHOP, "shop_done")
    assert "shop_done" not in allowed(street, SHOP)  # the camera is looking
    street.act(LI, "pass_on", reason="x")
    assert "register" not in allowed(street, LI)  # its minutes go on
    street.wait(minutes=10)
    assert "register" in allowed(street, LI)


def test_no_judgement_is_taken_back_beside_another_ticket(street):
    street.appears()
    street.act(LI, "false_alarm")
    street.appears()
    assert "reconsider" not in allowed(street, LI)
    with pytest.raises(RefusedError) as refused:
        street.act(LI, "reconsider", reason="after all")
    assert (refused.value.code, "reconsider" in refused.value.allowed) == ("another_open", False)
    assert "工单 2" in refused.value.zh


def test_an_operator_gives_a_ticket_to_somebody_else(street):
    street.registered()
    first = street.act(LI, "dispatch", to="chen")
    street.wait(minutes=1)
    with pytest.raises(RefusedError, match="chen has it already"):
        street.act(LI, "dispatch", to="chen")
    assert "dispatch" not in allowed(street, CHEN)
    second = street.act(LI, "dispatch", to="han")
    assert (second.state, second.assignee, second.due_ms - first.due_ms) == ("dispatched", "han", MINUTE_MS)
    tasks = [order.to for order, _ in street.orders.values() if (order.kind, order.audience) == ("task", "officer")]
    assert tasks == ["chen", "han"]
    street.act(HAN, "accept")
    third = street.act(LI, "dispatch", to="chen")
    assert (third.state, third.assignee) == ("dispatched", "chen")
    street.wait(minutes=2)
    told = [order.to for order, _ in street.orders.values() if order.kind == "taken_over"]
    assert told == ["chen", "han"]


def test_done_is_said_by_whoever_has_it_or_the_room(street):
    street.dispatched()
    with pytest.raises(RefusedError, match="send_back is for chen"):
        street.act(HAN, "send_back", reason="not mine")
    street.act(CHEN, "accept")
    with pytest.raises(RefusedError, match="feed_back is for chen") as refused:
        street.act(HAN, "feed_back")
    assert (refused.value.code, "feed_back" in refused.value.allowed) == ("not_yours", False)
    assert {"feed_back", "send_back"} <= allowed(street, CHEN) & allowed(street, LI)
    assert street.act(LI, "feed_back", reason="they called").state == "verifying"


def test_who_takes_a_ticket_on_has_it(street):
    street.dispatched()
    assert street.act(HAN, "accept").assignee == "han"
    line = street.desk.read(lambda session: session.get_one(door.Ticket, 1).events[-1])
    assert (line.kind, '"assignee": "chen"' in line.before) == ("accept", True)


def test_a_notice_that_never_came_takes_a_registration_back(street):
    street.registered()
    street.tell("failed")
    ticket = street.ticket()
    assert (ticket.state, ticket.told_ms, ticket.shop_due_ms) == ("community", None, None)
    assert street.steps()[-1] == "untold"
    assert "register" not in allowed(street, LI)
    street.act(WANG, "told", reason="by word of mouth")
    assert "register" not in allowed(street, LI)  # it has its minutes first
    street.wait(minutes=10)
    assert street.act(LI, "register").state == "registered"


@pytest.mark.parametrize("state", ["dispatched", "handling", "verifying", "closed"])
def test_a_notice_that_never_came_is_on_record(street, state):
    street.registered()
    assert "told" not in allowed(street, LI)
    street.act(LI, "dispatch", to="chen")
    if state != "dispatched":
        street.act(CHEN, "accept")
    if state == "verifying":
        street.act(CHEN, "feed_back")
    if state == "closed":
        street.act(LI, "close", reason="done")
    street.tell("failed")
    street.wait(minutes=1)
    assert (street.state(), street.ticket().told_ms) == (state, None)
    assert street.steps().count("untold") == 1
    if state != "closed":
        assert street.kinds("operator").count("undelivered") == 1
        assert street.act(LI, "told", reason="called them").told_ms is not None


def test_two_tickets_are_never_duplicates_of_each_other(street):
    """At one instant, as two people would have it; on PostgreSQL both read before either writes."""
    street.appears()
    street.appears(shop="shop-2", zone="side")

    def say(number, of):
        try:
            street.desk.write(door.act, LI, number, "duplicate", at_ms=street.now_ms, of=of)
        except RefusedError as fault:
            return fault.code
        except SQLAlchemyError as fault:
            return "race" if is_race(fault) else repr(fault)
        return "taken"

    for _ in range(5):
        outcomes = at_once(partial(say, 1, 2), partial(say, 2, 1))
        assert sorted(outcomes) == ["invalid", "taken"]
        street.act(LI, "reconsider", number=outcomes.index("taken") + 1, reason="once more")
