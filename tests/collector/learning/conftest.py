"""Alerts of a zone with their verdicts, through the real inbox and desk."""

import pytest

from collector.people.actor import Actor, Grant, Role
from collector.tickets import desk as door
from protocol.instants import from_epoch
from protocol.messages import Item
from tests import incidents, places
from tests.incidents import START_S, Case

LI = Actor("person", "li", "李", frozenset({Grant(Role.OPERATOR, "s")}))
DAY_S = 86_400


class Zone:
    """A zone with settings, whose alerts come one after the other; `now_s` is after all of them."""

    def __init__(self, desk, now_s=START_S + 60 * DAY_S):
        self.desk, self.count, self.now_s = desk, 0, now_s
        desk.write(places.box, zones={("cam-1", "front"): "shop-1"})
        desk.take_any(incidents.status())

    @property
    def now_ms(self):
        return round(self.now_s * 1000)

    def alert(self, verdict="", *, days_ago=1.0, stood_s=600.0, area_m2=None, reason_id=None, picture=None, **where):
        """One alert; `verdict` is a verb, or empty; `stood_s` None: it is not over. Gives its number and its case."""
        self.count += 1
        opened_s = self.now_s - days_ago * DAY_S + self.count
        shop = where.pop("shop", f"shop-{self.count}")
        case = Case(number=self.count, opened_s=opened_s, shop=shop, **where)
        items = where.get("rule") != "crowding"
        what = (Item(id="i", kind="object", box=(0.4, 0.5, 0.1, 0.2), area_m2=area_m2),) if items else ()
        sent = [] if picture is None else [case.picture("at", view, content=picture) for view in ("wide", "close")]
        self.desk.take(*sent, case.message("opened", opened_s + 12, items=what))
        if verdict:
            with self.desk.store.writing() as session:
                args = {} if reason_id is None else {"reason_id": reason_id}
                door.act(session, LI, self.count, verdict, at_ms=round((opened_s + 20) * 1000), **args)
        if stood_s is not None:
            self.desk.take(
                case.message("cleared", opened_s + stood_s + 5, items=what, cleared_at=from_epoch(opened_s + stood_s))
            )
        return self.count, case


@pytest.fixture
def zone(desk):
    """On either database."""
    return Zone(desk)


def market(zone, picture=None, why="people"):
    """Enough short false alarms and long confirmed ones for a suggestion of 210 s, over ten days."""
    for at in range(36):
        false = at % 3 == 0
        verb, stood_s, reason = ("false_alarm", 190, why) if false else ("confirm", 600, None)
        zone.alert(verb, days_ago=10 - at % 10, stood_s=stood_s, reason_id=reason, picture=picture)
    return zone
