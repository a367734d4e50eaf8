"""One day of a street, and the days after it until everything has come to its end or is escalated.

What the simulation replaces is what lies outside the center: boxes, the carrier of messages, the register of permits,
and people. Boxes speak the real protocol into the real inbox; people act through the desk, and only upon what they were
told: a ticket of which nobody hears is one that nobody ever touches.
"""

import heapq
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from collector.evidence.files import PictureFiles
from collector.inbox.reading import Delivery
from collector.inbox.writer import Writer
from collector.people.actor import Actor, Grant, Role
from collector.store import AuditRow, Box, CommandRow, IncidentRow, Ticket, TicketEvent, open_store
from collector.tickets import desk, pauses, policy
from collector.tickets.attend import PREFIX
from collector.tickets.desk import RefusedError
from collector.tickets.machine import FINAL, State
from collector.tickets.policy import Policy, Unreviewed
from collector.tickets.seams import Cover, Office, Order, Told
from collector.tickets.timekeeper import Timekeeper, Watch
from protocol.commands import PlaceSeen, Reply, ReplyEvent, Verified
from protocol.instants import from_epoch
from protocol.messages import dataschema
from tests import incidents
from tests.incidents import Case

ZONE = ZoneInfo("Asia/Shanghai")
DAY = datetime(2026, 2, 14, 0, 0, tzinfo=ZONE)
"""A Saturday that is worked; nine days of Spring Festival follow, and the next working day is the 24th."""
END = datetime(2026, 3, 4, 12, 0, tzinfo=ZONE)
MINUTE, HOUR = 60.0, 3600.0
STREET = "xiaohe"
BOXES, CAMERAS = 10, 4
BLIND = ("box-3", "cam-2", 10 * HOUR, 14 * HOUR)
"""A camera that sees nothing from one hour of the day to another."""
FLOOD = ("box-7", "cam-1", "trees")
"""A zone without a shop, where branches move in the wind of the afternoon."""
JUMPS = ((11 * HOUR, -HOUR), (11 * HOUR + 30, HOUR), (15 * HOUR, 900.0), (15 * HOUR + 40, -900.0))
"""When the center's clock is set wrong, and right again, in the day; seconds and by how many."""
RESTARTS = (6 * HOUR, 12.5 * HOUR, 20 * HOUR)
POLICY = Policy(region="330105", unreviewed=(Unreviewed(hours=("Mo-Su 20:00-22:00",), zones=("cam-1/*", "cam-2/*")),))
ROOM = Actor("person", "li", "李", frozenset({Grant(Role.OPERATOR, STREET)}))
WORKER = Actor("person", "wang", "王", frozenset({Grant(Role.GRID_WORKER, STREET)}))
OFFICER = Actor("person", "chen", "陈", frozenset({Grant(Role.OFFICER, STREET)}))


@dataclass
class Message:
    """What the carrier was given."""

    order: Order
    ordered_ms: int
    arrived_ms: int | None = None
    state: str = "waiting"


