"""Working time: holidays, make-up days, midnights, the turn of a year, a leap day."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.tickets.calendar import (
    PLAIN,
    Calendar,
    CalendarError,
    Span,
    WorkingTime,
    chinese_calendar,
    next_edge_ms,
    read_calendar,
)
from protocol.hours import parse_hours

ZONE = ZoneInfo("Asia/Shanghai")
HOURS = ((8 * 60 + 30, 12 * 60), (13 * 60 + 30, 17 * 60 + 30))
WEEK = frozenset(range(5))
OFFICE = WorkingTime(ZONE, WEEK, HOURS, chinese_calendar())
NIGHT = WorkingTime(ZONE, frozenset(range(7)), ((0, 24 * 60),), PLAIN)


def ms(text):
    return round(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000)


def text(at_ms):
    return datetime.fromtimestamp(at_ms / 1000, ZONE).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(("year", "off", "worked"), [(2024, 28, 8), (2025, 28, 5), (2026, 33, 6)])
def test_the_calendar_has_as_many_days_as_were_published(year, off, worked):
    calendar = chinese_calendar()
    assert sum(day.year == year for day in calendar.off) == off
    assert sum(day.year == year for day in calendar.worked) == worked
    # a weekday is never worked in exchange
    assert all(day.weekday() >= 5 for day in calendar.worked)


@pytest.mark.parametrize(
    ("begin", "unit", "amount", "end"),
    [
        ("2026-03-02 09:00", "work_minutes", 30, "2026-03-02 09:30"),
        ("2026-03-02 09:00", "work_hours", 0, "2026-03-02 09:00"),
        ("2026-03-02 06:00", "work_hours", 1, "2026-03-02 09:30"),  # before work begins
        ("2026-03-02 11:00", "work_hours", 1, "2026-03-02 12:00"),  # to the minute: it is over at noon, not at 13:30
        ("2026-03-02 11:30", "work_hours", 1, "2026-03-02 14:00"),  # over noon
        ("2026-03-02 17:00", "work_hours", 1, "2026-03-03 09:00"),  # over midnight
        ("2026-03-06 17:00", "work_hours", 1, "2026-03-09 09:00"),  # over a weekend
        ("2026-03-07 10:00", "work_hours", 1, "2026-03-09 09:30"),  # begun on one
        ("2025-12-31 17:00", "work_hours", 1, "2026-01-04 09:00"),  # the turn of the year; the 4th, a Sunday, is worked
        ("2024-02-28 17:00", "work_hours", 1, "2024-02-29 09:00"),  # a leap day is a day
        ("2026-02-14 17:00", "work_hours", 1, "2026-02-24 09:00"),  # a worked Saturday, then Spring Festival
        ("2024-02-29 10:00", "work_days", 1, "2024-03-01 17:30"),  # the day on which it begins is not counted
        ("2026-02-13 23:59", "work_days", 1, "2026-02-14 17:30"),
        ("2026-02-14 00:00", "work_days", 1, "2026-02-24 17:30"),
        ("2026-09-18 12:00", "work_days", 2, "2026-09-21 17:30"),  # Sunday the 20th is worked for National Day
        ("2026-12-31 12:00", "work_days", 1, "2027-01-01 17:30"),  # no table for 2027: a plain Friday
        ("2024-02-28 12:00", "days", 1, "2024-02-29 12:00"),
        ("2024-02-29 12:00", "days", 366, "2025-03-01 12:00"),
        ("2026-12-31 23:30", "minutes", 60, "2027-01-01 00:30"),
        ("2026-12-31 23:30", "hours", 24, "2027-01-01 23:30"),
    ],
)
def test_a_span_is_added(begin, unit, amount, end):
    assert text(Span(amount, unit).after(ms(begin), OFFICE)) == end


def test_a_day_ends_at_the_same_time_where_clocks_change():
    berlin = WorkingTime(ZoneInfo("Europe/Berlin"), WEEK, HOURS, PLAIN)
    before = datetime(2026, 3, 28, 12, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    after_ms = Span(1, "days").after(round(before.timestamp() * 1000), berlin)
    assert after_ms - before.timestamp() * 1000 == 23 * 3600 * 1000
    assert berlin.local(after_ms).hour == 12


def test_a_year_without_a_table_counts_as_plain_weeks():
    calendar = chinese_calendar()
    assert calendar.unknown_years(date(2026, 12, 1), date(2028, 1, 1)) == [2027, 2028]
    assert calendar.is_worked(date(2027, 2, 8), WEEK)
    assert not calendar.is_worked(date(2027, 2, 7), WEEK)


@given(
    begin=st.integers(ms("2024-01-01 00:00"), ms("2027-06-01 00:00")),
    parts=st.lists(st.integers(0, 6000), min_size=1, max_size=4),
)
def test_working_time_adds_up(begin, parts):
    """In parts or at once, it ends at the same moment, in working time, and never goes back."""
    at_ms = begin
    for part in parts:
        after_ms = OFFICE.add_work(at_ms, part * 60_000)
        assert after_ms >= at_ms
        at_ms = after_ms
    assert OFFICE.add_work(begin, sum(parts) * 60_000) == at_ms
    if sum(parts):
        local = OFFICE.local(at_ms)
        minute = local.hour * 60 + local.minute + (local.second or local.microsecond) / 60
        assert OFFICE.calendar.is_worked(local.date(), WEEK)
        assert any(begin <= minute <= end for begin, end in HOURS)


def test_round_the_clock_is_the_calendar():
    begin = ms("2026-02-14 22:10")
    assert NIGHT.add_work(begin, 100 * 3600 * 1000) == begin + 100 * 3600 * 1000


def test_hours_that_never_come_are_said():
    never = WorkingTime(ZONE, frozenset(), HOURS, Calendar())
    with pytest.raises(CalendarError, match="expected working hours on some day"):
        Span(1, "work_hours").after(ms("2026-01-01 00:00"), never)
    with pytest.raises(CalendarError, match="expected working days"):
        Span(1, "work_days").after(ms("2026-01-01 00:00"), never)


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[2026", "expected TOML"),
        ("[holidays]", "expected tables named by a year"),
        ('[2026]\nsource = "x"\noff = [{name = "n", first = 2026-02-01, last = 2026-01-01}]', "at or after first"),
        (
            '[2026]\nsource = "x"\nworked = [2026-01-01]\noff = [{name = "n", first = 2026-01-01, last = 2026-01-01}]',
            "expected a day to be off or worked, got both for 2026-01-01",
        ),
        ('[2026]\nsource = "x"\nof = []', "unknown key 'of'"),
        ("[2026]\noff = []", "source"),
    ],
)
def test_an_unusable_calendar_is_refused_in_one_line(toml, expected):
    with pytest.raises(CalendarError, match=expected) as fault:
        read_calendar(toml, "calendar-cn.toml")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("hours", "at", "inside", "expected"),
    [
        ("22:00-07:00", "2026-03-02 23:00", False, "2026-03-03 07:00"),
        ("22:00-07:00", "2026-03-02 06:59", False, "2026-03-02 07:00"),
        ("22:00-07:00", "2026-12-31 23:59", False, "2027-01-01 07:00"),
        ("22:00-07:00", "2026-03-02 12:00", True, "2026-03-02 22:00"),
        ("Sa-Su 00:00-24:00", "2026-03-06 23:00", True, "2026-03-07 00:00"),
        ("Sa-Su 00:00-24:00", "2026-03-07 12:00", False, "2026-03-09 00:00"),
        ("24/7", "2026-03-07 12:00", False, None),
    ],
)
def test_the_next_edge_of_hours(hours, at, inside, expected):
    found = next_edge_ms((parse_hours(hours),), ms(at), ZONE, inside=inside)
    assert (None if found is None else text(found)) == expected
