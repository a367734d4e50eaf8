"""A street's center with all that its pages show: people of each role, shops, permits, and tickets in every state."""

import time
from dataclasses import dataclass, field
from itertools import count

from collector.boxes import orders, register
from collector.notices.links import make_link
from collector.people import roster
from collector.people.actor import SYSTEM, Actor, Grant, Role
from collector.places import permits, shops
from collector.places.history import Author
from collector.places.register import Around
from collector.store import CameraPlace, CameraRow, CommandPicture, CommandRow, NoticeAttempt, NoticeRow, Ticket
from collector.tickets import desk as door
from protocol.instants import from_epoch
from protocol.messages import (
    BoxHealth,
    CameraEvent,
    CameraLoad,
    CameraState,
    ClockReport,
    DetectorLoad,
    HealthEvent,
    Item,
    MachineLoad,
    Model,
)
from tests import incidents, places, scenes
from tests.incidents import Case
from tests.people import QUICK

STREET = "xiaohe"
PASSWORD = "correct horse battery"
PEOPLE = {
    "admin": ("zhao", "赵宁"),
    "operator": ("li", "李敏"),
    "grid_worker": ("wang", "王强"),
    "officer": ("chen", "陈刚"),
    "auditor": ("sun", "孙悦"),
    "viewer": ("wu", "吴桐"),
}
"""Of each role: sign-in name and name."""
KINDS = ("茶铺", "水果店", "早餐店", "五金店", "花店", "面馆", "便利店", "修车行")
SHOPS = tuple(f"{name}{kind}" for name in ("示例", "样板", "街角") for kind in KINDS)
GOODS = ("crates", "stall", "bikes", "tables")
CAMERAS = ("market", "north-gate")


def person(role: str) -> Actor:
    """Who has a role there."""
    name, shown = PEOPLE[role]
    return Actor("person", name, shown, frozenset({Grant(Role(role), STREET)}))