@dataclass
class Carrier:
    """Carries messages to people: late, or not at all; the notices' room stands here once it is there."""

    day: "Day"
    messages: dict[str, Message] = field(default_factory=dict)
    of: dict[int, list[Message]] = field(default_factory=lambda: defaultdict(list))
    twice: int = 0
    withdrawn: int = 0

    def order(self, _session: object, order: Order, _policy: Policy, now_ms: int) -> bool:
        if order.key in self.messages:
            self.twice += 1
            return False
        message = self.messages[order.key] = Message(order, now_ms)
        self.of[order.ticket].append(message)
        at_ms = max(now_ms, order.not_before_ms)
        self.day.at(at_ms / 1000 + self.day.chance.uniform(1, 8), lambda: self.arrive(message))
        return True

    def arrive(self, message: Message) -> None:
        """It reaches somebody, or it does not."""
        if message.state != "waiting":
            return
        message.arrived_ms = self.day.now_ms
        order = message.order
        luck = self.day.chance.random()
        message.state = "failed" if luck < 0.02 else "unsure" if luck < 0.03 else "delivered"
        if order.audience == "shop":
            with self.day.store.writing() as session:
                desk.look(session, order.ticket)
            if message.state == "delivered" and order.kind == "shop_notice":
                self.day.people.shopkeeper(order.ticket, order.to)
        elif message.state == "delivered" or order.audience in ("operator", "room"):
            self.day.people.hear(order)

    def told(self, _session: object, number: int, since_ms: int) -> Told:
        mine = [one for one in self.of[number] if one.order.kind == "shop_notice" and one.ordered_ms >= since_ms]
        if not mine or mine[-1].state == "withdrawn":
            return Told()
        newest = mine[-1]
        return Told(newest.state, newest.arrived_ms if newest.state == "delivered" else None, len(mine))  # type: ignore[arg-type]

    def withdraw(self, _session: object, number: int, _now_ms: int, _reason: str) -> int:
        waiting = [one for one in self.of[number] if one.state == "waiting"]
        for one in waiting:
            one.state = "withdrawn"
        self.withdrawn += len(waiting)
        return len(waiting)


class People:
    """Who acts, late or not at all, and only when told."""

    def __init__(self, day: "Day") -> None:
        self.day = day
        self.refused: Counter[str] = Counter()
        self.acts = 0

    def hear(self, order: Order) -> None:
        chance = self.day.chance
        if chance.random() < 0.04:
            return  # never does it
        slow = chance.random() < 0.1
        if order.audience in ("operator", "room"):
            wait_s = chance.uniform(20, 180) * (20 if slow else 1)
            doing: Callable[[int], None] = self.operator
        elif order.audience == "community":
            wait_s, doing = chance.uniform(2, 8) * MINUTE * (10 if slow else 1), self.worker
        else:
            wait_s, doing = chance.uniform(5, 40) * MINUTE * (10 if slow else 1), self.officer
        self.day.at(self.day.now_s + wait_s, lambda: doing(order.ticket))

    def shopkeeper(self, number: int, shop: str) -> None:
        """Clears the place, says so, objects, or does nothing."""
        chance, now_s = self.day.chance, self.day.now_s
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


