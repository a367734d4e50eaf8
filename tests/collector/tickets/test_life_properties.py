"""Random courses of incidents, people, carriers, permits, pauses, clocks and restarts: what must hold, holds.

CI plays some; `CITYEYE_ACTIONS=20000` plays as many as that.
"""

import json
import os
import tempfile
from collections import Counter
from datetime import date, datetime
from functools import partial
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import select

from collector.exchange import reports
from collector.people.actor import Actor
from collector.places import shops
from collector.places.codes import load_codes
from collector.store import AuditRow, IncidentRow, Ticket, TicketEvent, open_store
from collector.tickets import desk as door
from collector.tickets import pauses, policy
from collector.tickets.desk import RefusedError
from collector.tickets.machine import ARGUMENTS, FINAL, FINDINGS, VERBS, State, allowed, find
from collector.tickets.seams import Cover, Told
from tests import second_opinion
from tests.collector.conftest import Desk
from tests.collector.tickets.conftest import CHEN, LI, WANG, ZONE, Street
from tests.incidents import Case
from tests.places import AROUND, AUTHOR

ACTIONS = int(os.environ.get("CITYEYE_ACTIONS", "600"))
LENGTH = 20
FORWARD = ("confirm", "found", "told", "register", "dispatch", "accept", "feed_back", "solve", "reject")
MOVES = 1.4
"""Actions that a rule takes, about, as one of them takes several."""
CODES = load_codes()
SHOPS = ("shop-1", "shop-2", None)
ZONES = ("front", "side")
RULED = ("encroachment", "crowding")
REACHED = Counter()
"""States and accepted verbs of all courses, so that one sees that they got anywhere."""
RULES = policy.Policy(
    region="330105",
    unreviewed=({"hours": ["20:00-23:00"], "zones": ["cam-1/front"]},),
    offences=({"count": 2, "within_days": 1, "first": "community"},),
)
ARGS = {
    "of": st.integers(1, 3),
    "permit": st.just("permit 1"),
    "to": st.just("chen"),
    "result": st.sampled_from(["exists", "not_exist", "unable", "gone"]),
    "urgency": st.sampled_from(["normal", "urgent", "very_urgent", "soon"]),
    "minutes": st.integers(-5, 90),
}


