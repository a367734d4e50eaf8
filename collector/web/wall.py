"""What the wall shows, read from the database: numbers and places, never the name of a shop or of a person.

All numbers are indicators (`collector.indicators`), but for what is open, overdue or out of order now, which is counted
as the list of tickets and the pages of cameras and boxes have it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.indicators import keeping
from collector.indicators.definitions import COUNTS, MINUTES, SHARES
from collector.indicators.figures import Figures, Loaded, Period
from collector.indicators.packs import day_start_ms
from collector.places import cameras, grid
from collector.places.fields import Position
from collector.places.standing import positions
from collector.places.streets import Street
from collector.store import GridCell, Ticket
from collector.tickets.machine import State
from collector.web import ailments, fleet, words
from collector.web.fleet import BoxCard
from collector.web.language import N_, Text, Words
from collector.web.wall_map import KINDS, Mark, View, gathered, on_sheet, view_of

WEEKS: Final = 4
RECENT_DAYS: Final = 28
"""The last ones, today included: of these are the shares and minutes that today's are seen against."""
ABOUT: Final = 0.1
"""So much more or less than usual is as usual."""
TODAY: Final = ("reported", "confirmed", "self_corrected", "registered", "to_notice", "to_clear")
CHIEF: Final = "soft_rate"
LATE_ROWS, DOWN_ROWS = 5, 4
"""That a screen has room for."""
NAMES: Final[Mapping[str, Words]] = {one.name: Words(*one.words) for one in (*COUNTS, *SHARES, *MINUTES)}
MARKS: Final = {
    "late": N_("Overdue"),
    "review": N_("To review"),
    "under_way": N_("Under way"),
    "camera": N_("Camera"),
    "down": N_("Faulty camera"),
}
BY_PERSON: Final = N_("Reported by a person")

Form = Literal["count", "share", "minutes"]


@dataclass(frozen=True)
class Bar:
    """A day's value on a small plot: `height` of 100, None where there is none."""

    day: str
    height: float | None
    is_today: bool
    is_alike: bool
    """The same day of an earlier week."""


@dataclass(frozen=True)
class Tile:
    """An indicator.

    Args:
        name: of the definition.
        value: of today; None of nothing. Of the chief one: of the recent days.
        usual: what it is seen against; None where there is nothing yet.
        trend: `above`, `below`, `about`; empty where nothing can be said.
        part: of shares, how many tickets of how many.
        today: of the chief one, today's share and its tickets.
    """

    name: str
    form: Form
    value: float | None
    usual: float | None
    trend: str
    bars: tuple[Bar, ...]
    part: tuple[int, int] | None = None
    today: tuple[float | None, int, int] | None = None

    @property
    def words(self) -> Words:
        """What it is called, as its definition says."""
        return NAMES[self.name]


@dataclass(frozen=True)
class Late:
    """A ticket whose step is overdue; `place` is the camera's name."""

    number: int
    rule: Text
    state: Text
    place: Text
    due_ms: int


@dataclass(frozen=True)
class Down:
    """A box or a camera that is out of order; `why` as its page says."""

    name: str
    is_box: bool
    why: Text
    since_ms: int
    cameras: int = 0


@dataclass(frozen=True)
class Wall:
    """All of it, at one moment.

    Args:
        late: the first of those that are overdue, the longest first; `late_count` is of all.
        by_kind: of the open tickets, those on the map or not.
        elsewhere: open tickets that are not on the map.
    """

    at_ms: int
    day: date
    chief: Tile
    tiles: tuple[Tile, ...]
    late: tuple[Late, ...]
    late_count: int
    down: tuple[Down, ...]
    down_count: int
    cameras: tuple[int, int]
    boxes: tuple[int, int]
    by_kind: Mapping[str, int]
    marks: tuple[Mark, ...]
    eyes: tuple[Mark, ...]
    elsewhere: int

    @property
    def open_count(self) -> int:
        """Open tickets."""
        return sum(self.by_kind.values())


def streets_of(session: Session, own: Collection[str] | None) -> tuple[str, ...]:
    """The streets that somebody sees; `own` None: all."""
    return tuple(keeping.streets(session) if own is None else sorted(own))


def tiles(
    session: Session, streets: tuple[str, ...], now_ms: int, zone: ZoneInfo
) -> tuple[date, Tile, tuple[Tile, ...]]:
    """Today, the chief indicator and the others (`Store.reading`)."""
    today = _day(now_ms, zone)
    alike = [(today - timedelta(weeks=week)).isoformat() for week in range(1, WEEKS + 1)]
    long = Loaded(session, Period(today - timedelta(weeks=WEEKS), today, streets, zone), now_ms)
    whole = long.since(today - timedelta(days=RECENT_DAYS - 1)).whole()
    by_day = long.by_day()
    so_far = long.until((now_ms - day_start_ms(today, zone)) / 1000).by_day()
    first = [session.scalar(select(func.min(Ticket.opened_ms)).where(Ticket.street == one)) for one in streets]
    begin = min((_day(at_ms, zone) for at_ms in first if at_ms is not None), default=today)
    known = [so_far[day] for day in alike if day >= begin.isoformat()]

    def tile(name: str) -> Tile:
        form, value = _value(by_day[today.isoformat()], name)
        if form == "count":
            usual = sum(one.counts[name] for one in known) / len(known) if known else None
        else:
            usual = _value(whole, name)[1]
        if name == CHIEF:
            now, all_of = by_day[today.isoformat()].shares[name], whole.shares[name]
            part, day = (all_of.part, all_of.whole), (now.value, now.part, now.whole)
            return Tile(name, form, usual, None, "", _bars(by_day, name, today, alike), part, day)
        return Tile(name, form, value, usual, _trend(value, usual), _bars(by_day, name, today, alike))

    return today, tile(CHIEF), tuple(tile(name) for name in TODAY)


