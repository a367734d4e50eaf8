"""Steps at the desk: who may, what is refused and why, two at once, and what is kept of each."""

import json
from functools import partial

import pytest
from sqlalchemy import func, select

from collector.people.actor import SYSTEM, Actor, Grant, Role
from collector.store import AuditRow, TicketEvent, open_store
from collector.tickets import desk as door
from collector.tickets.desk import RefusedError
from collector.tickets.seams import Told
from tests.collector.conftest import at_once
from tests.collector.tickets.conftest import CHEN, LI, SHOP, WANG

ELSEWHERE = Actor("person", "zhao", "赵", frozenset({Grant(Role.ADMIN, "another")}))
BOSS = Actor("person", "boss", "", frozenset({Grant(Role.ADMIN)}))


def refused(street, actor, verb, number=1, **args):
    with pytest.raises(RefusedError) as fault:
        street.act(actor, verb, number, **args)
    assert "\n" not in str(fault.value)
    return fault.value


def test_the_way_of_enforcement(street):
    """From the picture to the closed case, step by step, each with its author."""
    street.policy(region="330105")
    street.appears()
    assert (street.state(), street.kinds()) == ("pending_review", ["alert"])
    assert street.act(LI, "confirm").state == "noticed"
    assert street.kinds("shop") == ["shop_notice"]
    street.tell()
    street.wait(7)
    assert (street.state(), street.kinds("community")) == ("community", ["task"])
    ticket = street.act(LI, "register")
    assert (ticket.state, ticket.reviewer) == ("registered", "person:li")
    assert ticket.case_number == "3301052026030200001"
    street.act(LI, "dispatch", to="chen")
    assert [order.to for order, _ in street.orders.values() if order.audience == "officer"] == ["chen"]
    street.act(CHEN, "accept")
    assert street.act(CHEN, "feed_back").state == "verifying"
    street.reply("clear")
    ticket = street.ticket()
    assert (ticket.state, ticket.outcome, ticket.open) == ("closed", "handled", 0)
    got = street.steps()
    assert got == ["confirm", "told", "time_up", "register", "dispatch", "accept", "feed_back", "verify_clear"]
    lines = street.desk.rows(select(TicketEvent).where(TicketEvent.before.is_not(None)).order_by(TicketEvent.id))
    noted = street.desk.rows(select(AuditRow.action).order_by(AuditRow.number))
    assert [line.author for line in lines] == [
        *("person:li", "policy:s", "policy:s", "person:li", "person:li", "person:chen", "person:chen", "camera:box-1")
    ]
    assert json.loads(lines[0].before)["state"] == "pending_review"
    assert noted == ["policy.set", *(f"ticket.{line.kind}" for line in lines)]


@pytest.mark.parametrize(
    ("actor", "verb", "args", "code"),
    [
        (LI, "fly", {}, "unknown_verb"),
        (LI, "accept", {}, "not_now"),
        (WANG, "confirm", {}, "not_yours"),
        (ELSEWHERE, "confirm", {}, "not_yours"),
        (SYSTEM, "confirm", {}, "not_yours"),
        (SHOP, "confirm", {}, "not_yours"),
        (Actor.policy("s"), "confirm", {}, "not_yours"),
        (LI, "duplicate", {}, "missing"),
        (LI, "duplicate", {"of": 99}, "invalid"),
        (LI, "duplicate", {"of": 1}, "invalid"),
        (LI, "exempt", {}, "missing"),
        (LI, "extend", {"due_ms": 5, "reason": "x"}, "invalid"),
        (LI, "extend", {"due_ms": 5}, "missing"),
        (LI, "urge", {"urgency": "soon"}, "invalid"),
        (LI, "remark", {"reason": "  "}, "missing"),
        (LI, "remark", {"reason": "x" * 3000}, "invalid"),
        (LI, "confirm", {"seen": 7}, "changed"),
    ],
)
def test_a_refusal_says_why_and_what_is_allowed(street, actor, verb, args, code):
    street.appears()
    before = street.ticket()
    fault = refused(street, actor, verb, **args)
    assert fault.code == code
    assert ("confirm" in fault.allowed) == (actor is LI)
    assert ("allowed now: nothing" in fault.text) == (not fault.allowed)
    after = street.ticket()
    assert (after.version, after.state, after.changed_ms) == (before.version, before.state, before.changed_ms)
    assert street.steps() == []


def test_an_admin_of_all_streets_may(street):
    street.appears()
    assert street.act(BOSS, "confirm").reviewer == "person:boss"