class Life(RuleBasedStateMachine):
    """A street on which anything happens at any time."""

    def __init__(self):
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.desk = Desk(Path(self.temporary.name))
        self.street = Street(self.desk, "2026-02-14 18:00:00")
        self.street.told = self.told
        self.street.office = type(self.street.office)(
            self.street.order, self.told, self.street.withdraw, self.street.office.covering
        )
        self.street.restart()
        self.words = {}
        self.going = []
        self.seen_audit = 0
        self.desk.write(policy.put, "s", RULES, LI, self.street.now_ms)
        self.desk.write(shops.add, {"id": "shop-1", "name": "1", "street": "s"}, AUTHOR, AROUND)
        self.street.permit("permit 1")

    def told(self, _session, number, since_ms):
        at_ms, word = self.words.get(number, (0, Told()))
        if self.words.get(number) is not None and at_ms >= since_ms:
            return word
        ordered = [
            made_ms
            for one, made_ms in self.street.orders.values()
            if (one.ticket, one.kind) == (number, "shop_notice") and made_ms >= since_ms
        ]
        return Told("waiting") if ordered else Told()

    # the street

    @rule(shop=st.sampled_from(SHOPS), zone=st.sampled_from(ZONES), rule_=st.sampled_from(RULED))
    def appear(self, shop, zone, rule_):
        case = Case(next(self.street.numbers), rule_, shop, zone=zone, opened_s=self.street.true_s - 180)
        self.desk.take_any(case.opened(self.street.true_s))
        self.going.append(case)

    @rule(source=st.sampled_from(reports.REPORTED), shop=st.sampled_from(["shop-1", None]))
    def report(self, source, shop):
        told = reports.Report(source, "0504", "s", shop=shop, address="1")
        self.desk.write(reports.take, LI, told, CODES, self.street.now_ms)

    @precondition(lambda self: self.going)
    @rule(index=st.integers(0, 9), how=st.sampled_from(["cleared", "ended", "updated", "cleared"]))
    def carry_on(self, index, how):
        case = self.going[index % len(self.going)]
        now_s = self.street.true_s
        if how == "updated":
            self.desk.take_any(case.updated(now_s, visibility="not_seen"))
            return
        self.desk.take_any(getattr(case, how)(now_s - 30 if how == "cleared" else now_s))
        self.going.remove(case)

    # people

    @rule(
        who=st.sampled_from([LI, WANG, CHEN, Actor.shop("shop-1"), Actor.shop("shop-2"), Actor.policy("s")]),
        verb=st.sampled_from(VERBS),
        number=st.integers(0, 4),
        args=st.fixed_dictionaries(ARGS),
        stale=st.booleans(),
    )
    def act(self, who, verb, number, args, stale):
        if who.kind == "policy" and verb in ("hold", "exempt", "escalate"):
            return  # those take what only the desk itself knows
        self.step(who, verb, number, args, stale)

    @rule(
        number=st.integers(0, 4),
        moves=st.lists(st.integers(0, 1000), min_size=4, max_size=14),
        args=st.fixed_dictionaries(ARGS),
    )
    def drive(self, number, moves, args):
        """One ticket is carried on, each move one that leads somewhere, so that courses get far; each is an action."""
        ticket = self.newest(number)
        for turn, move in enumerate(moves if ticket is not None else ()):
            ticket = self.street.ticket(ticket.number)
            options = [
                partial(self.step, who, verb, number, args, stale=False, of=ticket.number)
                for who, verb in leading(ticket)
            ]
            options += [partial(self.street.wait, minutes) for minutes in (1.0, 7.0)]
            if ticket.state == "noticed" and ticket.told_ms is None and ticket.shop is not None:
                options += [partial(self.reach, ticket, how) for how in ("delivered", "delivered", "failed")]
            if self.street.asked():
                options += [partial(self.answer_all, state) for state in ("clear", "occupied", "not_seen")] * 2
            # small numbers are likelier; every option is to be as likely
            options[Random(f"{move} {turn}").randrange(len(options))]()
            self.sound()

    def step(self, who, verb, number, args, stale, of=None):
        ticket = self.newest(number) if of is None else self.street.ticket(of)
        if ticket is None:
            return
        now_ms = self.street.now_ms
        given = {name: args[name] for name in ("of", "permit", "to", "urgency", "result")}
        given["due_ms"] = now_ms + args["minutes"] * 60_000
        if who.kind != "policy":
            given = {name: value for name, value in given.items() if name in ARGUMENTS.get(verb, {})}
        seen = ticket.version - stale
        try:
            self.desk.write(door.act, who, ticket.number, verb, at_ms=now_ms, seen=seen, reason="why", **given)
        except RefusedError as fault:
            assert fault.text  # noqa: PT017 - every refusal says why
        else:
            assert not stale

    def newest(self, number):
        found = self.desk.rows(select(Ticket).order_by(Ticket.number.desc()).limit(5))
        return found[number % len(found)] if found else None

    # the world around

    @rule(minutes=st.sampled_from([0.0, 1.0, 4.0, 6.0, 12.0, 40.0, 300.0, 900.0]))
    def wait(self, minutes):
        self.street.wait(minutes)

    @rule(number=st.integers(0, 4), how=st.sampled_from(["delivered", "sent", "unsure", "failed"]))
    def carry_notice(self, number, how):
        ticket = self.newest(number)
        if ticket is not None and ticket.shop is not None:
            self.reach(ticket, how)

    def reach(self, ticket, how):
        now_ms = self.street.now_ms
        told_ms = now_ms if how in ("delivered", "sent") else None
        mine = [
            one for one, _ in self.street.orders.values() if (one.ticket, one.kind) == (ticket.number, "shop_notice")
        ]
        if mine and now_ms >= max(one.not_before_ms for one in mine):
            self.words[ticket.number] = (now_ms, Told(how, told_ms, 1))
            self.desk.write(door.look, ticket.number)

    @rule(states=st.lists(st.sampled_from(["clear", "occupied", "not_seen"]), min_size=1, max_size=3))
    def answer(self, states):
        self.answer_all(*states)

    def answer_all(self, *states):
        asked = self.street.asked()
        self.street.reply(*(states[index % len(states)] for index in range(len(asked))))

    @rule(minutes=st.sampled_from([5, 60]), zone=st.sampled_from([*ZONES, None]))
    def pause(self, minutes, zone):
        now_ms = self.street.now_ms
        with self.desk.store.writing() as session:
            until_ms = now_ms + minutes * 60_000
            pauses.begin(session, LI, "box-1", "cam-1", zone, until_ms=until_ms, reason="wind", at_ms=now_ms)

    @rule(hours=st.sampled_from([0, 0, 1, 3]), zone=st.sampled_from(ZONES))
    def grant(self, hours, zone):
        until_ms = self.street.now_ms + hours * 3_600_000

        def cover(place, at_ms):
            return Cover(1, "permit", until_ms) if place.zone == zone and place.shop and at_ms < until_ms else None

        self.street.cover = cover

    @rule()
    def restart(self):
        self.desk.store.close()
        self.desk.store = self.street.desk.store = open_store(self.desk.url)
        self.desk.writer._store = self.desk.store
        self.street.restart()

    @rule(by_s=st.sampled_from([7200.0, -7200.0, 90_000.0]))
    def misset(self, by_s):
        """The clock is set wrong, and right again a little later."""
        self.street.keeper.step()
        self.street.wrong_s = by_s
        assert self.street.keeper.step() == 0
        self.street.true_s += 30
        assert self.street.keeper.step() == 0
        self.street.wrong_s = 0.0
        assert self.street.keeper.step() == 0
        self.street.true_s += 61

    # what must hold

    @invariant()
    def sound(self):
        with self.desk.store.transaction() as session:
            tickets = list(session.scalars(select(Ticket)))
            fresh = session.scalars(select(AuditRow).where(AuditRow.number > self.seen_audit).order_by(AuditRow.number))
            touched = {int(row.object.split("/")[1]) for row in fresh if row.object.startswith("ticket/")}
            newest = session.scalars(select(AuditRow.number).order_by(AuditRow.number.desc()).limit(1)).first()
            self.seen_audit = newest or 0
            lines = {}
            for event in session.scalars(
                select(TicketEvent).where(TicketEvent.ticket_number.in_(touched)).order_by(TicketEvent.id)
            ):
                lines.setdefault(event.ticket_number, []).append(event)
            rows = list(session.scalars(select(IncidentRow)))
        assert {row.id for row in rows if row.state == "open"} == {case.id for case in self.going}
        present = {row.ticket_number for row in rows if row.state == "open"}
        assert {ticket.number for ticket in tickets if ticket.present} == present
        keys = [ticket.key for ticket in tickets if ticket.open]
        assert len(keys) == len(set(keys)), "two open tickets for one key"
        REACHED["actions"] += 1
        for ticket in tickets:
            REACHED[ticket.state] += 1
            assert bool(ticket.open) == (ticket.state not in FINAL)
            assert not ticket.open or ticket.look_ms is not None, "open, and nobody will look at it"
            if ticket.number in touched:
                check_lines(ticket, lines[ticket.number])
        for order, at_ms in self.street.orders.values():
            if order.audience in ("shop", "community"):
                assert order.not_before_ms >= at_ms
                hour = RULES.working_time.local(order.not_before_ms).hour
                assert 7 <= hour < 22, "told in quiet hours"

    def teardown(self):
        self.street.keeper.tally.faults = 0
        ended = datetime.fromtimestamp(self.street.now_s + 86_400, ZONE).date()
        found = second_opinion.differences(self.desk.store, date(2026, 2, 1), ended, ZONE, self.street.now_ms)
        self.desk.store.close()
        assert found == []
        self.temporary.cleanup()


