"""Hours of permits at every edge of the calendar and of clocks."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.places import fields
from collector.places.windows import Schedule

SHANGHAI = "Asia/Shanghai"


def schedule(hours, first="2026-01-01", last="2026-12-31", days="Mo-Su", excluded=""):
    return Schedule(
        date.fromisoformat(first),
        date.fromisoformat(last),
        frozenset(fields.weekdays(days)),
        fields.times(hours),
        frozenset(fields.days(excluded)),
    )


EVENING, NIGHT = schedule("18:00-22:00"), schedule("18:00-02:00")
FRIDAY, BUT_ONE = schedule("18:00-02:00", days="Fr"), schedule("18:00-02:00", excluded="2026-10-01")


def until(plan, at, zone=SHANGHAI):
    """When cover ends, as the street's clock shows it with its offset; `at` may name an offset."""
    tz = ZoneInfo(zone)
    instant = datetime.fromisoformat(at)
    instant = instant if instant.tzinfo else instant.replace(tzinfo=tz)
    found = plan.covers_until(round(instant.timestamp() * 1000), tz)
    return None if found is None else datetime.fromtimestamp(found / 1000, tz).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("plan", "at", "expected"),
    [
        # the edges of the hours: the start is covered, the end is not
        (EVENING, "2026-05-28T17:59:59.999", None),
        (EVENING, "2026-05-28T18:00", "2026-05-28T22:00+08:00"),
        (EVENING, "2026-05-28T21:59:59.999", "2026-05-28T22:00+08:00"),
        (EVENING, "2026-05-28T22:00", None),
        # past midnight: the hours belong to the day on which they begin
        (FRIDAY, "2026-05-29T23:59", "2026-05-30T02:00+08:00"),
        (FRIDAY, "2026-05-30T01:59", "2026-05-30T02:00+08:00"),
        (FRIDAY, "2026-05-29T01:00", None),
        (FRIDAY, "2026-05-30T19:00", None),
        # the turn of the year: the last evening goes on into the new one, the first does not begin in the old one
        (NIGHT, "2027-01-01T01:30", "2027-01-01T02:00+08:00"),
        (NIGHT, "2027-01-01T18:30", None),
        (schedule("18:00-02:00", first="2027-01-01", last="2027-02-01"), "2027-01-01T01:30", None),
        # a leap day is a day
        (schedule("18:00-02:00", "2028-02-29", "2028-02-29"), "2028-02-29T18:00", "2028-03-01T02:00+08:00"),
        (schedule("18:00-02:00", "2028-02-28", "2028-02-28"), "2028-02-29T01:00", "2028-02-29T02:00+08:00"),
        (schedule("18:00-22:00", "2028-01-01", "2028-12-31", excluded="2028-02-29"), "2028-02-29T19:00", None),
        # an excluded day takes away what begins on it, and no more
        (BUT_ONE, "2026-10-01T01:00", "2026-10-01T02:00+08:00"),
        (BUT_ONE, "2026-10-01T18:00", None),
        (BUT_ONE, "2026-10-02T01:00", None),
        # hours without a gap are one
        (schedule("00:00-24:00", last="2026-06-30"), "2026-05-28T12:00", "2026-07-01T00:00+08:00"),
        (schedule("00:00-24:00", excluded="2026-06-02"), "2026-05-28T12:00", "2026-06-02T00:00+08:00"),
        (schedule("12:00-24:00,00:00-12:00", last="2026-06-01"), "2026-05-28T13:00", "2026-06-02T00:00+08:00"),
        (schedule("18:00-02:00,02:00-04:00"), "2026-05-28T19:00", "2026-05-29T04:00+08:00"),
        (schedule("18:00-02:00,01:00-04:00"), "2026-05-28T19:00", "2026-05-29T04:00+08:00"),
        (schedule("00:00-24:00", days="Sa-Su"), "2026-05-30T05:00", "2026-06-01T00:00+08:00"),
    ],
)
def test_a_permit_covers_from_its_start_to_its_end(plan, at, expected):
    assert until(plan, at) == expected


BERLIN = "Europe/Berlin"  # 2026-10-25, 3:00 becomes 2:00; 2026-03-29, 2:00 becomes 3:00


