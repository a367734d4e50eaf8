"""When a permit's hours are: street time turned into instants, whatever its clocks do.

A permit says: on these days, at these hours. A range of hours belongs to the day on which it begins: with `18:00-02:00`
until 31 December, the last evening ends at 2 o'clock on 1 January, and an excluded day takes away what would begin on
it, no more.

A clock that is set back shows some times twice. A range begins when the clock first shows its start and ends when it
last shows its end: who reads the permit may rely on either. A time that a clock set forward leaves out is the moment of
the change.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from collector.places.fields import DAY_MIN, Times

DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Schedule:
    """Days and hours of a permit, in street time.

    Args:
        first, last: days, both inclusive.
        weekdays: 0 is Monday.
        times: minutes since midnight; an end beyond 1440 lies in the next day.
        excluded: days on which nothing begins.
    """

    first: date
    last: date
    weekdays: frozenset[int]
    times: Times
    excluded: frozenset[date]

    def begins_on(self, day: date) -> bool:
        """Whether hours begin on this day."""
        return self.first <= day <= self.last and day.weekday() in self.weekdays and day not in self.excluded

    def days(self) -> Iterator[date]:
        """All days on which hours begin."""
        day = self.first
        while day <= self.last:
            if self.begins_on(day):
                yield day
            day += DAY

    def covers_until(self, at_ms: int, zone: ZoneInfo) -> int | None:
        """When the hours that an instant lies in end; None where it lies in none.

        Hours that follow each other without a gap are one. The end itself is not covered any more.

        Args:
            at_ms: milliseconds since the epoch.
            zone: the street's time zone.
        """
        today = datetime.fromtimestamp(at_ms / 1000, zone).date()
        # one that began yesterday may go on; where a clock is set back at midnight, one of tomorrow may have begun
        until_ms: int | None = None
        for day in (today - DAY, today, today + DAY):
            for start_ms, end_ms in self._of(day, zone):
                if start_ms <= at_ms < end_ms:
                    until_ms = max(until_ms or 0, end_ms)
        return None if until_ms is None else self._through(until_ms, today, zone)

    def _through(self, until_ms: int, day: date, zone: ZoneInfo) -> int:
        """Follow hours that begin no later than others end."""
        if len(self.weekdays) == 7 and self.times == ((0, DAY_MIN),):
            # without looking at each day: such permits last for years
            gap = min((one for one in self.excluded if one > day), default=self.last + DAY)
            return max(until_ms, instant_ms(min(gap, self.last + DAY), 0, zone, latest=True))
        last_day = day - DAY
        while last_day <= self.last + DAY:
            further = [end for start, end in self._of(last_day, zone) if start <= until_ms < end]
            if further:
                until_ms = max(further)
            elif instant_ms(last_day, 0, zone, latest=False) > until_ms:
                break
            else:
                last_day += DAY
        return until_ms

    def _of(self, day: date, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
        """Hours that begin on a day, as instants."""
        if self.begins_on(day):
            for start, end in self.times:
                yield instant_ms(day, start, zone, latest=False), instant_ms(day, end, zone, latest=True)


def instant_ms(day: date, minute: int, zone: ZoneInfo, *, latest: bool) -> int:
    """When the clock of a street shows a time, in milliseconds since the epoch.

    Args:
        day: a date.
        minute: since its midnight; 1440 and more is the next day.
        zone: whose clock.
        latest: where it shows it twice, the second time.
    """
    local = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)  # noqa: DTZ001 - what the clock shows
    first, second = (round(local.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    if second >= first:
        # the same, but where the clock was set back in between
        return (second if latest else first) * 1000
    return _change_s(second, first, zone) * 1000


def _change_s(before_s: int, after_s: int, zone: ZoneInfo) -> int:
    """The second at which a clock was set forward, by halving."""
    offset = datetime.fromtimestamp(before_s, UTC).astimezone(zone).utcoffset()
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if datetime.fromtimestamp(middle_s, UTC).astimezone(zone).utcoffset() == offset:
            before_s = middle_s
        else:
            after_s = middle_s
    return after_s