@dataclass
class Town:
    """Fills a desk of `tests/collector/conftest.py`; times count back from now.

    Args:
        desk: with an empty database.
        pictures: whether tickets have any.
    """

    desk: object
    pictures: bool = True
    now_s: float = field(default_factory=time.time)

    def __post_init__(self):
        self.numbers = count(1)
        self.desk.now_s = self.now_s
        self.desk.writer._now = lambda: self.at_s
        self.at_s = self.now_s

    def people(self):
        """One person of each role, who signs in with PASSWORD; the first administers everywhere."""
        with self.desk.store.writing() as session:
            kept = QUICK.hash(PASSWORD)
            for role, (name, shown) in PEOPLE.items():
                grant = Grant(Role(role)) if role == "admin" else Grant(Role(role), STREET)
                roster.add(session, SYSTEM, name, shown, [grant], now_ms=self._ms(), password=kept)
        return self

    def places(self):
        """A box with two cameras, its shops, a permit."""
        author = Author(person("operator"), self._ms())
        around = Around("330105", author.at_ms)
        zones = {(CAMERAS[at % 2], f"front-{at + 1}"): f"shop-{at + 1}" for at in range(len(SHOPS))}
        with self.desk.store.writing() as session:
            places.box(session, "xiaohe-1", STREET, zones)
            places.box(session, "xiaohe-2", STREET)
            for at, name in enumerate(SHOPS):
                values = {"id": f"shop-{at + 1}", "name": name, "street": STREET, "address": f"示例路 {2 * at + 8} 号"}
                zone = f"xiaohe-1/{CAMERAS[at % 2]}/front-{at + 1}"
                more = {"owner": "张三", "phone": "138 0000 0000", "zones": zone}
                shops.add(session, values | more, author, around)
            now = time.gmtime(self.now_s + 8 * 3600)
            # at no hour that its tickets are of, whenever the tests run: the timekeeper would exempt them
            hours = "15:00-17:00" if now.tm_hour < 10 else "03:00-05:00"
            days = {"from_day": f"{now.tm_year - 1}-01-01", "until_day": f"{now.tm_year + 1}-12-31", "hours": hours}
            permits.add(
                session, {"number": "外摆-7", "issuer": "示例区城管局", "shop": "shop-4", **days}, author, around
            )
            for at, camera in enumerate(CAMERAS):
                which = {"box_id": "xiaohe-1", "camera": camera}
                session.add(CameraRow(**which, state="live", since_ms=author.at_ms - 9_000_000))
                where = {"lon": 120.15 + at / 1000, "lat": 30.28, "height_m": 4.5, "cell": "", "note": ""}
                name = ("菜场口", "北门")[at]
                session.add(CameraPlace(**which, revision=1, street=STREET, name=name, changed_ms=0, **where))
            lost = {"state": "lost", "since_ms": author.at_ms - 600_000, "text": "no frame for 60 s"}
            session.add(CameraRow(box_id="xiaohe-2", camera="bridge", **lost))
        self.desk.take_any(incidents.status(box="xiaohe-1", site=STREET))
        self.desk.take_any(incidents.status(state="offline", box="xiaohe-2", site=STREET))
        return self

    def fleet(self):
        """What its boxes tell of themselves, one more that is hot, with cameras of all kinds, and one to come."""
        self.desk.take_any(
            incidents.status(box="xiaohe-3", site=STREET, version="1"),
            health("xiaohe-1", self.now_s, cameras={"market": 2.0, "north-gate": 0.4}),
            health("xiaohe-3", self.now_s, cameras={"school": 0.8}, temperature_c=86, waiting=340),
            camera("xiaohe-3", "school", "live", self.now_s - 86_400),
            camera("xiaohe-3", "corner", "moved", self.now_s - 3_600, text="moved: by about 12 % of its width"),
            camera("xiaohe-3", "yard", "learning", self.now_s - 60, learning_zones=("front",)),
        )
        with self.desk.store.writing() as session:
            register.add_boxes(session, STREET, "new", 1, 30, self._ms())
            asked = {"command": "c-1", "by": str(person("operator")), "now_ms": self._ms(200)}
            orders.ask(session, "xiaohe-3", "snapshot", {"camera": "school"}, **asked)
            shot = {"view": "wide", "role": "snapshot", "sha256": "0" * 64, "jpeg": scenes.jpeg(scenes.street(3))}
            session.add(CommandPicture(command_id="c-1", received_ms=self._ms(190), **shot))
            session.get_one(CommandRow, "c-1").state = "ok"
        return self

    def _ms(self, seconds_ago=0.0):
        return round((self.now_s - seconds_ago) * 1000)

    def appears(self, shop, minutes_ago, rule="encroachment"):
        """An incident at a shop's front, its number; a crowd is at no shop."""
        number = next(self.numbers)
        at = (shop - 1) % len(SHOPS)
        case = Case(
            number=number,
            rule=rule,
            shop=f"shop-{shop}" if rule == "encroachment" else None,
            box="xiaohe-1",
            site=STREET,
            camera=CAMERAS[at % 2],
            zone=f"front-{at + 1}" if rule == "encroachment" else "square",
            opened_s=self.now_s - minutes_ago * 60 - 180,
        )
        self.at_s = self.now_s - minutes_ago * 60
        sent = []
        if self.pictures:
            busy, clear = scenes.occupied(number % 4, GOODS[number % 4]), scenes.street(number % 4)
            for role, picture in (("clear", clear), ("at", busy)):
                sent.append(case.picture(role, "wide", content=scenes.jpeg(picture)))
                sent.append(case.picture(role, "close", content=scenes.jpeg(scenes.close(picture))))
        items = (Item(id="i", kind="object", box=scenes.PLACE, area_m2=1.4),)
        self.desk.take_any(*sent, case.message("opened", self.at_s, place=scenes.PLACE, shop=case.shop, items=items))
        return case

    def clears(self, case, minutes_ago):
        """It was seen clear."""
        self.at_s = self.now_s - minutes_ago * 60
        sent = []
        if self.pictures:
            clear = scenes.street(case.number % 4)
            sent.append(case.picture("after", "wide", content=scenes.jpeg(clear)))
            sent.append(case.picture("after", "close", content=scenes.jpeg(scenes.close(clear))))
        self.desk.take_any(*sent, case.cleared(self.at_s - 60))

    def act(self, role, verb, minutes_ago=0.0, number=None, **args):
        """A step with a ticket, the newest one if none is named; roles that nobody has are other hands."""
        other = {"policy": Actor.policy(STREET), "camera": Actor.camera("xiaohe-1")}
        with self.desk.store.writing() as session:
            number = number or session.query(Ticket.number).order_by(Ticket.number.desc()).limit(1).scalar()
            if role == "shop":
                other["shop"] = Actor.shop(session.get_one(Ticket, number).shop)
            who = other.get(role) or person(role)
            door.act(session, who, number, verb, at_ms=self._ms(minutes_ago * 60), **args)
        return number

    def link(self, number):
        """The last part of a link to the page of a ticket's shop, as a notice that went out has it."""
        at_ms = self._ms()
        with self.desk.store.writing() as session:
            ticket = session.get_one(Ticket, number)
            sent = {"state": "sent", "not_before_ms": at_ms, "next_ms": at_ms, "created_ms": at_ms, "changed_ms": at_ms}
            more = {"street": STREET, "level": "0", "expires_ms": at_ms, "day": ""}
            row = NoticeRow(
                key=f"link/{number}", ticket_number=number, kind="test", audience="shop", recipient=ticket.shop,
                **sent, **more,
            )  # fmt: skip
            session.add(row)
            session.flush()
            tried = {"request": "", "channel": "sms", "started_ms": at_ms, "outcome": "accepted"}
            attempt = NoticeAttempt(notice_number=row.number, **tried)
            session.add(attempt)
            session.flush()
            return make_link(session, row, attempt.number, ticket, "zh", at_ms, 24)

    def first_open(self):
        """Number of the oldest open ticket."""
        with self.desk.store.transaction() as session:
            return session.query(Ticket.number).filter(Ticket.open == 1).order_by(Ticket.number).limit(1).scalar()

    def waiting(self, many=8):
        """Alerts that nobody has judged."""
        for at in range(many):
            self.appears(at + 1, 1 + at, rule="crowding" if at == 5 else "encroachment")
        return self

    def every_state(self):
        """A ticket in each state, each of a shop that is nobody else's."""
        shop = count(9)

        def handled(minutes_ago, *steps):
            case = self.appears(next(shop), minutes_ago)
            for step in steps:
                self.act(*step[:3], **(step[3] if len(step) > 3 else {}))
            return case

        to_register = (
            ("operator", "confirm", 78),
            ("operator", "told", 77),
            ("operator", "pass_on", 70, {"reason": "无法联系"}),
            ("operator", "register", 60),
        )
        to_handling = (*to_register, ("operator", "dispatch", 55, {"to": "chen"}), ("officer", "accept", 50))
        handled(300, ("operator", "false_alarm", 290, {"reason": "行人遮挡"}))
        self.act("operator", "remark", 280, reason="已看过")
        handled(50, ("operator", "exempt", 45, {"permit": "外摆-7", "reason": "外摆时段内"}))
        case = handled(240, ("operator", "confirm", 235), ("operator", "told", 234))
        self.clears(case, 231)
        self.act("camera", "correct", 230, clear_ms=round((self.now_s - 232 * 60) * 1000))
        case = handled(200)
        self.clears(case, 195)
        handled(6, ("operator", "confirm", 4), ("operator", "told", 3))
        away = ("operator", "pass_on", 12, {"reason": "店主不在"})
        handled(30, ("operator", "confirm", 28), ("operator", "told", 27), away)
        handled(80, *to_register)
        handled(80, *to_register, ("operator", "dispatch", 55, {"to": "chen"}))
        handled(80, *to_handling)
        handled(80, *to_handling, ("officer", "feed_back", 30))
        handled(80, *to_handling, ("officer", "feed_back", 30), ("operator", "rework", 25, {"reason": "仍有一半"}))
        handled(80, *to_handling, ("operator", "close", 20, {"reason": "现场确认", "outcome": "handled"}))
        objection = ("shop", "appeal", 30, {"reason": "货物正在装车，不是占道经营"})
        handled(40, ("operator", "confirm", 38), ("operator", "told", 37), objection)
        handled(20, ("operator", "duplicate", 18, {"of": self.first_open()}))
        return self


