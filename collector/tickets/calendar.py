"""Working time: which days are worked, and what an instant becomes when a span is added to it.

Holidays and make-up working days are data (`config/calendar-cn.toml`, overridden by `/etc/cityeye/calendar-cn.toml`).
A year without a table counts as plain weeks; whoever computes with it is told so (`unknown_years`).
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, model_validator

from protocol.documents import Section, SettingsError, first_fault
from protocol.hours import Hours

Unit = Literal["minutes", "hours", "days", "work_minutes", "work_hours", "work_days"]
UNITS: Final[tuple[Unit, ...]] = ("minutes", "hours", "days", "work_minutes", "work_hours", "work_days")
OVERRIDE: Final = Path("/etc/cityeye/calendar-cn.toml")
FURTHEST_DAYS: Final = 1500
"""Where no day is worked, a deadline in working time is never reached: that far is looked."""
_DAY: Final = timedelta(days=1)
_MINUTE_MS: Final = 60_000


class CalendarError(SettingsError):
    """A calendar, or working hours, that nothing can be computed with."""


class Off(Section):
    """Days off in a row."""

    name: str
    first: date
    last: date

    @model_validator(mode="after")
    def _in_order(self) -> "Off":
        if self.last < self.first:
            raise ValueError(f"expected last at or after first, got {self.first} to {self.last}")
        return self


class Year(Section):
    """One year as it was published."""

    source: str
    off: tuple[Off, ...] = ()
    worked: tuple[date, ...] = Field(default=(), description="weekend days that are worked")


@dataclass(frozen=True)
class Calendar:
    """Public holidays and make-up working days.

    Args:
        off: day to the holiday's name.
        worked: weekend days that are worked.
        years: that there is a table for.
    """

    off: Mapping[date, str] = field(default_factory=dict)
    worked: frozenset[date] = frozenset()
    years: frozenset[int] = frozenset()

    def is_worked(self, day: date, weekdays: frozenset[int]) -> bool:
        """Whether a day is a working day where those weekdays (0 is Monday) usually are."""
        if day in self.worked:
            return True
        return day not in self.off and day.weekday() in weekdays

    def unknown_years(self, first: date, last: date) -> list[int]:
        """The years between two days that have no table."""
        return [year for year in range(first.year, last.year + 1) if year not in self.years]


PLAIN: Final = Calendar()
"""No holidays at all."""


def read_calendar(text: str, where: str) -> Calendar:
    """Read a calendar's TOML; raises CalendarError with one line."""
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise CalendarError(f"{where}: expected TOML, got: {fault}") from None
    off: dict[date, str] = {}
    worked: set[date] = set()
    for name, table in tables.items():
        if not (name.isdigit() and len(name) == 4) or not isinstance(table, dict):
            raise CalendarError(f"{where}: expected tables named by a year such as [2026], got {name!r}")
        try:
            year = Year.model_validate(table)
        except ValidationError as fault:
            raise CalendarError(f"{where}: [{name}] {first_fault(fault, table)}") from None
        for one in year.off:
            off.update({one.first + n * _DAY: one.name for n in range((one.last - one.first).days + 1)})
        worked.update(year.worked)
        twice = sorted(worked & set(off))
        if twice:
            raise CalendarError(f"{where}: [{name}] expected a day to be off or worked, got both for {twice[0]}")
    return Calendar(off, frozenset(worked), frozenset(int(name) for name in tables))


@cache
def chinese_calendar(path: Path = OVERRIDE) -> Calendar:
    """The calendar that is installed, or the one that overrides it; raises CalendarError."""
    if path.is_file():
        return read_calendar(path.read_text("utf-8"), str(path))
    shipped = files("cityeye_config") / "calendar-cn.toml"
    return read_calendar(shipped.read_text("utf-8"), "calendar-cn.toml")


