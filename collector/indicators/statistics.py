"""What statistics ask: tickets of a period narrowed down, its stretches of time, and what is there again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.indicators.apart import split
from collector.indicators.definitions import COUNTS, MINUTES, SHARES, Count, Minutes, Share
from collector.indicators.figures import Figures, Loaded, Period, place_of
from collector.indicators.packs import day_start_ms, days
from collector.store import Ticket

INDICATORS: Final[Mapping[str, Count | Share | Minutes]] = {one.name: one for one in (*COUNTS, *SHARES, *MINUTES)}
NONE: Final = "-"
"""Asks for those that have no shop, cell or camera; no id is like that."""
SPLITS: Final = ("street", "category", "grid", "shop", "camera")
Lack = Literal["", "before", "after", "never"]
MOST_DAYS: Final = 62
"""Of a period that is shown day by day; a longer one is shown by weeks."""


class Way(NamedTuple):
    """How spots are taken apart: the key of each of `Loaded.spots`, and what some keys are called."""

    keys: Sequence[str]
    names: Mapping[str, str]


@dataclass(frozen=True)
class Choice:
    """Which of the tickets of a period; what is empty or None asks for nothing.

    Args:
        place: of `place_key`.
        weekday: 0 is Monday.
        again_days: those that are there again within so many days.
    """

    category: str = ""
    grid: str = ""
    shop: str = ""
    camera: str = ""
    place: str = ""
    weekday: int | None = None
    hour: int | None = None
    again_days: int = 0


def ways(session: Session, loaded: Loaded) -> dict[str, Way]:
    """All of SPLITS."""
    found = {}
    for by in SPLITS:
        key, names = split(session, loaded, by)
        found[by] = Way([key(spot) or NONE for spot in loaded.spots], names)
    return found


def choose(loaded: Loaded, every: Mapping[str, Way], choice: Choice) -> Loaded:
    """Those that are asked for."""
    for by in SPLITS:
        wanted = getattr(choice, by, "")
        if wanted:
            loaded = loaded.at([key == wanted for key in every[by].keys])
    if choice.place:
        loaded = loaded.at([place_key(loaded, index) == choice.place for index in range(len(loaded.spots))])
    if choice.weekday is not None or choice.hour is not None:
        loaded = loaded.on(choice.weekday, choice.hour)
    return loaded.again(choice.again_days) if choice.again_days else loaded


def place_key(loaded: Loaded, index: int) -> str:
    """Of a spot, for an address: its street, rule, and shop or key."""
    return "|".join(place_of(loaded.spots[index]))


def since(session: Session, period: Period, camera: str = "") -> date | None:
    """The day of the first ticket of the streets, or of a camera `box/camera`; before it there are no data."""
    box, _, name = camera.partition("/")
    found = []
    for street in period.streets:
        query = select(func.min(Ticket.opened_ms)).where(Ticket.street == street)
        if name:
            query = query.where(Ticket.box_id == box, Ticket.camera == name)
        found.append(session.scalar(query))
    first_ms = min((one for one in found if one is not None), default=None)
    return None if first_ms is None else datetime.fromtimestamp(first_ms / 1000, period.zone).date()


@dataclass(frozen=True)
class Stretch:
    """A stretch of time.

    Args:
        key: as in `by_hour`, `by_day`, `by_week`.
        first, last: its days.
        hour: of the day; None: all of it.
        lacks: why there are no data: before the first ticket, yet to come, or an hour that the clock leaves out.
        whole: whether there are data of all of it.
    """

    key: str
    first: date
    last: date
    hour: int | None = None
    lacks: Lack = ""
    whole: bool = True


def stretches(period: Period, begin: date, now_ms: int) -> tuple[Literal["hour", "day", "week"], list[Stretch]]:
    """The hours, days or weeks of a period; `begin` is the first day of which there are data."""
    now = datetime.fromtimestamp(now_ms / 1000, period.zone)
    if period.first == period.last:
        return "hour", _hours(period.first, period.zone, begin, now)
    each = list(days(period.first, period.last))
    by: Literal["day", "week"] = "day" if len(each) <= MOST_DAYS else "week"
    parts: dict[date, list[date]] = {}
    for day in each:
        parts.setdefault(day if by == "day" else day - timedelta(days=day.weekday()), []).append(day)
    found = []
    for key, part in parts.items():
        seen = [day for day in part if begin <= day <= now.date()]
        whole = len(seen) == (1 if by == "day" else 7) and seen[-1] < now.date()
        lacks: Lack = "" if seen else _lacks(part[0], begin)
        found.append(Stretch(key.isoformat(), part[0], part[-1], lacks=lacks, whole=whole))
    return by, found


def _hours(day: date, zone: ZoneInfo, begin: date, now: datetime) -> list[Stretch]:
    # by quarters: some clocks are moved by half an hour
    quarters = range(day_start_ms(day, zone) // 1000, day_start_ms(day + timedelta(days=1), zone) // 1000, 900)
    there: dict[int, list[int]] = {}
    for at_s in quarters:
        there.setdefault(datetime.fromtimestamp(at_s, zone).hour, []).append(at_s)
    found = []
    for hour in range(24):
        parts, lacks = there.get(hour, []), _lacks(day, begin)
        if parts and day >= begin and parts[0] <= now.timestamp():
            lacks = ""
        whole = bool(parts) and parts[-1] + 900 <= now.timestamp()
        found.append(Stretch(f"{hour:02}", day, day, hour, lacks if parts else "never", whole))
    return found


def _lacks(day: date, begin: date) -> Lack:
    return "before" if day < begin else "after"


@dataclass(frozen=True)
class Again:
    """A shop, or a place without one, where something was there again.

    Args:
        index: of one of its spots.
    """

    place: str
    index: int
    cases: int
    again: int


def repeats(loaded: Loaded, within_days: int) -> list[Again]:
    """Those that have any, the most first."""
    names = [place_key(loaded, index) for index in range(len(loaded.spots))]
    every = loaded.by_spot(names, ("confirmed",))
    again = loaded.again(within_days).by_spot(names, ("confirmed",))
    order = {name: index for index, name in enumerate(names)}
    found = [Again(name, order[name], _cases(every[name]), _cases(one)) for name, one in again.items()]
    return sorted(found, key=lambda one: (-one.again, -one.cases, one.place))


def _cases(figures: Figures) -> int:
    return figures.counts["confirmed"]
