"""Figures of a period, as a whole or taken apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from collector.indicators.definitions import CASE, COUNTS, MINUTES, REPEAT_DAYS, SHARES, Which
from collector.indicators.packs import NOTHING, Cases, Fact, Spot, day_start_ms, days, load

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
        flags[_repeated(before, flags)] |= int(Fact.REPEATED)
        flags[(rows["due_s"] > 0) & (rows["due_s"] * 1000 < now_ms)] |= int(Fact.OVERDUE)
        flags[(flags & int(Fact.ENDED | Fact.OVERDUE)) != 0] |= int(Fact.DUE)
        begin_s = day_start_ms(period.first, period.zone) // 1000
        inside = rows["opened_s"] >= begin_s
        self._cases, self._flags = Cases(before.spots, rows[inside]), flags[inside]

    @property
    def spots(self) -> Sequence[Spot]:
        """Where there were any; of earlier days as well."""
        return self._cases.spots

    def whole(self, first: date | None = None) -> Figures:
        """Of all of them; of those only that appeared on a day of the period, or later."""
        begin_s = 0 if first is None else day_start_ms(first, self.period.zone) // 1000
        before = self._cases.rows["opened_s"] < begin_s
        return self._figures(before.astype(np.int64), 2)[0]

    def by_spot(self, names: Sequence[str]) -> dict[str, Figures]:
        """By a name that each of `spots` has; only those that have a ticket."""
        order = {name: index for index, name in enumerate(dict.fromkeys(names))}
        index = np.array([order[name] for name in names], np.int64)
        return self._named(list(order), index[self._cases.rows["place"]] if len(index) else index)

    def by_hour(self) -> dict[str, Figures]:
        """By the hour of the day at which they appeared, all 24."""
        names = [f"{hour:02}" for hour in range(24)]
        return self._named(names, self._cases.rows["hour"].astype(np.int64), every=True)

    def by_day(self, until_s: float | None = None) -> dict[str, Figures]:
        """By the day on which they appeared, all of the period; of each its first `until_s` seconds only."""
        every = list(days(self.period.first, self.period.last))
        starts = np.array([day_start_ms(day, self.period.zone) // 1000 for day in every])
        opened_s = self._cases.rows["opened_s"]
        index = np.searchsorted(starts, opened_s, "right") - 1
        names = [day.isoformat() for day in every]
        if until_s is None:
            return self._named(names, index, every=True)
        rest = "rest"  # of each day: of no interest, and in no day's figures
        index = np.where(opened_s - starts[index] < until_s, index, len(names))
        found = self._named([*names, rest], index, every=True)
        return {day: found[day] for day in names}

    def _named(self, names: list[str], index: NDArray[np.int64], *, every: bool = False) -> dict[str, Figures]:
        found = self._figures(index, len(names))
        return {name: one for name, one in zip(names, found, strict=True) if every or one.counts["reported"]}

    def _figures(self, index: NDArray[np.int64], size: int) -> list[Figures]:
        """Of each group; `index` says which one a ticket is in, shape `(n,)`."""
        counts = {one.name: self._tally(index, size, one.which) for one in COUNTS}
        parts = {one.name: self._tally(index, size, one.part) for one in SHARES}
        wholes = {one.name: self._tally(index, size, *one.whole) for one in SHARES}
        spreads = {
            one.name: _spreads(index, size, self._cases.rows[one.column], self._in(one.which)) for one in MINUTES
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
        mask = np.logical_or.reduce([self._in(one) for one in which])
        return np.bincount(index[mask], minlength=size)


def _has(flags: NDArray[np.int32], having: Fact, lacking: Fact = NOTHING) -> NDArray[np.bool_]:
    """Which have all of the one and none of the other, shape `(n,)`."""
    found: NDArray[np.bool_] = (flags & int(having | lacking)) == int(having)
    return found


def _repeated(cases: Cases, flags: NDArray[np.int32]) -> NDArray[np.int64]:
    """Rows of confirmed tickets that another confirmed one of the same rule and shop, or place, began before.

    By the shop where there is one: what a person reported has a key of its own.
    """
    keys: dict[tuple[str, str, str], int] = {}
    places = [(spot.street, spot.rule, spot.shop or spot.key) for spot in cases.spots]
    key = np.array([keys.setdefault(place, len(keys)) for place in places], np.int64)
    rows = np.flatnonzero(_has(flags, CASE))
    if not len(rows):
        return rows
    opened_s, key_of = cases.rows["opened_s"][rows], key[cases.rows["place"][rows]]
    order = np.lexsort((opened_s, key_of))
    same = np.diff(key_of[order]) == 0
    near = np.diff(opened_s[order]) <= REPEAT_DAYS * DAY_S
    found: NDArray[np.int64] = rows[order[1:][same & near]]
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