def test_a_shop_speaks_for_itself_alone(street):
    street.confirmed()
    assert refused(street, Actor.shop("shop-2"), "appeal", reason="x").code == "not_yours"
    assert street.act(SHOP, "not_mine").state == "appealed"


def test_registration_needs_a_reviewer_a_told_shop_and_its_minutes(street):
    street.policy(unreviewed=[{"hours": ["24/7"]}])
    street.appears()
    assert (street.state(), street.ticket().reviewer) == ("noticed", None)  # told unreviewed
    assert "unreviewed" in street.kinds("operator")
    street.act(LI, "pass_on", reason="no telephone")
    assert refused(street, LI, "register").code == "unreviewed"
    street.act(LI, "review")
    assert refused(street, LI, "review").code == "not_now"
    assert refused(street, LI, "register").code == "untold"
    street.act(WANG, "told", reason="went there")
    assert refused(street, WANG, "told").code == "not_now"
    assert refused(street, LI, "register").code == "early"
    street.wait(5)
    assert street.act(LI, "register").state == "registered"


def test_where_officers_come_first_the_review_registers(street):
    street.appears(rule="crowding", shop=None, zone="square")
    ticket = street.act(LI, "confirm")
    assert (ticket.state, ticket.urgency, ticket.shop_asked_ms) == ("registered", "urgent", None)


def test_without_a_shop_the_community_comes_first(street):
    street.appears(shop=None)
    assert street.act(LI, "confirm").state == "community"
    assert street.kinds("shop") == []
    assert street.act(LI, "register").state == "registered"


@pytest.mark.parametrize("rounds", range(3))
def test_of_two_at_once_one_wins_and_the_other_is_told(street, rounds):
    street.appears()
    seen = street.ticket().version
    store = open_store(street.desk.url)

    def work(mine, actor, verb):
        try:
            with mine.writing() as session:
                door.act(session, actor, 1, verb, at_ms=street.now_ms, seen=seen)
        except RefusedError as fault:
            return fault.code
        return "done"

    outcomes = at_once(partial(work, street.desk.store, LI, "confirm"), partial(work, store, BOSS, "false_alarm"))
    store.close()
    assert sorted(outcomes) == ["changed", "done"]
    assert len(street.steps()) == 1


def test_a_step_that_fails_leaves_nothing(street, monkeypatch):
    street.appears()

    def broken(*_args):
        raise RuntimeError("no disk")

    monkeypatch.setattr(door, "record", broken)
    with pytest.raises(RuntimeError):
        street.act(LI, "confirm")
    assert (street.state(), street.steps()) == ("pending_review", [])


def test_a_judgement_is_taken_back_but_not_beside_another_ticket(street):
    first = street.appears()
    street.act(LI, "false_alarm")
    assert refused(street, LI, "reconsider").code == "missing"
    assert street.act(LI, "reconsider", reason="wrong picture").round == 2
    street.act(LI, "false_alarm")
    # what comes after a judgement is a ticket of its own, although the first thing still stands there
    street.appears(zone="side")
    assert street.state(2) == "pending_review"
    fault = refused(street, LI, "reconsider", 1, reason="again")
    assert (fault.code, "ticket 2 is open" in fault.text) == ("another_open", True)
    street.clears(first)
    assert street.state(1) == "false_alarm"


def test_an_appeal_stops_the_clock_and_gives_the_rest_back(street):
    street.noticed()
    street.wait(2)
    due_ms = street.ticket().shop_due_ms
    street.act(SHOP, "appeal", reason="a delivery")
    street.wait(60)
    assert street.state() == "appealed"  # its time is not over
    ticket = street.act(LI, "reject", reason="for two hours")
    assert ticket.state == "noticed"
    assert abs(ticket.shop_due_ms - (due_ms + 60 * 60_000)) < 2000
    assert ticket.due_ms == ticket.shop_due_ms
    street.wait(5)
    assert street.state() == "community"


def test_an_upheld_appeal_withdraws_the_case_and_is_no_offence(street):
    case = street.confirmed()
    street.act(SHOP, "appeal", reason="not ours")
    assert street.act(LI, "uphold", reason="true").outcome == "withdrawn"
    street.clears(case)
    street.wait(120)
    street.appears()
    assert street.act(LI, "confirm", 2).offences == 0


def test_a_case_is_appealed_after_it_was_closed(street):
    street.confirmed(shop="shop-1")
    street.act(LI, "pass_on", reason="x")
    street.act(LI, "close", reason="talked to them")
    assert street.act(SHOP, "appeal", reason="we were not there").state == "appealed"
    assert street.act(LI, "reject", reason="on camera").state == "closed"
    assert street.ticket().outcome == "community"