def health(box, at_s, *, cameras=(), temperature_c=61, waiting=0, **more):
    """What a box says of itself; `cameras` with the age of their newest picture."""
    gib = 2**30
    space = {"memory_bytes": 8, "memory_free_bytes": 5, "disk_bytes": 64, "disk_free_bytes": 40}
    space = {name: count * gib for name, count in space.items()}
    machine = MachineLoad(temperature_c=temperature_c, load=2.4, cores=4, **space)
    values = {
        "uptime_s": 90_000,
        "waiting_messages": waiting,
        "oldest_waiting_s": waiting * 4,
        "parked_messages": 0,
        "state_bytes": 1_000_000,
        "outbox_budget_bytes": gib,
        "clock": ClockReport(state="synchronised", offset_s=0.21, offset_error_s=0.05, boot_id="b", uptime_s=90_000),
        "model": Model(name="yolox-s", sha256="ab" * 32),
        "detector": DetectorLoad(looks=9, stretch=1, wait_p50_s=0.01, wait_p99_s=0.1, late_s=0.6, look_s=0.042),
        "machine": machine,
        "cameras": [CameraLoad(camera=one, frame_age_s=age, decided_s=0.9) for one, age in dict(cameras).items()],
    }
    return incidents.told(HealthEvent, "health", at_s, BoxHealth.model_validate(values | more), box, STREET)


def camera(box, name, state, since_s, **more):
    """What a camera says of itself."""
    data = CameraState(camera=name, state=state, since=from_epoch(since_s), **more)
    return incidents.told(CameraEvent, f"camera/{name}", since_s, data, box, STREET)


def fill(desk, **options):
    """All of it."""
    return Town(desk, **options).people().places().fleet().every_state().waiting()
