"""What a ticket's history comes to: indicators of courses of tickets, counted by hand and by a second opinion."""

from datetime import date

import pytest
from sqlalchemy import update

from collector.exchange import reports
from collector.exchange.reports import Report
from collector.indicators import keeping
from collector.indicators.apart import apart
from collector.indicators.figures import Loaded, Period
from collector.places import grid, shops
from collector.places.codes import load_codes
from collector.store import CameraPlace, Ticket
from tests import second_opinion
from tests.collector.tickets.conftest import CHEN, LI, SHOP, WANG, ZONE
from tests.places import AROUND, AUTHOR, collection, square


def corrected(street):
    case = street.noticed()
    street.wait(2)
    street.clears(case)


def solved(street):
    case = street.noticed()
    street.wait(9)
    street.clears(case)


def closed(street):
    street.handled()
    street.reply("clear")


def reworked(street):
    street.handled()
    street.reply("occupied")
    street.act(CHEN, "accept")
    street.act(CHEN, "feed_back")
    street.reply("clear")


def overdue(street):
    street.registered()
    street.wait(120)
    street.act(LI, "dispatch", to="chen")
    street.act(LI, "close", reason="done")


def extended_late(street):
    street.registered()
    street.wait(120)
    street.act(LI, "extend", due_ms=street.now_ms + 3_600_000, reason="rain")


def upheld(street):
    street.noticed()
    street.act(SHOP, "not_mine")
    street.act(LI, "uphold", reason="theirs next door")


def rejected(street):
    street.noticed()
    street.act(SHOP, "appeal", reason="no")
    street.wait(200)
    street.act(LI, "reject", reason="yes")


def untold(street):
    street.registered()
    street.tell("failed")


def withdrawn(street):
    street.registered()
    street.act(LI, "withdraw", reason="closed down")


def withdrawn_unreviewed(street):
    street.policy(unreviewed=[{"hours": ["24/7"]}])
    street.appears()
    street.act(LI, "withdraw", reason="a fair")


def returned(street):
    corrected(street)
    street.wait(5)
    street.appears()
    street.act(LI, "false_alarm")


def reconsidered(street):
    street.appears()
    street.act(LI, "false_alarm")
    street.act(LI, "reconsider", reason="no, it is one")


def lapsed(street):
    street.clears(street.appears())


def repeated(street):
    corrected(street)
    street.wait(60)
    street.appears()
    street.act(LI, "confirm", number=2)


@pytest.mark.parametrize(
    ("course", "counts", "shares"),
    [
        (lapsed, {"lapsed": 1}, {}),
        (reconsidered, {"pending": 1}, {"valid_rate": (0, 0)}),
        (corrected, {"confirmed": 1, "self_corrected": 1}, {"self_corrected_rate": (1, 1), "soft_rate": (1, 1)}),
        (solved, {"confirmed": 1}, {"self_corrected_rate": (0, 1), "soft_rate": (1, 1), "registered_rate": (0, 1)}),
        (
            closed,
            {"confirmed": 1, "registered": 1, "closed": 1},
            {"soft_rate": (0, 1), "closed_rate": (1, 1), "in_time_rate": (1, 1), "rework_rate": (0, 1)},
        ),
        (reworked, {"closed": 1}, {"rework_rate": (1, 1), "in_time_rate": (1, 1)}),
        # one that was dispatched late stays overdue, also where it is closed in time afterwards
        (overdue, {"closed": 1, "overdue": 1}, {"closed_rate": (1, 1), "in_time_rate": (0, 1)}),
        # and one whose deadline was moved when it was over; it is to be closed, and is not
        (extended_late, {"registered": 1, "overdue": 1}, {"closed_rate": (0, 1), "in_time_rate": (0, 1)}),
        (upheld, {"unfounded": 1}, {"valid_rate": (0, 1), "self_corrected_rate": (0, 0)}),
        # the clock stood still: not overdue
        (rejected, {"confirmed": 1}, {"valid_rate": (1, 1)}),
        (untold, {"confirmed": 1, "registered": 0}, {"registered_rate": (0, 1)}),
        # neither closed nor to be closed
        (withdrawn, {"withdrawn": 1, "registered": 1}, {"closed_rate": (0, 0), "in_time_rate": (0, 0)}),
        # nobody waits for its review any more
        (
            withdrawn_unreviewed,
            {"withdrawn_unreviewed": 1, "unreviewed": 0, "withdrawn": 0, "confirmed": 0},
            {"valid_rate": (0, 0)},
        ),
        # the last word counts
        (returned, {"false_alarm": 1, "reopened": 1}, {"valid_rate": (0, 1)}),
        (repeated, {"reported": 2, "confirmed": 2}, {"repeat_rate": (1, 2)}),
    ],
)
def test_a_course_counts_as_it_should(street, course, counts, shares):
    course(street)
    first, last = date(2026, 3, 1), date(2026, 3, 9)
    found = street.desk.read(Loaded, Period(first, last, ("s",), ZONE), street.now_ms).whole()
    assert {name: found.counts[name] for name in counts} == counts
    assert {name: tuple(found.shares[name]) for name in shares} == shares
    judged = ("confirmed", "false_alarm", "unfounded", "duplicate", "exempt")
    unjudged = ("lapsed", "unreviewed", "withdrawn_unreviewed", "pending")
    assert sum(found.counts[name] for name in judged + unjudged) == found.counts["reported"]
    assert second_opinion.differences(street.desk.store, first, last, ZONE, street.now_ms) == []