@pytest.mark.parametrize(
    ("earlier", "minutes", "first"), [(0, 5, "noticed"), (1, 3, "noticed"), (2, None, "community")]
)
def test_a_second_and_a_third_offence(street, earlier, minutes, first):
    for number in range(1, earlier + 1):
        case = street.appears()
        street.act(LI, "confirm", number)
        street.clears(case, 0)
        street.wait(60)
    street.word = street.word.__class__()
    street.appears()
    ticket = street.act(LI, "confirm", earlier + 1)
    assert (ticket.state, ticket.offences) == (first, earlier)
    if minutes:
        ticket = street.act(LI, "told", earlier + 1)
        assert ticket.shop_due_ms - ticket.told_ms == minutes * 60_000


@pytest.mark.parametrize("verb", ["reject", "uphold"])
def test_what_came_during_an_appeal_is_not_swallowed(street, verb):
    case = street.confirmed()
    street.clears(case, 0)
    assert street.state() == "self_corrected"
    street.wait(60)
    street.act(SHOP, "appeal", reason="we were not there")
    street.wait(5 * 60)
    street.appears()
    assert street.state() == "appealed"
    street.word = Told()
    ticket = street.act(LI, verb, reason="on camera")
    assert (ticket.state, ticket.round) == ("pending_review", 2)
    assert street.kinds("operator").count("alert") == 2


@pytest.mark.parametrize("verb", ["reject", "uphold"])
def test_what_was_judged_before_an_appeal_stays_judged(street, verb):
    street.confirmed()
    street.act(LI, "pass_on", reason="x")
    street.act(LI, "close", reason="talked to them")
    street.act(SHOP, "appeal", reason="we were not there")
    street.act(LI, verb, reason="on camera")
    street.wait(60)
    assert (street.state(), street.ticket().present) == ("closed", 1)


def test_the_shops_minutes_are_never_shortened(street):
    street.confirmed()
    street.policy(shop={"minutes": {"minutes": 2}})  # the notice had gone out before
    street.tell()
    ticket = street.ticket()
    assert ticket.shop_due_ms - ticket.told_ms == 300_000
    assert refused(street, LI, "extend", due_ms=ticket.shop_due_ms - 1, reason="now").code == "invalid"
    later = street.act(LI, "extend", due_ms=ticket.shop_due_ms + 60_000, reason="rain")
    assert later.shop_due_ms == ticket.shop_due_ms + 60_000


def test_a_duplicate_is_of_what_is_or_was_handled(street):
    first = street.appears()
    street.appears(shop="shop-2")
    street.appears(shop="shop-3")
    street.act(LI, "duplicate", of=2)
    assert refused(street, LI, "duplicate", 2, of=1).code == "invalid"  # both would be lost
    street.act(LI, "false_alarm", 2)
    assert refused(street, LI, "duplicate", 3, of=2).code == "invalid"
    street.act(LI, "reconsider", reason="it is the one")
    street.act(LI, "confirm")
    street.clears(first, 0)
    assert street.state() == "self_corrected"
    assert street.act(LI, "duplicate", 3, of=1).state == "duplicate"


def test_deadlines_move_with_a_record_only(street):
    street.appears()
    due_ms = street.ticket().due_ms
    later = street.act(LI, "extend", due_ms=due_ms + 600_000, reason="rain")
    assert later.due_ms == due_ms + 600_000
    street.policy(deadlines={"review": {"minutes": 1}})  # a new policy moves nothing that has begun
    street.wait(2)
    assert street.ticket().due_ms == later.due_ms
    told = [detail["due_ms"] for _, detail in street.lines() if "due_ms" in detail]
    assert told == [due_ms, later.due_ms]


def test_case_numbers_count_each_day_and_are_given_once(street):
    street.policy(region="330105", first="officer")
    numbers = []
    for index, begins in enumerate(["2026-12-31 23:58:00", "2026-12-31 23:59:30", "2027-01-01 00:00:30"], 1):
        street.wait(until=begins)
        street.appears(shop=f"shop-{index}")
        numbers.append(street.act(LI, "confirm", index).case_number)
    assert numbers == ["3301052026123100001", "3301052026123100002", "3301052027010100001"]


def test_every_step_is_a_line_of_the_audit_log(street):
    case = street.appears()
    street.act(LI, "confirm")
    street.tell()
    street.clears(case)
    count = street.desk.scalar(select(func.count()).select_from(AuditRow).where(AuditRow.object == "ticket/1"))
    assert count == len(street.steps()) == 3