@dataclass(frozen=True)
class WorkingTime:
    """When a street works.

    Args:
        zone: its time zone.
        weekdays: that are worked, 0 is Monday.
        ranges: minutes since midnight, [from, until), in order and apart.
        calendar: holidays and make-up days; `PLAIN` where it works through them.
    """

    zone: ZoneInfo
    weekdays: frozenset[int]
    ranges: tuple[tuple[int, int], ...]
    calendar: Calendar = PLAIN

    def local(self, at_ms: int) -> datetime:
        """An instant as it reads at the street."""
        return datetime.fromtimestamp(at_ms / 1000, self.zone)

    def instant_ms(self, day: date, minute: int) -> int:
        """A minute of a day at the street; minute 1440 is the next midnight."""
        whole = datetime.combine(day + (minute // 1440) * _DAY, time(minute % 1440 // 60, minute % 60), self.zone)
        return round(whole.timestamp() * 1000)

    def periods(self, from_ms: int) -> Iterator[tuple[int, int]]:
        """Working periods that end after an instant, [from, until) in milliseconds, for some years."""
        first = self.local(from_ms).date()
        for number in range(FURTHEST_DAYS):
            day = first + number * _DAY
            if self.calendar.is_worked(day, self.weekdays):
                for begin, end in self.ranges:
                    begin_ms, end_ms = self.instant_ms(day, begin), self.instant_ms(day, end)
                    if end_ms > from_ms:
                        yield begin_ms, end_ms

    def add_work(self, from_ms: int, span_ms: int) -> int:
        """The instant at which so much working time has passed; raises CalendarError where that never is."""
        left_ms = span_ms
        for begin_ms, end_ms in self.periods(from_ms):
            start_ms = max(begin_ms, from_ms)
            if left_ms <= end_ms - start_ms:
                return start_ms + left_ms
            left_ms -= end_ms - start_ms
        raise CalendarError("expected working hours on some day, found none; check `work` of the policy")

    def add_work_days(self, from_ms: int, count: int) -> int:
        """The end of work on the n-th working day after this one.

        As civil law counts periods: the day on which one begins is not counted, and the last one ends when business
        does (民法典 §§ 201, 203).
        """
        if not self.ranges:
            raise CalendarError("expected working hours, found none; check `work.hours` of the policy")
        first = self.local(from_ms).date()
        for number in range(1, FURTHEST_DAYS):
            day = first + number * _DAY
            if self.calendar.is_worked(day, self.weekdays):
                count -= 1
                if count <= 0:
                    return self.instant_ms(day, self.ranges[-1][1])
        raise CalendarError("expected working days, found none; check `work.days` of the policy")

    def add_days(self, from_ms: int, count: int) -> int:
        """The same time of day, so many days later."""
        local = self.local(from_ms)
        return round((local.replace(tzinfo=None) + count * _DAY).replace(tzinfo=self.zone).timestamp() * 1000)


@dataclass(frozen=True)
class Span:
    """An amount of calendar or working time."""

    amount: int
    unit: Unit

    def after(self, from_ms: int, work: WorkingTime) -> int:
        """When this span after an instant is over."""
        match self.unit:
            case "minutes":
                return from_ms + self.amount * _MINUTE_MS
            case "hours":
                return from_ms + self.amount * 60 * _MINUTE_MS
            case "days":
                return work.add_days(from_ms, self.amount)
            case "work_minutes":
                return work.add_work(from_ms, self.amount * _MINUTE_MS)
            case "work_hours":
                return work.add_work(from_ms, self.amount * 60 * _MINUTE_MS)
        return work.add_work_days(from_ms, self.amount)

    def __str__(self) -> str:
        return f"{self.amount} {self.unit}"


def is_within(rules: Sequence[Hours], local: datetime) -> bool:
    """Whether a local time lies in any of these hours; never, where there are none."""
    return any(rule.active(local) for rule in rules)


def next_edge_ms(rules: Sequence[Hours], at_ms: int, zone: ZoneInfo, *, inside: bool) -> int | None:
    """The first whole minute after an instant at which one is inside these hours, or outside of them.

    None where that is not within eight days.
    """
    local = datetime.fromtimestamp(at_ms / 1000, zone)
    edges = sorted({minute % 1440 for rule in rules for pair in rule.ranges for minute in pair} | {0})
    for number in range(9):
        day = local.date() + number * _DAY
        for edge in edges:
            there = datetime.combine(day, time(edge // 60, edge % 60), zone)
            there_ms = round(there.timestamp() * 1000)
            if there_ms > at_ms and is_within(rules, there) is inside:
                return there_ms
    return None
