"""Footfall: how many people boxes counted in each zone, by quarters of an hour.

Telemetry that may be lost, and a mean of looks, not of people who pass: it says when a place is full, not how many
different people came. A quarter holds what arrived in it, by the center's clock.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from collector.store import Box, FootfallRow, lock
from protocol.messages import ZoneCount

QUARTER_MS: Final = 15 * 60 * 1000
DAY_MS: Final = 24 * 3600 * 1000


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
    query = (
        select(Box.site, FootfallRow.box_id, FootfallRow.camera, FootfallRow.zone, FootfallRow.from_ms)
        .add_columns(FootfallRow.looks, FootfallRow.mean, FootfallRow.most, FootfallRow.lower_bound)
        .join(Box, Box.id == FootfallRow.box_id)
        .where(Box.site.in_(streets), FootfallRow.from_ms >= from_ms, FootfallRow.from_ms < until_ms)
    )
    quarters: dict[tuple[str, str, str, str], list[tuple[int, float, int, int]]] = {}
    for street, box, camera, place, at_ms, _looks, mean, most, full in session.execute(query):
        hour = datetime.fromtimestamp(at_ms / 1000, zone).hour
        quarters.setdefault((street, box, camera, place), []).append((hour, mean, most, full))
    found = []
    for key, rows in quarters.items():
        # each quarter counts alike: a camera looks more often where there is more to see
        hours = [[mean for hour, mean, _, _ in rows if hour == at] for at in range(24)]
        means = tuple(round(sum(one) / len(one), 2) if one else None for one in hours)
        whole = round(sum(mean for _, mean, _, _ in rows) / len(rows), 2)
        full = any(one for _, _, _, one in rows)
        found.append(ZoneFall(*key, whole, max(most for _, _, most, _ in rows), full, means))
    return sorted(found, key=lambda one: (-one.mean, one.box, one.camera, one.zone))
