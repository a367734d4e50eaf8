"""One day of a street, and the days after it until everything has come to its end or is escalated.

What the simulation replaces is what lies outside the center: boxes, the services that carry messages (`line`), and
people. Boxes speak the real protocol into the real inbox; the desk has its real office; the real sender speaks HTTP;
people act through the desk, and only upon what a channel brought them: a ticket of which nobody hears is one that
nobody ever touches.
"""

import heapq
import itertools
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Self
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from collector.evidence.files import PictureFiles
from collector.inbox.reading import Delivery
from collector.inbox.writer import Writer
from collector.notices.sender import Sender
from collector.notices.service import tools_of
from collector.notices.settings import ShopPagesSection
from collector.office import make_office
from collector.places import grid, permits, shops
from collector.places.history import Author
from collector.places.register import Around
from collector.store import CommandRow, IncidentRow, NoticeAttempt, NoticeRow, Ticket, open_store
from collector.tickets import pauses, policy
from collector.tickets.policy import Policy, Unreviewed
from collector.tickets.timekeeper import Timekeeper, Watch
from protocol.commands import PlaceSeen, Reply, ReplyEvent, Verified
from protocol.instants import from_epoch
from tests import incidents
from tests.incidents import Case
from tests.services import ROOT
from tests.sim.line import Line
from tests.sim.people import MINUTE, ROOM, STREET, People