def test_tickets_are_in_their_cell_and_category(street):
    strips = [square(f"3301050010010{number}", 119 + number, 30, 1) for number in (1, 2, 3)]
    with street.desk.store.writing() as session:
        assert grid.import_grid(session, collection(*strips), AUTHOR, AROUND).added == len(strips)
        for shop, lon in (("shop-1", "120.5"), ("shop-2", "121.5"), ("shop-3", "125")):
            values = {"id": shop, "name": shop, "street": "s", "lon": lon, "lat": "30.5"}
            shops.add(session, values, AUTHOR, AROUND)
        empty = {"street": "s", "name": "", "note": "", "revision": 1, "changed_ms": 0, "box_id": "box-1"}
        session.add(CameraPlace(camera="cam-1", lon=122.5, lat=30.5, cell="", **empty))
        session.add(CameraPlace(camera="cam-2", lon=122.5, lat=30.5, cell=strips[0]["properties"]["code"], **empty))
        reports.take(
            session, LI, Report("hotline", "0501", street="s", lon=121.5, lat=30.5), load_codes(), street.now_ms
        )
    for shop, camera in (("shop-1", "cam-1"), ("shop-2", "cam-1"), ("shop-3", "cam-1"), ("shop-4", "cam-3")):
        street.appears(shop=shop, camera=camera, zone=shop)
    street.appears(shop=None, rule="crowding", camera="cam-2")
    day = date(2026, 3, 2)
    loaded = street.desk.read(Loaded, Period(day, day, ("s",), ZONE), street.now_ms)
    found = {
        by: {key: one.counts["reported"] for key, (_, one) in street.desk.read(apart, loaded, by).items()}
        for by in ("grid", "category")
    }
    assert found["grid"] == {"": 1, "33010500100101": 2, "33010500100102": 2, "33010500100103": 1}
    assert found["category"] == {"0501": 1, "0504": 4, "2101": 1}
    assert second_opinion.differences(street.desk.store, day, day, ZONE, street.now_ms) == []


def test_minutes_count_from_when_it_appeared(street):
    corrected(street)  # 3 minutes before it was reported, told at once, clear 1 minute before 2 more
    period = Period(date(2026, 3, 2), date(2026, 3, 2), ("s",), ZONE)
    found = street.desk.read(Loaded, period, street.now_ms).whole().minutes
    assert [found[name][:2] for name in ("to_notice", "to_clear", "to_close")] == [(1, 3.0), (1, 4.0), (1, 5.0)]


def test_what_was_there_before_an_update_is_worked_out(street):
    reworked(street)
    street.desk.execute(update(Ticket).values(mark=0, verdict="", fed_back=0, reworked=0, first_told_ms=None))
    assert list(keeping.work_out(street.desk.store)) == [(1, 1)]
    assert street.ticket().reworked == 1
    assert list(keeping.work_out(street.desk.store)) == []
    assert street.act(WANG, "remark", reason="x").verdict == "confirmed"
