"""Packed days: the same figures as from the tickets themselves, whatever changes afterwards."""

from datetime import timedelta
from random import Random
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy import select, update

from collector.indicators import keeping, packs
from collector.indicators.figures import Loaded, Period, _spreads
from collector.indicators.packs import FORM, day_start_ms
from collector.store import PackedDay, Ticket, open_store
from collector.tickets.facts import mark
from tests.bench import million
from tests.bench.million import NOW, ZONE

LAST = NOW.date() - timedelta(days=1)
PERIOD = Period(LAST - timedelta(days=30), LAST, ("s-1", "s-2"), ZONE)
NOW_MS = round(NOW.timestamp() * 1000)


@pytest.fixture
def filled(desk):
    million.fill(desk.store, 1500, Random(5))
    return desk.store


def figures(store, period=PERIOD):
    with store.reading() as session:
        loaded = Loaded(session, period, NOW_MS)
        return loaded.whole(), loaded.by_day(), loaded.by_spot([spot.shop for spot in loaded.spots])


def packed(store):
    with store.transaction() as session:
        return session.scalar(select(packs.func.count()).select_from(PackedDay))


def change(store, number, **values):
    """As a step does: with another mark."""
    with store.writing() as session:
        ticket = session.get_one(Ticket, number)
        for name, value in {"version": ticket.version + 1, **values}.items():
            setattr(ticket, name, value)
        ticket.mark = mark(ticket)


def test_packed_days_give_the_same_figures_as_the_tickets(filled):
    before = figures(filled)
    assert before[0].counts["reported"] > 100
    count = keeping.pack(filled, ZONE, NOW.date())
    assert packed(filled) == count > 300
    assert figures(filled) == before
    assert keeping.pack(filled, ZONE, NOW.date()) == 0
    # and they are read from them: a fact that changes without its mark is not seen
    with filled.writing() as session:
        session.execute(update(Ticket).values(verdict="false_alarm"))
    assert figures(filled) == before


def test_whatever_changes_is_seen_at_once(filled):
    keeping.pack(filled, ZONE, NOW.date())
    with filled.transaction() as session:
        begin = day_start_ms(LAST, ZONE)
        number = session.scalar(select(Ticket.number).where(Ticket.opened_ms >= begin, Ticket.verdict == "confirmed"))
        opened_ms = session.get_one(Ticket, number).opened_ms
    whole, by_day, _ = figures(filled)
    change(filled, number, verdict="false_alarm")
    assert figures(filled)[0].counts["false_alarm"] == whole.counts["false_alarm"] + 1
    # to another day, of which there is a pack as well
    change(filled, number, opened_ms=opened_ms - 5 * 86_400_000)
    moved = figures(filled)[1]
    day, other = LAST.isoformat(), (LAST - timedelta(days=5)).isoformat()
    assert moved[day].counts["reported"] == by_day[day].counts["reported"] - 1
    assert moved[other].counts["reported"] == by_day[other].counts["reported"] + 1
    assert keeping.pack(filled, ZONE, NOW.date()) == 2
    assert figures(filled)[1] == moved


def test_packs_of_another_form_or_time_zone_are_left_aside(filled, monkeypatch):
    keeping.pack(filled, ZONE, NOW.date())
    before = figures(filled)
    elsewhere = Period(PERIOD.first, PERIOD.last, PERIOD.streets, ZoneInfo("Europe/Berlin"))
    there = figures(filled, elsewhere)
    monkeypatch.setattr(packs, "VERSION", packs.VERSION + 1)
    assert figures(filled) == before
    assert figures(filled, elsewhere) == there
    assert keeping.pack(filled, ZONE, NOW.date()) > 300  # and all is packed anew
    with filled.writing() as session:
        session.query(PackedDay).delete()
    assert figures(filled, elsewhere) == there


def test_facts_worked_out_anew_are_seen_by_all_readers(filled):
    keeping.pack(filled, ZONE, NOW.date())
    before = figures(filled)[0].counts
    with filled.writing() as session:
        session.execute(update(Ticket).values(verdict="false_alarm"))
    # as the command does, in another process
    elsewhere = open_store(filled.engine.url)
    assert sum(differed for _, differed in keeping.work_out(elsewhere, every=True)) > 1000
    assert sum(differed for _, differed in keeping.work_out(elsewhere, every=True)) == 0
    assert keeping.pack(elsewhere, ZONE, NOW.date(), every=True) > 300
    elsewhere.close()
    assert figures(filled)[0].counts["false_alarm"] < before["reported"]


def test_memory_of_days_is_bounded(filled, monkeypatch):
    keeping.pack(filled, ZONE, NOW.date())
    monkeypatch.setattr(packs, "MOST_ROWS", 100)
    monkeypatch.setattr(packs, "MOST_SPOTS", 10)
    before = figures(filled)
    assert figures(filled) == before
    kept = packs._KEPT[filled.engine]
    assert kept._rows == sum(len(day.rows) for day in kept._days.values()) <= 100


def test_a_day_has_its_hours_where_clocks_are_changed():
    berlin = ZoneInfo("Europe/Berlin")
    day = LAST.replace(year=2026, month=10, day=25)
    assert day_start_ms(day + timedelta(days=1), berlin) - day_start_ms(day, berlin) == 25 * 3_600_000


@pytest.mark.parametrize(
    ("seconds", "median", "p90"),
    [
        ([], None, None),
        ([60], 1, 1),
        ([60, 120], 1, 2),
        ([180, 60, 120], 2, 3),
        ([60 * value for value in range(1, 11)], 5, 9),  # nearest rank: the 5th and the 9th of ten
        ([60 * value for value in range(1, 12)], 6, 10),
        ([-1, 60], 1, 1),  # what has not happened counts nowhere
        ([2**31 - 1], (2**31 - 1) / 60, (2**31 - 1) / 60),
    ],
)
def test_percentiles_are_the_nearest_rank_in_each_group(seconds, median, p90):
    rows = np.zeros(2 * len(seconds), FORM)
    rows["clear_s"] = seconds + [0] * len(seconds)
    index = np.array([1] * len(seconds) + [0] * len(seconds), np.int64)
    spread = _spreads(index, 3, rows["clear_s"], np.ones(len(rows), bool))
    assert spread[1][1:] == (median, p90)
    assert spread[2] == (0, None, None)
