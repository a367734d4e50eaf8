"""A street's center with all that its pages show: people of each role, shops, permits, and tickets in every state."""

import time
from dataclasses import dataclass, field
from itertools import count

from collector.people import roster
from collector.people.actor import SYSTEM, Actor, Grant, Role
from collector.places import permits, shops
from collector.places.history import Author
from collector.places.register import Around
from collector.store import CameraPlace, CameraRow, Ticket
from collector.tickets import desk as door
from protocol.messages import Item
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
                roster.add(session, SYSTEM, name, shown, [grant], now_ms=round(self.now_s * 1000), password=kept)
        return self

    def places(self):
        """A box with two cameras, its shops, a permit."""
        author = Author(person("operator"), round(self.now_s * 1000))
        around = Around("330105", author.at_ms)
        zones = {(CAMERAS[at % 2], f"front-{at + 1}"): f"shop-{at + 1}" for at in range(len(SHOPS))}
        with self.desk.store.writing() as session:
            places.box(session, "xiaohe-1", STREET, zones)
            places.box(session, "xiaohe-2", STREET)
            for at, name in enumerate(SHOPS):
                values = {"id": f"shop-{at + 1}", "name": name, "street": STREET, "address": f"示例路 {2 * at + 8} 号"}
                more = {
                    "owner": "张三",
                    "phone": "138 0000 0000",
                    "zones": f"xiaohe-1/{CAMERAS[at % 2]}/front-{at + 1}",
                }
                shops.add(session, values | more, author, around)
            year = time.gmtime(self.now_s).tm_year
            days = {"from_day": f"{year - 1}-01-01", "until_day": f"{year + 1}-12-31", "hours": "00:00-04:00"}
            permits.add(
                session, {"number": "外摆-7", "issuer": "示例区城管局", "shop": "shop-4", **days}, author, around
            )
            for at, camera in enumerate(CAMERAS):
                session.add(
                    CameraRow(box_id="xiaohe-1", camera=camera, state="live", since_ms=author.at_ms - 9_000_000)
                )
                where = {"lon": 120.15 + at / 1000, "lat": 30.28, "height_m": 4.5, "cell": "", "note": ""}
                name = ("菜场口", "北门")[at]
                session.add(
                    CameraPlace(
                        box_id="xiaohe-1", camera=camera, revision=1, street=STREET, name=name, changed_ms=0, **where
                    )
                )
            session.add(
                CameraRow(
                    box_id="xiaohe-2",
                    camera="bridge",
                    state="lost",
                    since_ms=author.at_ms - 600_000,
                    text="no frame for 60 s",
                )
            )
        self.desk.take_any(incidents.status(box="xiaohe-1", site=STREET))
        self.desk.take_any(incidents.status(state="offline", box="xiaohe-2", site=STREET))
        return self

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
            door.act(session, who, number, verb, at_ms=round((self.now_s - minutes_ago * 60) * 1000), **args)
        return number

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
        handled(
            30,
            ("operator", "confirm", 28),
            ("operator", "told", 27),
            ("operator", "pass_on", 12, {"reason": "店主不在"}),
        )
        handled(80, *to_register)
        handled(80, *to_register, ("operator", "dispatch", 55, {"to": "chen"}))
        handled(80, *to_handling)
        handled(80, *to_handling, ("officer", "feed_back", 30))
        handled(80, *to_handling, ("officer", "feed_back", 30), ("operator", "rework", 25, {"reason": "仍有一半"}))
        handled(80, *to_handling, ("operator", "close", 20, {"reason": "现场确认", "outcome": "handled"}))
        handled(
            40,
            ("operator", "confirm", 38),
            ("operator", "told", 37),
            ("shop", "appeal", 30, {"reason": "货物正在装车，不是占道经营"}),
        )
        handled(20, ("operator", "duplicate", 18, {"of": self.first_open()}))
        return self


def fill(desk, **options):
    """All of it."""
    return Town(desk, **options).people().places().every_state().waiting()
