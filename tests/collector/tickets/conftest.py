"""A street: the real inbox, desk and timekeeper on a clock that is set by hand."""

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from collector.people.actor import Actor, Grant, Role
from collector.store import CommandRow, PermitRow, Ticket, TicketEvent
from collector.tickets import desk as door
from collector.tickets import policy
from collector.tickets.policy import Policy
from collector.tickets.seams import Office, Told
from collector.tickets.timekeeper import Timekeeper, Watch
from protocol.commands import PlaceSeen, Reply, ReplyEvent, Verified
from protocol.instants import from_epoch
from tests import incidents
from tests.incidents import Case

ZONE = ZoneInfo("Asia/Shanghai")
LI = Actor("person", "li", "李", frozenset({Grant(Role.OPERATOR, "s")}))
WANG = Actor("person", "wang", "王", frozenset({Grant(Role.GRID_WORKER, "s")}))
CHEN = Actor("person", "chen", "陈", frozenset({Grant(Role.OFFICER, "s")}))
SHOP = Actor.shop("shop-1")


def at(text):
    """Seconds since the epoch of a street's date and time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


class Street:
    """What happens at a street, and what its center does about it."""

    def __init__(self, desk, begins="2026-03-02 10:00:00"):
        self.desk = desk
        self.true_s = at(begins)
        self.wrong_s = 0.0
        self.orders = {}
        self.withdrawn = []
        self.word = Told()
        self.cover = lambda _place, _at_ms: None
        self.office = Office(
            self.order, self.told, self.withdraw, lambda _s, place, at_ms, _z: self.cover(place, at_ms)
        )
        self.numbers = iter(range(1, 10_000))
        self.restart()
        desk.writer._now = lambda: self.now_s
        desk.take_any(incidents.status())

    def restart(self):
        watch = Watch(lambda: self.now_s, lambda: self.true_s)
        self.keeper = Timekeeper(self.desk.store, self.office, self.desk.files, watch=watch)

    @property
    def now_s(self):
        return self.true_s + self.wrong_s

    @property
    def now_ms(self):
        return round(self.now_s * 1000)

    def order(self, _session, order, _policy, now_ms):
        if order.key in self.orders:
            return False
        self.orders[order.key] = (order, now_ms)
        return True

    def told(self, _session, _number, _since_ms):
        return self.word

    def withdraw(self, _session, number, _now_ms, reason):
        self.withdrawn.append((number, reason))
        return 0

    def kinds(self, audience=None):
        return [order.kind for order, _ in self.orders.values() if audience in (None, order.audience)]

    def wait(self, minutes=0.0, until=None):
        """Let time go by; the timekeeper looks once a second of each look that is due."""
        goal_s = self.true_s + minutes * 60 if until is None else at(until)
        while True:
            while self.keeper.step():
                pass
            due = self.desk.scalar(select(Ticket.look_ms).where(Ticket.look_ms.is_not(None)).order_by(Ticket.look_ms))
            next_s = goal_s if due is None else max(due / 1000 - self.wrong_s, self.true_s + 1)
            if next_s >= goal_s:
                self.true_s = max(goal_s, self.true_s)
                while self.keeper.step():
                    pass
                return self
            self.true_s = next_s

    def policy(self, **values):
        self.desk.write(policy.put, "s", Policy(**values), LI, self.now_ms)
        return self

    def appears(self, **where):
        case = Case(number=next(self.numbers), opened_s=self.now_s - 180, **where)
        self.desk.take_any(case.opened(self.now_s))
        self.wait()
        return case

    def clears(self, case, seconds_ago=60.0):
        self.desk.take_any(case.message("cleared", self.now_s, cleared_at=from_epoch(self.now_s - seconds_ago)))
        self.wait()

    def act(self, actor, verb, number=1, **args):
        self.desk.write(door.act, actor, number, verb, at_ms=self.now_ms, **args)
        self.wait()
        return self.ticket(number)

    def confirmed(self, **where):
        """Something appears, and a person says that it is so."""
        case = self.appears(**where)
        self.act(LI, "confirm")
        return case

    def noticed(self, **where):
        """And the shop is told."""
        case = self.confirmed(**where)
        self.tell()
        return case

    def registered(self, **where):
        """And has had its minutes."""
        case = self.noticed(**where)
        self.wait(7)
        self.act(LI, "register")
        return case

    def dispatched(self, **where):
        """And an officer is to see to it."""
        case = self.registered(**where)
        self.act(LI, "dispatch", to="chen")
        return case

    def handled(self, **where):
        """Who says that it is done."""
        case = self.dispatched(**where)
        self.act(CHEN, "accept")
        self.act(CHEN, "feed_back")
        return case

    def permit(self, number="on paper 12", **values):
        """One that stands in the register, as it is read by the desk."""
        days = {"from_day": "2026-01-01", "until_day": "2026-12-31", "weekdays": "", "hours": "", "excluded": ""}
        texts = {"issuer": "街道", "business": "", "zones": "box-1/cam-1/side", "area": "", "note": "", "changed_ms": 0}
        row = {"number": number, "revision": 1, "street": "s", "state": "active", **days, **texts, **values}
        with self.desk.store.writing() as session:
            session.add(PermitRow(**row))

    def ticket(self, number=1):
        return self.desk.get(Ticket, number)

    def state(self, number=1):
        return self.ticket(number).state

    def lines(self, number=1):
        rows = self.desk.rows(select(TicketEvent).where(TicketEvent.ticket_number == number).order_by(TicketEvent.id))
        return [(row.kind, json.loads(row.detail)) for row in rows]

    def steps(self, number=1):
        return [kind for kind, detail in self.lines(number) if "version" in detail]

    def tell(self, state="delivered"):
        """The notice reaches the shop now."""
        self.word = Told(state, self.now_ms if state in ("sent", "delivered") else None, 1)
        self.desk.write(door.look, 1)
        self.wait()

    def asked(self):
        return self.desk.rows(select(CommandRow).where(CommandRow.state.in_(("waiting", "sent"))))

    def reply(self, *states, pictures=()):
        """Boxes answer what they are asked."""
        for row, state in zip(self.asked(), states, strict=True):
            self.desk.take_any(*pictures, self.seen(row, state))
        self.wait()

    def seen(self, row, state):
        args = json.loads(row.args)
        seen = (PlaceSeen(place=(0.4, 0.5, 0.1, 0.2), state=state),)
        verified = Verified(camera=args["camera"], zone=args["zone"], at=from_epoch(self.now_s), places=seen)
        return self.envelope(row.box_id, Reply(command=row.id, outcome="ok", data=verified.model_dump(mode="json")))

    def envelope(self, box, data):
        return incidents.told(ReplyEvent, "reply", self.now_s, data, box)


@pytest.fixture
def street(desk):
    """On either database."""
    return Street(desk)