ZONE = ZoneInfo("Asia/Shanghai")
DAY = datetime(2026, 2, 14, 0, 0, tzinfo=ZONE)
"""A Saturday that is worked; nine days of Spring Festival follow, and the next working day is the 24th."""
END = datetime(2026, 3, 4, 12, 0, tzinfo=ZONE)
HOUR = 3600.0
BOXES, CAMERAS = 10, 4
BLIND = ("box-3", "cam-2", 10 * HOUR, 14 * HOUR)
"""A camera that sees nothing from one hour of the day to another."""
FLOOD = ("box-7", "cam-1", "trees")
"""A zone without a shop, where branches move in the wind of the afternoon."""
JUMPS = ((11 * HOUR, -HOUR), (11 * HOUR + 30, HOUR), (15 * HOUR, 900.0), (15 * HOUR + 40, -900.0))
"""When the center's clock is set wrong, and right again, in the day; seconds and by how many."""
RESTARTS = (6 * HOUR, 12.5 * HOUR, 20 * HOUR)
SHOPS = 60
UNKNOWN, MUTE, DOUBTED = 56, 57, 58
"""Shops of which the register knows nothing, has no address, and has another one for their zone."""
PERMITTED = range(50, 56)
"""They may set out from 17:00 to 22:00."""
POLICY = Policy(region="330105", unreviewed=(Unreviewed(hours=("Mo-Su 20:00-22:00",), zones=("cam-1/*", "cam-2/*")),))


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
        self.line, self.people = Line(lambda: self.true_s, seed), People(self)
        self.settings, self.folder = self.line.settings(folder), folder
        self.keeper, self.sender = self.started()
        self.read = self.looks = self.steps = self.faults = self.jumps = self.died = 0
        self.dying = False
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

    def started(self) -> tuple[Timekeeper, Sender]:
        """The desk and the sender, as `serve` puts them together."""
        watch = Watch(lambda: self.true_s + self.wrong_s, lambda: self.true_s)
        keeper = Timekeeper(self.store, make_office(), self.files, watch=watch)
        now = lambda: self.true_s + self.wrong_s  # noqa: E731 - three of them take it
        tools = tools_of(self.settings, self.folder, now)
        clocks = {"now": now, "monotonic": lambda: self.true_s, "settled": lambda: watch.settled}
        parts = (self.store, self.settings, ShopPagesSection(), tools, "小河街道", ZONE)
        return keeper, Sender(*parts, random=Even(), **clocks)

    def restart(self) -> None:
        """The collector is to be killed as soon as it sends something."""
        self.dying = True

    def die(self) -> bool:
        """Killed in the midst of sending, and started again; false where nothing is being sent."""
        jobs = self.sender.claim()
        for job in jobs:
            if self.chance.random() < 0.5:
                job.channel.send(job.message, self.sender._tools)
        if not jobs:
            return False
        self.died += len(jobs)
        self.tally()
        self.sender.stop()
        self.store.close()
        self.store = open_store(self.url)
        self.writer = Writer(self.store, self.files, lambda: None, lambda: self.true_s + self.wrong_s)
        self.keeper, self.sender = self.started()
        self.sender._give_up(0)
        self.dying = False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sender.stop()
        self.line.__exit__()
        self.store.close()

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
        places = [(f"box-{n % BOXES}", f"cam-{n // BOXES % CAMERAS + 1}", f"shop-{n}") for n in range(SHOPS)]
        self.register(places)
        offenders = places[:5]
        flood = count // 12
        numbers = itertools.count(1)
        for _ in range(flood):
            when_s = start_s + chance.uniform(13, 16) * HOUR
            self.opens(next(numbers), FLOOD, None, when_s, chance.uniform(1, 6) * MINUTE)
        for _ in range(count // 40):
            box, camera = f"box-{chance.randrange(BOXES)}", f"cam-{chance.randrange(CAMERAS) + 1}"
            when_s = start_s + chance.uniform(9, 21) * HOUR
            self.opens(next(numbers), (box, camera, "square"), None, when_s, chance.uniform(5, 60) * MINUTE, "crowding")
        made = flood + count // 40
        while made < count:
            box, camera, shop = chance.choice(offenders if chance.random() < 0.3 else places)
            when_s = start_s + (chance.uniform(6, 23.5) if chance.random() < 0.95 else chance.uniform(0, 24)) * HOUR
            for _ in range(chance.choices((1, 2, 3), (80, 14, 6))[0]):
                if made == count:
                    break
                lasts_s = chance.lognormvariate(2.3, 1.1) * MINUTE
                number = next(numbers)
                self.opens(number, (box, camera, f"front-{shop}"), shop, when_s, lasts_s)
                made += 1
                when_s += lasts_s + chance.choice((8, 20, 45, 200)) * MINUTE
        for when_s, by_s in JUMPS:
            self.at(start_s + when_s, lambda by_s=by_s: self.set_clock(by_s))
        for when_s in RESTARTS:
            self.at(start_s + when_s, self.restart)
        self.at(start_s + 14.2 * HOUR, self.pause_flood)
        self.at(start_s + BLIND[2], lambda: self.blind(seen=False))
        self.at(start_s + BLIND[3], lambda: self.blind(seen=True))

    def register(self, places: list[tuple[str, str, str]]) -> None:
        author, around = Author(ROOM, self.now_ms), Around("330105", self.now_ms)
        with self.store.writing() as session:
            grid.import_grid(session, (ROOT / "config" / "grid.example.geojson").read_bytes(), author, around)
            for number, (box, camera, shop) in enumerate(places):
                mine = f"{box}/{camera}/front-{shop}"
                if number == DOUBTED + 1:
                    mine += "; {}/{}/front-{}".format(*places[DOUBTED])
                values = {
                    "id": shop,
                    "name": f"示例店 {number}",
                    "street": STREET,
                    "zones": "" if number == DOUBTED else mine,
                    "phone": "" if number == MUTE else telephone(shop),
                    **({"lon": f"{120.129 + number / 16_000:.6f}", "lat": "30.3105"} if number % 3 else {}),
                }
                if number != UNKNOWN:
                    shops.add(session, values, author, around)
            for number in PERMITTED:
                days = {"hours": "17:00-22:00", "from_day": "2026-02-01", "until_day": "2026-03-31"}
                named = {"number": f"外摆-{number}", "issuer": "示例局", "shop": f"shop-{number}"}
                permits.add(session, named | days, author, around)

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
            found = list(session.scalars(select(IncidentRow.id).where(IncidentRow.ticket_number == number)))
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
        self.send(incidents.told(ReplyEvent, "reply", self.true_s, data, row.box_id, STREET, f"r-{row.id}"))

    # going through it

    def run(self) -> None:
        while self.true_s < self.until_s:
            self.work()
            self.answer_commands()
            upcoming_s = self.heap[0][0] if self.heap else self.until_s
            if self.wrong_s or not self.keeper._watch.settled:
                look_s = self.true_s + 5
            else:
                look_s = max(self.next_s(), self.true_s + 0.001)
            self.true_s = min(upcoming_s, look_s, self.until_s)
            while self.heap and self.heap[0][0] <= self.true_s:
                heapq.heappop(self.heap)[2]()
        self.tally()

    def work(self) -> None:
        """Desk and sender do what is due, until nothing is."""
        done = True
        while done:
            done = bool(self.keeper.step())
            if self.next_s(NoticeRow, NoticeAttempt) <= self.true_s:
                done |= self.die() if self.dying else bool(self.sender.step(wait=True))
            self.carry()

    def carry(self) -> None:
        """What the channels took reaches those whom it is for."""
        new = sorted(self.line.letters[self.read :], key=lambda one: (one.audience, one.ticket, one.kind, one.level))
        self.read += len(new)
        for letter in new:
            if letter.read_s is not None:
                self.at(letter.read_s, lambda letter=letter: self.people.read(letter))

    def next_s(self, *of: type) -> float:
        """When the center has something to do next, by the true clock."""
        waits = {
            Ticket: select(func.min(Ticket.look_ms)),
            NoticeRow: select(func.min(NoticeRow.next_ms)).where(
                NoticeRow.state.in_(("waiting", "sending", "accepted"))
            ),
            NoticeAttempt: select(func.min(NoticeAttempt.report_ms)),
        }
        with self.store.transaction() as session:
            (due_ms,) = session.execute(
                select(*(query.scalar_subquery() for what, query in waits.items() if what in (of or waits)))
            ).all()
        return min((one / 1000 - self.wrong_s for one in due_ms if one is not None), default=self.until_s)


class Even(Random):
    """Jitter that is always the same: threads would draw it in any order."""

    def random(self) -> float:
        return 0.5


def telephone(shop: str) -> str:
    """Of a shop that has one."""
    return f"1390000{int(shop.removeprefix('shop-')):04d}"
