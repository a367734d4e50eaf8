"""Who acts on the street, late or not at all, and only upon what they were told."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from collector.people.actor import Actor, Grant, Role
from collector.store import Ticket
from collector.tickets import desk
from collector.tickets.desk import RefusedError
from collector.tickets.machine import State
from tests.sim.line import Letter

if TYPE_CHECKING:
    from tests.sim.day import Day

STREET = "xiaohe"
MINUTE = 60.0
ROOM = Actor("person", "li", "李", frozenset({Grant(Role.OPERATOR, STREET)}))
WORKER = Actor("person", "wang", "王", frozenset({Grant(Role.GRID_WORKER, STREET)}))
OFFICER = Actor("person", "chen", "陈", frozenset({Grant(Role.OFFICER, STREET)}))


class People:
    """All of them."""

    def __init__(self, day: "Day") -> None:
        self.day = day
        self.refused: Counter[str] = Counter()
        self.acts = 0

    def read(self, letter: Letter) -> None:
        """A message has come."""
        if letter.audience != "shop":
            self.hear(letter)
        elif letter.kind == "shop_notice":
            self.shopkeeper(letter.ticket)

    def hear(self, letter: Letter) -> None:
        chance = self.day.chance
        if chance.random() < 0.04:
            return  # never does it
        slow = chance.random() < 0.1
        if letter.audience in ("operator", "room"):
            wait_s = chance.uniform(20, 180) * (20 if slow else 1)
            doing: Callable[[int], None] = self.operator
        elif letter.audience == "community":
            wait_s, doing = chance.uniform(2, 8) * MINUTE * (10 if slow else 1), self.worker
        else:
            wait_s, doing = chance.uniform(5, 40) * MINUTE * (10 if slow else 1), self.officer
        self.day.at(self.day.now_s + wait_s, lambda: doing(letter.ticket))

    def shopkeeper(self, number: int) -> None:
        """Clears the place, says so, objects, or does nothing."""
        chance, now_s, shop = self.day.chance, self.day.now_s, self.ticket(number).shop or ""
        luck = chance.random()
        if luck < 0.35:
            self.day.at(now_s + chance.uniform(1, 7) * MINUTE, lambda: self.day.clear_all(number))
        if 0.2 < luck < 0.45:
            self.day.at(now_s + chance.uniform(2, 5) * MINUTE, lambda: self.act(Actor.shop(shop), number, "shop_done"))
        elif luck > 0.93:
            verb = "appeal" if luck < 0.98 else "not_mine"
            when_s = now_s + chance.uniform(1, 60) * MINUTE
            self.day.at(when_s, lambda: self.act(Actor.shop(shop), number, verb, reason="不服 we disagree"))

    def act(self, actor: Actor, number: int, verb: str, **args: object) -> None:
        self.acts += 1
        try:
            with self.day.store.writing() as session:
                desk.act(session, actor, number, verb, at_ms=self.day.now_ms, **args)  # type: ignore[arg-type]
        except RefusedError as fault:
            self.refused[f"{verb}: {fault.code}"] += 1

    def ticket(self, number: int) -> Ticket:
        with self.day.store.transaction() as session:
            return session.get_one(Ticket, number)

    def operator(self, number: int) -> None:
        ticket = self.ticket(number)
        if ticket.state in (State.NOTICED, State.COMMUNITY) and ticket.reviewer is None:
            self.act(ROOM, number, "review")
        doing: dict[State, Callable[[Ticket], None]] = {
            State.PENDING_REVIEW: self.judge,
            State.NOTICED: self.reach,
            State.COMMUNITY: self.enforce,
            State.REGISTERED: self.send_out,
            State.REWORK: self.send_out,
            State.VERIFYING: self.decide,
            State.APPEALED: self.answer,
        }
        what = doing.get(State(ticket.state))
        if what is not None:
            what(ticket)

    def judge(self, ticket: Ticket) -> None:
        if self.day.is_false(ticket):
            self.act(ROOM, ticket.number, "false_alarm")
        else:
            self.act(ROOM, ticket.number, "confirm", seen=ticket.version)

    def reach(self, ticket: Ticket) -> None:
        if ticket.told_ms is None:
            verb = "told" if self.day.chance.random() < 0.7 else "pass_on"
            self.act(ROOM, ticket.number, verb, reason="打电话 by telephone")

    def enforce(self, ticket: Ticket) -> None:
        number, now_s = ticket.number, self.day.now_s
        if ticket.shop_asked_ms is not None and ticket.told_ms is None:
            self.act(ROOM, number, "told")
            self.day.at(now_s + 10 * MINUTE, lambda: self.operator(number))
        elif self.day.chance.random() < 0.1:
            self.act(ROOM, number, "extend", due_ms=self.day.now_ms + 30 * 60_000, reason="雨天 rain")
            self.day.at(now_s + 25 * MINUTE, lambda: self.operator(number))
        else:
            self.act(ROOM, number, "register")

    def send_out(self, ticket: Ticket) -> None:
        self.act(ROOM, ticket.number, "dispatch", to="chen")

    def decide(self, ticket: Ticket) -> None:
        verb = "close" if self.day.chance.random() < 0.7 else "rework"
        self.act(ROOM, ticket.number, verb, reason="现场照片 picture of the place")

    def answer(self, ticket: Ticket) -> None:
        verb = "uphold" if self.day.chance.random() < 0.4 else "reject"
        self.act(ROOM, ticket.number, verb, reason="已核实 looked into")

    def worker(self, number: int) -> None:
        ticket, chance = self.ticket(number), self.day.chance
        if ticket.state == State.COMMUNITY:
            if chance.random() < 0.6:
                self.day.clear_all(number)
                self.act(WORKER, number, "solve")
            elif chance.random() < 0.5:
                self.act(WORKER, number, "remark", reason="店主不在 nobody there")

    def officer(self, number: int) -> None:
        ticket, chance = self.ticket(number), self.day.chance
        if ticket.state in (State.DISPATCHED, State.REWORK):
            if chance.random() < 0.05 and ticket.state == State.DISPATCHED:
                self.act(OFFICER, number, "send_back", reason="非本辖区 not ours")
                return
            self.act(OFFICER, number, "accept")
            self.day.at(self.day.now_s + chance.uniform(10, 60) * MINUTE, lambda: self.handled(number))

    def handled(self, number: int) -> None:
        if self.day.chance.random() < 0.9:
            self.day.clear_all(number)
        self.act(OFFICER, number, "feed_back")