def _day(at_ms: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at_ms / 1000, zone).date()


def _value(figures: Figures, name: str) -> tuple[Form, float | None]:
    if name in figures.counts:
        return "count", figures.counts[name]
    if name in figures.shares:
        return "share", figures.shares[name].value
    return "minutes", figures.minutes[name].median


def _trend(value: float | None, usual: float | None) -> str:
    if value is None or usual is None:
        return ""
    if abs(value - usual) <= ABOUT * usual:
        return "about"
    return "above" if value > usual else "below"


def _bars(by_day: Mapping[str, Figures], name: str, today: date, alike: Collection[str]) -> tuple[Bar, ...]:
    values = {day: _value(figures, name)[1] for day, figures in by_day.items()}
    most = 1.0 if name == CHIEF else max((one for one in values.values() if one is not None), default=0.0)
    return tuple(
        Bar(
            day=day,
            height=None if value is None else round(100 * value / (most or 1.0), 1),
            is_today=day == today.isoformat(),
            is_alike=day in alike,
        )
        for day, value in values.items()
    )


def view_now(session: Session, streets: Sequence[str], lines: Sequence[Street], datum: str) -> View | None:
    """What the map shows: where cameras are; where nobody has said so, the cells of the grid, or the streets."""
    placed = [at for _, at in eyes(session, streets)]
    if not placed:
        placed = [at for row in grid.listed(session) for at in ((row.west, row.south), (row.east, row.north))]
    if not placed:
        bounds = [one.shape.bounds for one in lines]
        placed = [at for west, south, east, north in bounds for at in ((west, south), (east, north))]
    return view_of(placed, datum)


def eyes(session: Session, streets: Sequence[str]) -> list[tuple[cameras.Camera, Position]]:
    """Cameras whose place is known, and where they are."""
    every = cameras.listed(session, streets=streets)
    return [(one, (one.lon, one.lat)) for one in every if one.lon is not None and one.lat is not None]


def cells_changed_ms(session: Session) -> int:
    """When the grid last changed."""
    return session.scalar(select(func.max(GridCell.changed_ms))) or 0


def wall_now(session: Session, streets: tuple[str, ...], view: View | None, now_ms: int, zone: ZoneInfo) -> Wall:
    """What the wall shows now (`Store.reading`)."""
    day, chief, others = tiles(session, streets, now_ms, zone)
    open_now = list(session.scalars(select(Ticket).where(Ticket.open == 1, Ticket.street.in_(streets))))
    kinds = {one.number: _kind(one, now_ms) for one in open_now}
    late = sorted((one for one in open_now if kinds[one.number] == "late"), key=lambda one: (one.due_ms, one.number))
    boxes = fleet.boxes(session, now_ms, streets)
    bad = {(one.box, one.camera) for box in boxes for one in box.cameras if one.level == ailments.BAD}
    seen, names = eyes(session, streets), {one.key: one.name for one in cameras.listed(session, streets=streets)}
    marks: list[Mark] = []
    watching: list[Mark] = []
    if view is not None:
        placed = positions(session, open_now)
        marks = [mark for number, at in placed.items() if (mark := on_sheet(view, kinds[number], at)) is not None]
        every = [("down" if (one.box, one.camera) in bad else "camera", at) for one, at in seen]
        watching = [mark for kind, at in every if (mark := on_sheet(view, kind, at)) is not None]
    down = _down(boxes)
    return Wall(
        at_ms=now_ms,
        day=day,
        chief=chief,
        tiles=others,
        late=tuple(_late(one, names) for one in late[:LATE_ROWS]),
        late_count=len(late),
        down=down[:DOWN_ROWS],
        down_count=len(down),
        cameras=(len(bad), sum(len(one.cameras) for one in boxes)),
        boxes=(sum(one.own_level == ailments.BAD for one in boxes), len(boxes)),
        by_kind={kind: sum(one == kind for one in kinds.values()) for kind in KINDS},
        marks=tuple(gathered(marks)),
        eyes=tuple(sorted(watching, key=lambda mark: mark.kind == "down")),
        elsewhere=len(open_now) - len(marks),
    )


def _kind(ticket: Ticket, now_ms: int) -> str:
    if ticket.due_ms is not None and ticket.due_ms < now_ms:
        return "late"
    return "review" if ticket.state == State.PENDING_REVIEW else "under_way"


def _late(ticket: Any, names: Mapping[str, str]) -> Late:
    # what somebody typed as an address may name a shop or a person
    place: Text = BY_PERSON if ticket.box_id is None else names.get(f"{ticket.box_id}/{ticket.camera}") or ticket.camera
    rule = words.words(words.RULES, ticket.rule)
    return Late(ticket.number, rule, words.words(words.STATES, ticket.state), place, ticket.due_ms)


def _down(boxes: Sequence[BoxCard]) -> tuple[Down, ...]:
    """Boxes, then cameras of those that are there; the longest first of each."""
    found = []
    for box in boxes:
        if box.own_level == ailments.BAD:
            away = 0 if box.there else len(box.cameras)
            found.append(Down(box.id, is_box=True, why=box.found[0].why, since_ms=box.since_ms, cameras=away))
        bad = [one for one in box.cameras if box.there and one.level == ailments.BAD]
        found += [
            Down(one.name or one.camera, is_box=False, why=one.found[0].why, since_ms=one.since_ms) for one in bad
        ]
    return tuple(sorted(found, key=lambda one: (not one.is_box, one.since_ms, one.name)))
