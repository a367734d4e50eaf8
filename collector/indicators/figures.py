"""Figures of a period, as a whole or taken apart."""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from collector.indicators.definitions import CASE, COUNTS, MINUTES, REPEAT_DAYS, SHARES, Count, Minutes, Share, Which
from collector.indicators.packs import NEVER, NOTHING, Cases, Fact, Spot, day_start_ms, days, load

PERCENTILES: Final = (50, 90)
DAY_S: Final = 86_400


class Part(NamedTuple):
    """One number of another."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """From 0 to 1; None of nothing."""
        return self.part / self.whole if self.whole else None


class Spread(NamedTuple):
    """How minutes are spread; None of nothing."""

    tickets: int
    median: float | None
    p90: float | None


@dataclass(frozen=True)
class Figures:
    """All indicators of some tickets, by name."""

    counts: Mapping[str, int] = field(default_factory=dict)
    shares: Mapping[str, Part] = field(default_factory=dict)
    minutes: Mapping[str, Spread] = field(default_factory=dict)

    @property
    def json(self) -> dict[str, Any]:
        """For the API."""
        return {
            "counts": dict(self.counts),
            "shares": {name: {**one._asdict(), "value": one.value} for name, one in self.shares.items()},
            "minutes": {name: one._asdict() for name, one in self.minutes.items()},
        }


@dataclass(frozen=True)
class Period:
    """Days of a center, the last one included, of the streets of which somebody asks."""

    first: date
    last: date
    streets: tuple[str, ...]
    zone: ZoneInfo


class Loaded:
    """The tickets of a period, from which any figures are taken.

    Args:
        session: of one moment (`Store.reading`).
        now_ms: by which deadlines are over.
    """

    def __init__(self, session: Session, period: Period, now_ms: int) -> None:
        self.period = period
        before = load(session, period.streets, period.first - timedelta(days=REPEAT_DAYS + 1), period.last, period.zone)
        rows = before.rows
        flags = rows["flags"].copy()  # side by side, as they are gone through again and again
        again_s = _again_s(before, flags)
        flags[_within(again_s, REPEAT_DAYS)] |= int(Fact.REPEATED)
        flags[(rows["due_s"] > 0) & (rows["due_s"] * 1000 < now_ms)] |= int(Fact.OVERDUE)
        flags[(flags & int(Fact.ENDED | Fact.OVERDUE)) != 0] |= int(Fact.DUE)
        begin_s = day_start_ms(period.first, period.zone) // 1000
        inside = rows["opened_s"] >= begin_s
        self._cases, self._flags, self._again_s = Cases(before.spots, rows[inside]), flags[inside], again_s[inside]

    @property
    def spots(self) -> Sequence[Spot]:
        """Where there were any; of earlier days as well."""
        return self._cases.spots

    def at(self, spots: Sequence[bool]) -> "Loaded":
        """Those of some of `spots` alone."""
        return self._some(np.array(spots, bool)[self._cases.rows["place"]])

    def on(self, weekday: int | None, hour: int | None) -> "Loaded":
        """Those that appeared on a day of the week, 0 is Monday, at an hour; None: on any."""
        rows = np.ones(len(self._flags), bool)
        if weekday is not None:
            rows &= self._weekday() == weekday
        if hour is not None:
            rows &= self._cases.rows["hour"] == hour
        return self._some(rows)

    def since(self, first: date) -> "Loaded":
        """Those that appeared on a day of the period, or later."""
        return self._some(self._cases.rows["opened_s"] >= day_start_ms(first, self.period.zone) // 1000)

    def until(self, until_s: float) -> "Loaded":
        """Those that appeared in the first `until_s` seconds of their day."""
        starts_s = np.array(
            [day_start_ms(day, self.period.zone) // 1000 for day in days(self.period.first, self.period.last)]
        )
        return self._some(self._cases.rows["opened_s"] - starts_s[self._day()] < until_s)

    def again(self, within_days: int) -> "Loaded":
        """Confirmed ones of whose rule and shop, or place, another confirmed one began so many days before."""
        if not 0 < within_days <= REPEAT_DAYS:
            raise ValueError(f"expected 1 to {REPEAT_DAYS} days, got {within_days}")
        return self._some(_within(self._again_s, within_days))

    def numbers(self, behind: Count | Share | Minutes, *, whole: bool = False) -> list[int]:
        """Of the tickets behind an indicator, the last that appeared first; of a share its part, or its whole."""
        if isinstance(behind, Share):
            mask = self._any(behind.whole if whole else (behind.part,))
        else:
            mask = self._in(behind.which)
        if isinstance(behind, Minutes):
            mask = mask & (self._cases.rows[behind.column] >= 0)
        rows = self._cases.rows[mask]
        found: list[int] = rows["number"][np.lexsort((rows["number"], rows["opened_s"]))[::-1]].tolist()
        return found

    def whole(self, only: Collection[str] | None = None) -> Figures:
        """Of all of them; `only`: these indicators alone, and how many were reported. The same for what follows."""
        return self._figures(np.zeros(len(self._cases.rows), np.int64), 1, only)[0]

    def by_spot(self, names: Sequence[str], only: Collection[str] | None = None) -> dict[str, Figures]:
        """By a name that each of `spots` has; only those that have a ticket."""
        order = {name: index for index, name in enumerate(dict.fromkeys(names))}
        index = np.array([order[name] for name in names], np.int64)
        return self._named(list(order), index[self._cases.rows["place"]] if len(index) else index, only)

    def by_hour(self, only: Collection[str] | None = None) -> dict[str, Figures]:
        """By the hour of the day at which they appeared, all 24."""
        names = [f"{hour:02}" for hour in range(24)]
        return self._named(names, self._hour(), only, every=True)

    def by_day(self, only: Collection[str] | None = None) -> dict[str, Figures]:
        """By the day on which they appeared, all of the period."""
        names = [day.isoformat() for day in days(self.period.first, self.period.last)]
        return self._named(names, self._day(), only, every=True)

    def by_week(self, only: Collection[str] | None = None) -> dict[str, Figures]:
        """By the Monday of the week in which they appeared, all that have a day in the period."""
        first, last = (day - timedelta(days=day.weekday()) for day in (self.period.first, self.period.last))
        names = [day.isoformat() for day in days(first, last) if day.weekday() == 0]
        return self._named(names, (self.period.first.weekday() + self._day()) // 7, only, every=True)

    def by_weekday(self, only: Collection[str] | None = None) -> dict[str, Figures]:
        """By the day of the week on which they appeared, `1` is Monday, all seven."""
        return self._named([str(day) for day in range(1, 8)], self._weekday(), only, every=True)

    def by_weekday_hour(self, only: Collection[str] | None = None) -> dict[str, Figures]:
        """By both, as `1-08`, all 168."""
        names = [f"{day}-{hour:02}" for day in range(1, 8) for hour in range(24)]
        return self._named(names, self._weekday() * 24 + self._hour(), only, every=True)

    def _some(self, rows: NDArray[np.bool_]) -> "Loaded":
        cases = Cases(self._cases.spots, self._cases.rows[rows])
        found = copy(self)
        vars(found).update(_cases=cases, _flags=self._flags[rows], _again_s=self._again_s[rows])
        return found

    def _hour(self) -> NDArray[np.int64]:
        return self._cases.rows["hour"].astype(np.int64)

    def _day(self) -> NDArray[np.int64]:
        """Of the period, from 0, for each ticket; shape `(n,)`."""
        found: NDArray[np.int64] = np.searchsorted(self._starts_s(), self._cases.rows["opened_s"], "right") - 1
        return found

    def _starts_s(self) -> NDArray[np.int64]:
        """Of the period's days, seconds since the epoch."""
        every = days(self.period.first, self.period.last)
        return np.array([day_start_ms(day, self.period.zone) // 1000 for day in every], np.int64)

    def _weekday(self) -> NDArray[np.int64]:
        return (self.period.first.weekday() + self._day()) % 7

    def _named(
        self, names: list[str], index: NDArray[np.int64], only: Collection[str] | None, *, every: bool = False
    ) -> dict[str, Figures]:
        found = self._figures(index, len(names), only)
        return {name: one for name, one in zip(names, found, strict=True) if every or one.counts["reported"]}

    def _figures(self, index: NDArray[np.int64], size: int, only: Collection[str] | None) -> list[Figures]:
        """Of each group; `index` says which one a ticket is in, shape `(n,)`."""
        wanted = {one.name for one in (*COUNTS, *SHARES, *MINUTES)} if only is None else {*only, "reported"}
        counts = {one.name: self._tally(index, size, one.which) for one in COUNTS if one.name in wanted}
        parts = {one.name: self._tally(index, size, one.part) for one in SHARES if one.name in wanted}
        wholes = {one.name: self._tally(index, size, *one.whole) for one in SHARES if one.name in wanted}
        spreads = {
            one.name: _spreads(index, size, self._cases.rows[one.column], self._in(one.which))
            for one in MINUTES
            if one.name in wanted
        }
        return [
            Figures(
                {name: int(values[group]) for name, values in counts.items()},
                {name: Part(int(parts[name][group]), int(wholes[name][group])) for name in parts},
                {name: values[group] for name, values in spreads.items()},
            )
            for group in range(size)
        ]

    def _in(self, which: Which) -> NDArray[np.bool_]:
        return _has(self._flags, which.having, which.lacking)

    def _tally(self, index: NDArray[np.int64], size: int, *which: Which) -> NDArray[np.int64]:
        return np.bincount(index[self._any(which)], minlength=size)

    def _any(self, which: Sequence[Which]) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = np.logical_or.reduce([self._in(one) for one in which])
        return found


def _has(flags: NDArray[np.int32], having: Fact, lacking: Fact = NOTHING) -> NDArray[np.bool_]:
    """Which have all of the one and none of the other, shape `(n,)`."""
    found: NDArray[np.bool_] = (flags & int(having | lacking)) == int(having)
    return found


def place_of(spot: Spot) -> tuple[str, str, str]:
    """Where something is again: street, rule, and the shop, or the key; what a person reported has a key of its own."""
    return spot.street, spot.rule, spot.shop or spot.key


def _within(again_s: NDArray[np.int64], days: int) -> NDArray[np.bool_]:
    return (again_s >= 0) & (again_s <= days * DAY_S)


def _again_s(cases: Cases, flags: NDArray[np.int32]) -> NDArray[np.int64]:
    """How long before each confirmed ticket another confirmed one of its place began, shape `(n,)`; else NEVER."""
    found = np.full(len(flags), NEVER, np.int64)
    keys: dict[tuple[str, str, str], int] = {}
    key = np.array([keys.setdefault(place_of(spot), len(keys)) for spot in cases.spots], np.int64)
    rows = np.flatnonzero(_has(flags, CASE))
    if not len(rows):
        return found
    opened_s, key_of = cases.rows["opened_s"][rows], key[cases.rows["place"][rows]]
    order = np.lexsort((opened_s, key_of))
    same = np.diff(key_of[order]) == 0
    found[rows[order[1:][same]]] = np.diff(opened_s[order])[same]
    return found


def _spreads(index: NDArray[np.int64], size: int, seconds: NDArray[np.int32], mask: NDArray[np.bool_]) -> list[Spread]:
    """Percentiles of each group by the nearest rank: the smallest value that at least so many percent do not exceed."""
    mask = mask & (seconds >= 0)
    # one sort: by group, and in each by seconds
    ordered = np.sort((index[mask] << 32) | seconds[mask].astype(np.int64)) & 0xFFFFFFFF
    counts = np.bincount(index[mask], minlength=size)
    ends = np.cumsum(counts)
    found = []
    for count, end in zip(counts.tolist(), ends.tolist(), strict=True):
        ranks = [end - count + max(1, -(-count * percent // 100)) - 1 for percent in PERCENTILES]
        found.append(Spread(count, *(float(ordered[rank]) / 60 if count else None for rank in ranks)))
    return found