def leading(ticket):
    """Who may do what with a ticket so that it goes on; what would end it at once is rarer."""
    found = []
    for who in (LI, CHEN, WANG, Actor.shop(ticket.shop or "none")):
        for verb in allowed(ticket.state, who.kind, who.roles("s")):
            line = find(ticket.state, verb)
            if line.targets or verb in ("told", "review", "shop_done", "found"):
                found += [(who, verb)] * (8 if verb in FORWARD else 1)
    return found


def check_looked(lines):
    """What nobody has seen who works here is confirmed only after somebody has looked."""
    seen, found = True, None
    for event in lines:
        detail = json.loads(event.detail)
        if event.kind == "reported":
            seen = detail["source"] == "grid"
        if event.kind in ("found", "inspect"):
            found = detail.get("result")
        assert event.kind != "confirm" or seen or found == "exists"


def check_lines(ticket, lines):
    """Read a time line again: whether each step had its grounds."""
    reviewer = shop_due_ms = told_ms = asked = due_ms = None
    check_looked(lines)
    for event in lines:
        detail = json.loads(event.detail)
        due_ms = detail.get("due_ms", due_ms)
        before = json.loads(event.before) if event.before else {}
        if event.kind in ("reopen", "resume", "reconsider"):
            shop_due_ms = told_ms = asked = None
        assert event.kind != "put_right" or (told_ms is not None and event.at_ms <= (shop_due_ms or event.at_ms))
        if event.kind in ("confirm", "notify"):
            reviewer = event.author if event.kind == "confirm" else None
            shop_due_ms = told_ms = None
            asked = detail["state"] == "noticed"
        if event.kind == "review":
            reviewer = event.author
        if event.kind == "told":
            shop_due_ms, told_ms = detail["shop_due_ms"], detail["told_ms"]
        if event.kind == "untold":
            shop_due_ms = told_ms = None
        if event.kind == "extend" and "shop_due_ms" in before:
            assert detail["due_ms"] > before["shop_due_ms"], "the shop's minutes were shortened"
            shop_due_ms = detail["due_ms"]
        if event.kind == "reject" and "shop_due_ms" in before:
            shop_due_ms = None  # moved with a reason
        if event.kind == "register":
            assert reviewer is not None, "registered without a reviewer"
            assert reviewer.startswith("person:"), "registered without a person"
            assert not asked or told_ms is not None, "enforced although the shop was not told"
            assert shop_due_ms is None or event.at_ms >= shop_due_ms, "enforced before the shop's deadline"
        if event.kind == "time_up":
            assert told_ms is not None
            assert shop_due_ms is None or event.at_ms >= shop_due_ms
        if event.kind == "correct":
            assert event.author.startswith("camera:")
            assert shop_due_ms is None or detail["clear_ms"] <= shop_due_ms
    if ticket.open and ticket.due_entered == ticket.entered:
        assert ticket.due_ms == due_ms, "a deadline moved without a record"


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=max(1, round(ACTIONS / (LENGTH * MOVES))),
    stateful_step_count=LENGTH,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def walk(chance, actions):
    """The same street without shrinking: longer courses in less time."""
    life = Life()
    try:
        until = REACHED["actions"] + actions
        while REACHED["actions"] < until:
            number = chance.randrange(5)
            args = {"of": 1, "permit": "p", "to": "chen", "urgency": "urgent", "minutes": chance.randint(-5, 90)}
            args["result"] = chance.choice(FINDINGS)
            doing = [
                lambda: life.appear(chance.choice(SHOPS), chance.choice(ZONES), "encroachment"),
                lambda: life.report(source=chance.choice(reports.REPORTED), shop=chance.choice(["shop-1", None])),
                *[partial(life.drive, number=number, moves=[chance.randrange(999) for _ in range(12)], args=args)] * 2,
                lambda n=number: life.going and life.carry_on(n, chance.choice(["cleared", "ended", "updated"])),
                lambda: life.wait(minutes=chance.choice([0.0, 1.0, 6.0, 40.0, 600.0])),
                lambda: life.misset(by_s=chance.choice([7200.0, -7200.0])),
                life.restart,
                partial(life.act, LI, chance.choice(VERBS), number, args, stale=False),
            ]
            chance.choice(doing)()
            life.sound()
    finally:
        life.teardown()


def test_long_walks_get_everywhere():
    chance, reached = Random(7), REACHED["actions"]
    while REACHED["actions"] < reached + ACTIONS:
        walk(chance, min(300, ACTIONS))
    print(dict(REACHED))
    if ACTIONS >= 5000:
        assert {str(state) for state in State} <= set(REACHED)