@pytest.mark.parametrize(
    ("hours", "at", "expected"),
    [
        # set back: an end that the clock shows twice is the second one, a start the first one
        ("22:00-02:30", "2026-10-25T02:15+02:00", "2026-10-25T02:30+01:00"),
        ("22:00-02:30", "2026-10-25T02:45+02:00", "2026-10-25T02:30+01:00"),
        ("22:00-02:30", "2026-10-25T02:29+01:00", "2026-10-25T02:30+01:00"),
        ("22:00-02:30", "2026-10-25T02:30+01:00", None),
        ("02:30-05:00", "2026-10-25T02:29+02:00", None),
        ("02:30-05:00", "2026-10-25T02:30+02:00", "2026-10-25T05:00+01:00"),
        ("02:30-05:00", "2026-10-25T02:15+01:00", "2026-10-25T05:00+01:00"),
        ("22:00-03:00", "2026-10-25T02:59+01:00", "2026-10-25T03:00+01:00"),
        # set forward: a time that is left out is the moment of the change
        ("22:00-02:30", "2026-03-29T01:59+01:00", "2026-03-29T03:00+02:00"),
        ("22:00-02:30", "2026-03-29T03:00+02:00", None),
        ("02:30-05:00", "2026-03-29T01:59+01:00", None),
        ("02:30-05:00", "2026-03-29T03:00+02:00", "2026-03-29T05:00+02:00"),
        ("02:10-02:50", "2026-03-29T03:00+02:00", None),
    ],
)
def test_a_clock_that_is_set_costs_nobody_their_hours(hours, at, expected):
    assert until(schedule(hours), at, BERLIN) == expected


@lru_cache(maxsize=16)
def minutes(zone, first, days):
    """What a street's clock shows at each minute of so many days, found by looking at it."""
    tz = ZoneInfo(zone)
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(days=2)
    instants = [begin + timedelta(minutes=n) for n in range((days + 4) * 1440)]
    return [(round(one.timestamp() * 1000), one.astimezone(tz).replace(tzinfo=None)) for one in instants]


def looked_up(plan, zone, at_ms):
    """The same as `covers_until`, by looking at the clock minute by minute."""
    shown = minutes(zone, plan.first, 12)
    spans = []
    for day in plan.days():
        for start, end in plan.times:
            midnight = datetime.combine(day, time())
            begins, ends = (midnight + timedelta(minutes=one) for one in (start, end))
            first = next((ms for ms, clock in shown if clock >= begins), None)
            last = next((ms for ms, clock in reversed(shown) if clock < ends), None)
            if first is not None and last is not None and last >= first:
                spans.append((first, last + 60_000))
    spans.sort()
    merged = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return next((end for start, end in merged if start <= at_ms < end), None)


EDGES = [
    (SHANGHAI, date(2026, 12, 28)),
    (SHANGHAI, date(2028, 2, 26)),
    (BERLIN, date(2026, 10, 22)),
    (BERLIN, date(2026, 3, 26)),
    ("America/Sao_Paulo", date(2018, 11, 1)),  # set forward at midnight: 0:00 is left out
    ("America/Sao_Paulo", date(2018, 2, 14)),  # set back at midnight: 23:00 is there twice
    ("Australia/Lord_Howe", date(2026, 4, 2)),  # half an hour
    ("Pacific/Apia", date(2011, 12, 27)),  # the 30th of December was left out
]
times = st.lists(
    st.tuples(st.integers(0, 95), st.integers(1, 96)).map(lambda one: (one[0] * 15, one[0] * 15 + one[1] * 15)),
    min_size=1,
    max_size=3,
    unique=True,
).map(lambda ranges: tuple(sorted(ranges)))


@settings(deadline=None, max_examples=300)
@given(st.data(), st.sampled_from(EDGES), times, st.frozensets(st.integers(0, 6), min_size=1), st.integers(0, 7))
def test_cover_is_what_the_clock_on_the_wall_says(data, edge, ranges, weekdays, length):
    zone, first = edge
    last = first + timedelta(days=length)
    excluded = data.draw(st.frozensets(st.integers(0, 7).map(lambda n: first + timedelta(days=n)), max_size=3))
    plan = Schedule(first, last, weekdays, ranges, excluded)
    at_ms = data.draw(st.sampled_from(minutes(zone, first, 12)[1440:-1440]))[0]
    assert plan.covers_until(at_ms, ZoneInfo(zone)) == looked_up(plan, zone, at_ms)


@given(times, st.frozensets(st.integers(0, 6), min_size=1))
def test_hours_and_days_are_read_as_they_are_written(ranges, weekdays):
    assert fields.times(fields.times_text(ranges)) == ranges
    assert fields.weekdays(fields.weekdays_text(sorted(weekdays))) == tuple(sorted(weekdays))


@given(st.lists(st.dates(date(2000, 1, 1), date(2200, 12, 31)), max_size=30))
def test_dates_are_read_as_they_are_written(dates):
    assert fields.days(fields.days_text(dates)) == tuple(sorted(set(dates)))
