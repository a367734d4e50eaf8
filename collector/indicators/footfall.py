"""Footfall: how many people boxes counted in each zone, by quarters of an hour.

Telemetry that may be lost, and a mean of looks, not of people who pass: it says when a place is full, not how many
different people came. A quarter holds what arrived in it, by the center's clock.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from collector.store import Box, FootfallRow, lock
from protocol.messages import ZoneCount

QUARTER_MS: Final = 15 * 60 * 1000
HOUR_MS: Final = 4 * QUARTER_MS
DAY_MS: Final = 24 * HOUR_MS


def take(session: Session, box: str, counts: Sequence[ZoneCount], received_ms: int) -> None:
    """Add what a box counted to the quarter of an hour in which it came."""
    if not counts:
        return
    lock(session, [f"footfall/{box}"])  # of two collectors that take its messages, one adds after the other
    from_ms = received_ms // QUARTER_MS * QUARTER_MS
    for one in counts:
        row = session.get(FootfallRow, (box, one.camera, one.zone, from_ms), populate_existing=True)
        if row is None:
            row = FootfallRow(box_id=box, camera=one.camera, zone=one.zone, from_ms=from_ms)
            row.looks, row.mean, row.most, row.lower_bound = 0, 0.0, 0, 0
            session.add(row)
        looks = row.looks + one.looks
        row.mean = (row.mean * row.looks + one.mean * one.looks) / looks
        row.looks, row.most = looks, max(row.most, one.most)
        row.lower_bound |= int(one.lower_bound)


def forget(session: Session, before_ms: int) -> int:
    """Delete what is older; says how many quarters that were."""
    return int(session.execute(delete(FootfallRow).where(FootfallRow.from_ms < before_ms)).rowcount)  # type: ignore[attr-defined]  # of a DELETE


@dataclass(frozen=True)
class ZoneFall:
    """A zone over a period.

    Args:
        hours: mean of the people at each hour of the day; None where nobody counted.
        lower_bound: the counter was full at least once.
    """

    street: str
    box: str
    camera: str
    zone: str
    mean: float
    most: int
    lower_bound: bool
    hours: tuple[float | None, ...]


def of_period(
    session: Session, streets: Collection[str], from_ms: int, until_ms: int, zone: ZoneInfo
) -> list[ZoneFall]:
    """All zones in which somebody counted, the fullest first."""
    key = (Box.site, FootfallRow.box_id, FootfallRow.camera, FootfallRow.zone)
    sums = (func.count(), func.sum(FootfallRow.mean), func.max(FootfallRow.most), func.max(FootfallRow.lower_bound))
    found: dict[tuple[str, ...], _Sums] = {}
    for begin_ms, end_ms, offset_ms in _same_offset(from_ms, until_ms, zone):
        # added up by the database: a year has a million quarters
        hour = ((FootfallRow.from_ms + offset_ms) // HOUR_MS % 24).label("hour")
        query = select(*key, hour, *sums).join(Box, Box.id == FootfallRow.box_id).group_by(*key, "hour")
        inside = (FootfallRow.from_ms >= begin_ms, FootfallRow.from_ms < end_ms)
        for *place, at, count, mean, most, full in session.execute(query.where(Box.site.in_(streets), *inside)):
            one = found.setdefault(tuple(place), _Sums([0] * 24, [0.0] * 24))
            one.counts[at] += count
            one.means[at] += mean
            one.most, one.full = max(one.most, most), one.full or bool(full)
    return sorted(
        (one.fall(*place) for place, one in found.items()), key=lambda one: (-one.mean, one.box, one.camera, one.zone)
    )


@dataclass
class _Sums:
    """Quarters of a zone by the hour of the day: how many, and the sum of their means.

    Each counts alike: a camera looks more often where there is more to see.
    """

    counts: list[int]
    means: list[float]
    most: int = 0
    full: bool = False

    def fall(self, street: str, box: str, camera: str, zone: str) -> ZoneFall:
        hours = [round(mean / count, 2) if count else None for mean, count in zip(self.means, self.counts, strict=True)]
        whole = round(sum(self.means) / sum(self.counts), 2)
        return ZoneFall(street, box, camera, zone, whole, self.most, self.full, tuple(hours))


def _same_offset(from_ms: int, until_ms: int, zone: ZoneInfo) -> list[tuple[int, int, int]]:
    """Stretches within which clocks are not moved: begin, end, offset from UTC, all in milliseconds."""
    found: list[tuple[int, int, int]] = []
    begin_ms = from_ms
    while begin_ms < until_ms:
        offset_ms, end_ms = _offset_ms(begin_ms, zone), begin_ms
        for step_ms in (DAY_MS, QUARTER_MS):
            while end_ms < until_ms and _offset_ms(end_ms + step_ms - 1, zone) == offset_ms:
                end_ms += step_ms
        end_ms = min(end_ms, until_ms)
        found.append((begin_ms, end_ms, offset_ms))
        begin_ms = end_ms
    return found


def _offset_ms(at_ms: int, zone: ZoneInfo) -> int:
    return round(datetime.fromtimestamp(at_ms / 1000, zone).utcoffset().total_seconds() * 1000)  # type: ignore[union-attr]  # it has a zone
