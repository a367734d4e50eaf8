"""What everybody may know of a street: its rules and hours, permits, figures, how to object. No picture, no name."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.exchange.proposals import Nameless
from collector.indicators.figures import Figures, Loaded, Period
from collector.indicators.report import month_of
from collector.places import permits
from collector.places.permits import Permit
from collector.store import Box, SettingsRow
from collector.tickets.policy import Policy, current
from protocol.settings import FrontageZone, Zone, read_document

COUNTS: Final = ("reported", "confirmed", "false_alarm", "unfounded", "duplicate", "exempt", "lapsed", "unreviewed")
"""Of all cases, with `pending`; the parts after the first one make it up."""
ENDS: Final = ("self_corrected", "registered", "closed", "withdrawn")
SHARES: Final = ("soft_rate", "self_corrected_rate", "in_time_rate")
MINUTES: Final = ("to_notice", "to_clear")


@dataclass(frozen=True)
class Watched:
    """What the cameras of a street look for, of one kind of zone.

    Args:
        kind: `frontage` or `gathering`.
        zones: how many.
        dwell_s: shortest and longest time after which something is reported.
        hours: in which they look, opening-hours syntax; empty: at any time.
    """

    kind: str
    zones: int
    dwell_s: tuple[float, float]
    hours: tuple[str, ...]


@dataclass(frozen=True)
class Exemption:
    """A permit that is in force, without whom it is for.

    Args:
        hours: as they are written in permits; `weekdays`, `until_day` likewise.
    """

    issuer: str
    business: str
    hours: str
    weekdays: tuple[int, ...]
    until_day: date
    one_shop: bool


@dataclass(frozen=True)
class Street:
    """All of it.

    Args:
        months: first day of each month, and its figures, the newest first.
    """

    id: str
    policy: Policy
    watched: Sequence[Watched]
    permits: Sequence[Exemption]
    months: Mapping[date, Figures]


def gather(session: Session, street: str, now_ms: int, today: date, zone: ZoneInfo, nameless: Nameless) -> Street:
    """What is known of a street.

    Args:
        session: of one moment (`Store.reading`).
        street: its id.
        now_ms: the center's clock.
        today: by the center's calendar.
        zone: the center's.
        nameless: takes names out.
    """
    found = permits.listed(session, streets=[street], on=today, state=permits.ACTIVE)
    this_month = today.replace(day=1)
    months = (this_month, (this_month - timedelta(days=1)).replace(day=1))
    return Street(
        street,
        current(session, street).policy,
        _watched(session, street),
        [
            _without_names(one, nameless)
            for one in found
            if today not in one.excluded and today.weekday() in one.weekdays
        ],
        {one: Loaded(session, Period(*month_of(one), (street,), zone), now_ms).whole() for one in months},
    )


def _without_names(permit: Permit, nameless: Nameless) -> Exemption:
    return Exemption(
        nameless(permit.issuer),
        nameless(permit.business),
        ", ".join(f"{_clock(begin)}–{_clock(end)}" for begin, end in permit.hours),
        permit.weekdays,
        permit.until_day,
        permit.shop is not None,
    )


def _clock(minute: int) -> str:
    """Of a day; what ends after midnight ends at its time of the next one."""
    return "24:00" if minute == 1440 else f"{minute % 1440 // 60:02}:{minute % 60:02}"


def _watched(session: Session, street: str) -> list[Watched]:
    """By the newest settings of its boxes."""
    newest = select(func.max(SettingsRow.revision)).where(SettingsRow.box_id == Box.id).correlate(Box).scalar_subquery()
    documents = session.scalars(
        select(SettingsRow.document)
        .join(Box, Box.id == SettingsRow.box_id)
        .where(Box.site == street, SettingsRow.revision == newest)
    )
    zones = [zone for text in documents for camera in read_document(json.loads(text)).camera for zone in camera.zone]
    parts = (("frontage", True), ("gathering", False))
    kinds = [(kind, [one for one in zones if isinstance(one, FrontageZone) == front]) for kind, front in parts]
    return [_kind(kind, found) for kind, found in kinds if found]


def _kind(kind: str, zones: Sequence[Zone]) -> Watched:
    dwells = [one.dwell_s for one in zones]
    always = any(not one.active for one in zones)
    hours: Iterable[str] = () if always else dict.fromkeys(text for one in zones for text in one.active)
    return Watched(kind, len(zones), (min(dwells), max(dwells)), tuple(hours))