class Day:
    """The street.

    Args:
        folder: for the database.
        count: incidents, all together.
        seed: of everything that is left to chance.
        url: of the database; None: SQLite in the folder.
        until: when the simulation ends.
    """

    def __init__(self, folder: Path, count: int, seed: int, url: str | None = None, until: datetime = END) -> None:
        self.chance = Random(seed)
        self.until_s = until.timestamp()
        self.url = url or f"sqlite:///{folder / 'center.db'}"
        self.store = open_store(self.url)
        self.files = PictureFiles(folder / "evidence")
        self.true_s = DAY.timestamp()
        self.wrong_s = 0.0
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.order = itertools.count()
        self.cases: dict[str, Case] = {}
        self.standing: set[str] = set()
        self.false: set[str] = set()
        self.writer = Writer(self.store, self.files, lambda: None, lambda: self.true_s + self.wrong_s)
        self.carrier, self.people = Carrier(self), People(self)
        self.office = Office(self.carrier.order, self.carrier.told, self.carrier.withdraw, self.covering)
        self.keeper = self.started()
        self.looks = self.steps = self.faults = self.jumps = 0
        self.answered: set[str] = set()
        self.plan(count)

    # clock and queue

    @property
    def now_s(self) -> float:
        return self.true_s

    @property
    def now_ms(self) -> int:
        return round((self.true_s + self.wrong_s) * 1000)

    def at(self, when_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (max(when_s, self.true_s), next(self.order), what))

    def started(self) -> Timekeeper:
        watch = Watch(lambda: self.true_s + self.wrong_s, lambda: self.true_s)
        return Timekeeper(self.store, self.office, self.files, watch=watch)

    def restart(self) -> None:
        """The collector is killed and started again."""
        self.tally()
        self.store.close()
        self.store = open_store(self.url)
        self.writer = Writer(self.store, self.files, lambda: None, lambda: self.true_s + self.wrong_s)
        self.keeper = self.started()

    def tally(self) -> None:
        tally = self.keeper.tally
        self.looks, self.steps = self.looks + tally.looks, self.steps + tally.steps
        self.faults, self.jumps = self.faults + tally.faults, self.jumps + tally.jumps

    def set_clock(self, by_s: float) -> None:
        self.wrong_s += by_s

    # what happens on the street

    def plan(self, count: int) -> None:
        chance, start_s = self.chance, DAY.timestamp()
        with self.store.writing() as session:
            policy.put(session, STREET, POLICY, ROOM, self.now_ms)
        self.send(*(incidents.status(box=f"box-{n}", site=STREET) for n in range(BOXES)))
        places = [(f"box-{n % BOXES}", f"cam-{n // BOXES % CAMERAS + 1}", f"shop-{n}") for n in range(60)]
        offenders = places[:5]
        flood = count // 12
        numbers = itertools.count(1)
        for _ in range(flood):
            self.opens(
                next(numbers), FLOOD, None, start_s + chance.uniform(13, 16) * HOUR, chance.uniform(1, 6) * MINUTE
            )
        for _ in range(count // 40):
            box, camera = f"box-{chance.randrange(BOXES)}", f"cam-{chance.randrange(CAMERAS) + 1}"
            when_s = start_s + chance.uniform(9, 21) * HOUR
            self.opens(next(numbers), (box, camera, "square"), None, when_s, chance.uniform(5, 60) * MINUTE, "crowding")
        made = flood + count // 40
        while made < count:
            box, camera, shop = chance.choice(offenders if chance.random() < 0.3 else places)
            when_s = start_s + (chance.uniform(6, 23.5) if chance.random() < 0.95 else chance.uniform(0, 24)) * HOUR
            for again in range(chance.choices((1, 2, 3), (80, 14, 6))[0]):
                if made == count:
                    break
                lasts_s = chance.lognormvariate(2.3, 1.1) * MINUTE
                number = next(numbers)
                self.opens(number, (box, camera, f"front-{shop}"), shop, when_s, lasts_s)
                made += 1
                when_s += lasts_s + chance.choice((8, 20, 45, 200)) * MINUTE
                del again
        for when_s, by_s in JUMPS:
            self.at(start_s + when_s, lambda by_s=by_s: self.set_clock(by_s))
        for when_s in RESTARTS:
            self.at(start_s + when_s, self.restart)
        self.at(start_s + 14.2 * HOUR, self.pause_flood)
        self.at(start_s + BLIND[2], lambda: self.blind(seen=False))
        self.at(start_s + BLIND[3], lambda: self.blind(seen=True))

    def opens(
        self,
        number: int,
        place: tuple[str, str, str],
        shop: str | None,
        when_s: float,
        lasts_s: float,
        rule: str = "encroachment",
    ) -> None:
        box, camera, zone = place
        case = Case(number, rule, shop, box, STREET, camera, zone, when_s)
        if place == FLOOD or self.chance.random() < 0.12:
            self.false.add(case.id)

        def begin() -> None:
            self.cases[case.id] = case
            self.standing.add(case.id)
            delay_s = self.chance.uniform(60, 240) * 60 if self.chance.random() < 0.03 else 0.0
            message = case.opened(self.true_s)
            self.at(self.true_s + delay_s, lambda: self.send(message))

        self.at(when_s + 180, begin)
        self.at(when_s + 180 + lasts_s, lambda: self.clears(case.id))

    def clears(self, incident: str) -> None:
        """The goods are taken in; the camera says so a minute later, if it sees."""
        if incident not in self.standing:
            return
        case = self.cases[incident]
        if self.is_blind(case):
            self.at(DAY.timestamp() + BLIND[3] + 60, lambda: self.clears(incident))
            return
        self.standing.discard(incident)
        cleared_s = self.true_s
        late_s = self.chance.uniform(5, 90) * MINUTE if self.chance.random() < 0.05 else 60.0
        self.at(self.true_s + late_s, lambda: self.send(case.cleared(cleared_s)))

    def clear_all(self, number: int) -> None:
        with self.store.transaction() as session:
            of_ticket = select(IncidentRow.id).where(IncidentRow.ticket_number == number)
            found = list(session.scalars(of_ticket))
        for incident in found:
            self.clears(incident)

    def is_blind(self, case: Case) -> bool:
        box, camera, from_s, until_s = BLIND
        since_s = self.true_s - DAY.timestamp()
        return (case.box, case.camera) == (box, camera) and from_s <= since_s < until_s

    def blind(self, *, seen: bool) -> None:
        for incident in sorted(self.standing):
            case = self.cases[incident]
            if (case.box, case.camera) == BLIND[:2]:
                self.send(case.updated(self.true_s, visibility="seen" if seen else "not_seen"))

    def is_false(self, ticket: Ticket) -> bool:
        with self.store.transaction() as session:
            found = set(session.scalars(select(IncidentRow.id).where(IncidentRow.ticket_number == ticket.number)))
        return bool(found) and found <= self.false

    def pause_flood(self) -> None:
        with self.store.writing() as session:
            box, camera, zone = FLOOD
            until_ms = self.now_ms + round(1.5 * HOUR * 1000)
            pauses.begin(session, ROOM, box, camera, zone, until_ms=until_ms, reason="树枝 branches", at_ms=self.now_ms)

    def covering(self, _session: object, place: object, at_ms: int, _timezone: str) -> Cover | None:
        """Six shops may set out from 17:00 to 22:00."""
        shop = getattr(place, "shop", None)
        local = datetime.fromtimestamp(at_ms / 1000, ZONE)
        if shop not in {f"shop-{n}" for n in range(50, 56)} or not 17 <= local.hour < 22:
            return None
        until = local.replace(hour=22, minute=0, second=0, microsecond=0)
        return Cover(1, f"备案 {shop}", round(until.timestamp() * 1000))

    # the line

    def send(self, *messages: Delivery) -> None:
        for answer in self.writer.commit(messages):
            assert not answer.acknowledgement.refused, answer
            assert not answer.acknowledgement.later, answer

    def answer_commands(self) -> None:
        """Boxes look when they are asked; one of them is off line in the evening."""
        with self.store.transaction() as session:
            waiting = list(session.scalars(select(CommandRow).where(CommandRow.state == "waiting")))
        for row in waiting:
            if row.id in self.answered:
                continue
            self.answered.add(row.id)
            hour = datetime.fromtimestamp(self.true_s, ZONE).hour
            if not (row.box_id == "box-5" and hour >= 18):
                self.at(self.true_s + 3, lambda row=row: self.reply(row))

    def reply(self, row: CommandRow) -> None:
        args = json.loads(row.args)
        there = [
            case
            for incident in self.standing
            if (case := self.cases[incident])
            and (case.box, case.camera, case.zone) == (row.box_id, args["camera"], args["zone"])
        ]
        blind = (row.box_id, args["camera"]) == BLIND[:2] and bool(there and self.is_blind(there[0]))
        state = "not_seen" if blind or self.chance.random() < 0.05 else "occupied" if there else "clear"
        seen = (PlaceSeen(place=(0.4, 0.5, 0.1, 0.2), state=state),)
        verified = Verified(camera=args["camera"], zone=args["zone"], at=from_epoch(self.true_s), places=seen)
        data = Reply(command=row.id, outcome="ok", data=verified.model_dump(mode="json"))
        event = ReplyEvent(
            id=f"r-{row.id}",
            source=f"/cityeye/{STREET}/{row.box_id}",
            type="cityeye.box.reply",
            time=from_epoch(self.true_s),
            dataschema=dataschema("reply"),
            data=data,
        )
        self.send(Delivery(f"cityeye/1/{STREET}/{row.box_id}/reply", event.to_json()))

    # going through it

    def run(self) -> None:
        while self.true_s < self.until_s:
            while self.keeper.step():
                pass
            self.answer_commands()
            upcoming_s = self.heap[0][0] if self.heap else self.until_s
            with self.store.transaction() as session:
                look_ms = session.scalar(select(func.min(Ticket.look_ms)))
            if self.wrong_s or not self.keeper._watch.settled:
                look_s = self.true_s + 5
            else:
                look_s = self.until_s if look_ms is None else max(look_ms / 1000, self.true_s + 0.001)
            self.true_s = min(upcoming_s, look_s, self.until_s)
            while self.heap and self.heap[0][0] <= self.true_s:
                heapq.heappop(self.heap)[2]()
        self.tally()


# what must hold

AGAIN = ("reopen", "resume", "reconsider")
"""With these a new round begins, in which people are told anew."""


def faults(day: Day) -> list[str]:
    """Everything that was forgotten, told twice, or done before its time; one line each."""
    found: list[str] = []
    with day.store.transaction() as session:
        tickets = list(session.scalars(select(Ticket).order_by(Ticket.number)))
        lines = defaultdict(list)
        for event in session.scalars(select(TicketEvent).order_by(TicketEvent.id)):
            lines[event.ticket_number].append(event)
        rows = list(session.scalars(select(IncidentRow)))
        found += _chain(list(session.scalars(select(AuditRow).order_by(AuditRow.number))))
        assert session.scalar(select(func.count()).select_from(Box)) == BOXES
    members = defaultdict(list)
    for row in rows:
        members[row.ticket_number].append(row)
    if {row.id for row in rows} != set(day.cases):
        found.append(f"incidents: {len(day.cases)} were sent, {len(rows)} are there")
    for ticket in tickets:
        found += [
            f"ticket {ticket.number} ({ticket.state}): {text}" for text in _of_ticket(day, ticket, lines, members)
        ]
    found += _of_messages(day, lines)
    if day.faults:
        found.append(f"{day.faults} looks at tickets failed")
    return found


def _of_ticket(
    day: Day, ticket: Ticket, lines: dict[int, list[TicketEvent]], members: dict[int, list[IncidentRow]]
) -> list[str]:
    found = []
    mine = lines[ticket.number]
    if ticket.open != int(ticket.state not in FINAL):
        found.append(f"open is {ticket.open}")
    if ticket.open:
        late = ticket.due_ms is not None and ticket.due_ms < day.now_ms
        if not (late and ticket.level):
            found.append(f"neither ended nor overdue and escalated: due {ticket.due_ms}, level {ticket.level}")
        if ticket.look_ms is None:
            found.append("open, and nothing will look at it")
    found += _of_lines(ticket, mine)
    if any(event.kind == "correct" for event in mine):
        box, camera, _, _ = BLIND
        unseen = [one for one in members[ticket.number] if one.state == "open" and one.visibility == "not_seen"]
        if unseen and (ticket.box_id, ticket.camera) == (box, camera):
            found.append("corrected by a camera that sees nothing")
    return found


def _of_lines(ticket: Ticket, mine: list[TicketEvent]) -> list[str]:
    """Reads a time line again, as somebody would who checks whether all was done in its time."""
    found = []
    shop_due_ms = reviewer = due_ms = None
    for event in mine:
        detail = json.loads(event.detail)
        shop_due_ms = None if event.kind in AGAIN else detail.get("shop_due_ms", shop_due_ms)
        due_ms = detail.get("due_ms", due_ms)
        reviewer = {"confirm": event.author, "review": event.author, "notify": None}.get(event.kind, reviewer)
        if event.kind == "register" and not (reviewer or "").startswith("person:"):
            found.append("registered without a reviewer")
        if event.kind == "register" and shop_due_ms is not None and event.at_ms < shop_due_ms:
            found.append("registered before the shop's deadline")
        if event.kind == "correct" and detail["clear_ms"] > (shop_due_ms or detail["clear_ms"]):
            found.append("corrected after the shop's deadline")
    if ticket.open and due_ms != ticket.due_ms:
        found.append(f"its deadline moved to {ticket.due_ms} without a record, which says {due_ms}")
    return found


def _of_messages(day: Day, lines: dict[int, list[TicketEvent]]) -> list[str]:
    found = []
    shop = Counter[tuple[int, str]]()
    for message in day.carrier.messages.values():
        order = message.order
        if order.audience in ("shop", "community") and message.arrived_ms is not None:
            hour = datetime.fromtimestamp(message.arrived_ms / 1000, ZONE).hour
            # the carrier takes some seconds, and the clock may have been wrong meanwhile
            if (hour >= 22 and not (hour == 22 and message.arrived_ms % 3_600_000 < 60_000)) or hour < 7:
                found.append(f"ticket {order.ticket}: {order.kind} reached the {order.audience} at {hour} h")
        if order.audience == "shop":
            shop[order.ticket, order.kind] += 1
    for (ticket, kind), count in shop.items():
        rounds = 1 + sum(event.kind in AGAIN for event in lines[ticket])
        if count > rounds:
            found.append(f"ticket {ticket}: {count} of {kind} in {rounds} rounds")
    tasks = Counter((m.order.ticket, m.order.kind, m.order.level, m.order.key) for m in day.carrier.messages.values())
    found += [f"told twice: {key}" for key, count in tasks.items() if count > 1]
    escalated = Counter[int]()
    for message in day.carrier.messages.values():
        escalated[message.order.ticket] += message.order.kind in ("overdue", "escalated")
    for ticket, count in escalated.items():
        recorded = sum(event.kind == "escalate" for event in lines[ticket])
        if count != recorded:
            found.append(f"ticket {ticket}: escalated {recorded} times, told {count} times")
    return found


def _chain(rows: list[AuditRow]) -> list[str]:
    from collector.people.audit import START, digest  # noqa: PLC0415 - of this check alone

    before = START
    for row in rows:
        if row.before != before or digest(row) != row.hash:
            return [f"audit line {row.number}: the chain is broken"]
        before = row.hash
    return []


def figures(day: Day) -> dict[str, object]:
    """What the day was like."""
    with day.store.transaction() as session:
        states = dict(session.execute(select(Ticket.state, func.count()).group_by(Ticket.state)).all())
        outcomes = dict(
            session.execute(
                select(Ticket.outcome, func.count()).where(Ticket.state == State.CLOSED).group_by(Ticket.outcome)
            ).all()
        )
        kinds = dict(
            session.execute(
                select(TicketEvent.kind, func.count()).group_by(TicketEvent.kind).order_by(TicketEvent.kind)
            ).all()
        )
        kept_quiet = session.scalar(select(func.count()).where(Ticket.pause.is_not(None)))
        numbered = session.scalar(select(func.count()).where(Ticket.case_number.is_not(None)))
        verified = session.scalar(select(func.count()).where(CommandRow.id.like(f"{PREFIX}-%")))
        repeats = session.scalar(select(func.count()).where(Ticket.repeat_of.is_not(None)))
    told = Counter(f"{m.order.audience}: {m.order.kind}" for m in day.carrier.messages.values())
    return {
        "incidents": len(day.cases),
        "tickets": sum(states.values()),
        "states": states,
        "outcomes": outcomes,
        "repeats": repeats,
        "kept_quiet": kept_quiet,
        "case_numbers": numbered,
        "boxes_asked": verified,
        "told": dict(sorted(told.items())),
        "ordered_again": day.carrier.twice,
        "withdrawn": day.carrier.withdrawn,
        "acts": day.people.acts,
        "refused": dict(sorted(day.people.refused.items())),
        "lines": kinds,
        "looks": day.looks,
        "steps": day.steps,
        "clock_jumps": day.jumps,
    }
