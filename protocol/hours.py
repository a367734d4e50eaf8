"""Active hours of a zone, in the part of the opening-hours syntax (OpenStreetMap) that shops use.

A rule is `[DAYS] TIMES`: days are names and ranges of `Mo Tu We Th Fr Sa Su` joined by commas (all days where left
out), times are ranges `HH:MM-HH:MM` joined by commas. `24/7` is always. A range that ends at or before its start runs
past midnight into the next day; `24:00` is the end of the day. A zone is active when any of its rules is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_TIMES = re.compile(r"^(\d\d):(\d\d)-(\d\d):(\d\d)$")
_DAY_MIN = 24 * 60


@dataclass(frozen=True)
class Hours:
    """One parsed rule: on which weekdays (0 is Monday) it begins, and its ranges in minutes since midnight."""

    days: frozenset[int]
    ranges: tuple[tuple[int, int], ...]

    def active(self, local: datetime) -> bool:
        """Say whether a local time lies in the rule."""
        minute = local.hour * 60 + local.minute
        yesterday = (local - timedelta(days=1)).weekday()
        return any(
            (local.weekday() in self.days and start <= minute < end)
            or (yesterday in self.days and start <= minute + _DAY_MIN < end)
            for start, end in self.ranges
        )


def parse_hours(text: str) -> Hours:
    """Read one rule; raises ValueError with what was expected and what came."""
    words = text.split()
    expected = f"expected hours such as 'Mo-Fr 08:00-12:00,13:00-22:00', '22:00-02:00' or '24/7', got {text!r}"
    if words == ["24/7"]:
        return Hours(frozenset(range(7)), ((0, _DAY_MIN),))
    if len(words) not in (1, 2):
        raise ValueError(expected)
    try:
        days = _days(words[0]) if len(words) == 2 else frozenset(range(7))
        ranges = tuple(_range(part) for part in words[-1].split(","))
    except ValueError as fault:
        raise ValueError(f"{expected} ({fault})") from None
    return Hours(days, ranges)


def any_active(rules: Sequence[Hours], local: datetime) -> bool:
    """Say whether a zone with these rules is active; without rules it always is."""
    return not rules or any(rule.active(local) for rule in rules)


def _days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last and last not in DAYS):
            raise ValueError(f"{part!r} is no day; days are {' '.join(DAYS)}")
        start, end = DAYS.index(first), DAYS.index(last or first)
        days.update((start + n) % 7 for n in range((end - start) % 7 + 1))
    return frozenset(days)


def _range(text: str) -> tuple[int, int]:
    match = _TIMES.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no range of times")
    from_h, from_min, to_h, to_min = map(int, match.groups())
    start, end = from_h * 60 + from_min, to_h * 60 + to_min
    if from_min > 59 or to_min > 59 or start >= _DAY_MIN or end > _DAY_MIN:
        raise ValueError(f"{text!r} is past the end of the day")
    return start, end if end > start else end + _DAY_MIN
