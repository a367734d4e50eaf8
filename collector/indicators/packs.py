"""Facts of tickets as arrays, and a day of them packed into one value.

A pack is good as long as the sum of the marks of its day's tickets (`tickets.facts`) is what it was: any change of any
of them changes its mark. What has no good pack is read from the tickets, so that figures never are those of yesterday.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import IntFlag, auto
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from collector.store import PackedDay, Ticket
from collector.tickets.facts import Verdict
from collector.tickets.machine import ENFORCED, State

VERSION: Final = 2
"""Of the form of packs; one of another form is no good. Counted into its marks, so that it is packed anew."""
FORM: Final = np.dtype(
    [
        ("number", "<i8"),
        ("place", "<i4"),
        ("opened_s", "<i8"),
        ("hour", "i1"),
        ("flags", "<i4"),
        ("notice_s", "<i4"),
        ("clear_s", "<i4"),
        ("close_s", "<i4"),
        ("due_s", "<i8"),
    ]
)
"""One ticket. `notice_s`, `clear_s` and `close_s` count from its appearance, -1: has not happened; `due_s`: the
deadline of a step after registration that goes on, 0: there is none."""
NEVER: Final = -1
AT_ONCE: Final = 200
"""Packs of one question."""
MOST_S: Final = 2**31 - 1
MOST_ROWS: Final = 2_000_000
"""Tickets of the days that are kept in memory, some 100 MB at most."""
MOST_SPOTS: Final = 50_000


class Fact(IntFlag):
    """What is true of a ticket."""

    CONFIRMED = auto()
    FALSE_ALARM = auto()
    DUPLICATE = auto()
    EXEMPT = auto()
    UNFOUNDED = auto()
    UNJUDGED = auto()
    LAPSED = auto()
    PENDING = auto()
    UNREVIEWED = auto()
    ENDED = auto()
    WITHDRAWN = auto()
    SELF_CORRECTED = auto()
    SOFT = auto()
    REGISTERED = auto()
    FED_BACK = auto()
    REWORKED = auto()
    OVERDUE = auto()
    LATE = auto()
    REOPENED = auto()
    REPEATED = auto()
    DUE = auto()


NOTHING: Final = Fact(0)
_OF_VERDICT: Final = {
    Verdict.NONE: Fact.UNJUDGED,
    Verdict.CONFIRMED: Fact.CONFIRMED,
    Verdict.FALSE_ALARM: Fact.FALSE_ALARM,
    Verdict.DUPLICATE: Fact.DUPLICATE,
    Verdict.EXEMPT: Fact.EXEMPT,
    Verdict.UNFOUNDED: Fact.UNFOUNDED,
}


class Spot(NamedTuple):
    """Whose and where a ticket is; no box has seen what a person reported."""

    street: str
    key: str
    rule: str
    shop: str | None
    box: str
    camera: str


@dataclass(frozen=True)
class Cases:
    """Tickets.

    Args:
        spots: where they are, each as a Spot's values.
        rows: of FORM, shape `(n,)`; `place` is an index into `spots`.
    """

    spots: tuple[Spot, ...]
    rows: NDArray[np.void]


_COLUMNS: Final = (
    *(Ticket.street, Ticket.key, Ticket.rule, Ticket.shop, Ticket.box_id, Ticket.camera, Ticket.opened_ms),
    *(Ticket.state, Ticket.open, Ticket.cleared_ms, Ticket.closed_ms, Ticket.outcome, Ticket.due_ms, Ticket.late),
    *(Ticket.reopened, Ticket.verdict, Ticket.first_told_ms, Ticket.registered_ms, Ticket.fed_back, Ticket.reworked),
    *(Ticket.overdue, Ticket.mark, Ticket.number),
)


def _flags(row: Any) -> Fact:
    found = _OF_VERDICT[Verdict(row.verdict)]
    ended, withdrawn = not row.open, row.outcome == "withdrawn" and row.state == State.CLOSED
    soft = row.state == State.SELF_CORRECTED or (row.state == State.CLOSED and row.outcome == "community")
    reached = row.state not in (State.PENDING_REVIEW, State.LAPSED)
    for fact, true in (
        (Fact.LAPSED, row.state == State.LAPSED),
        (Fact.PENDING, row.state == State.PENDING_REVIEW),
        (Fact.UNREVIEWED, found is Fact.UNJUDGED and reached),
        (Fact.ENDED, ended and not withdrawn),
        (Fact.WITHDRAWN, withdrawn),
        (Fact.SELF_CORRECTED, row.state == State.SELF_CORRECTED),
        (Fact.SOFT, soft and row.registered_ms is None),
        (Fact.REGISTERED, row.registered_ms is not None),
        (Fact.FED_BACK, row.fed_back),
        (Fact.REWORKED, row.reworked),
        (Fact.OVERDUE, row.overdue),
        (Fact.LATE, row.late),
        (Fact.REOPENED, row.reopened),
    ):
        if true:
            found |= fact
    return found


def _span_s(from_ms: int, until_ms: int | None) -> int:
    return NEVER if until_ms is None else min(max(0, until_ms - from_ms) // 1000, MOST_S)


def _cases(rows: Iterable[Any], zone: ZoneInfo) -> Cases:
    spots: dict[Spot, int] = {}
    made = []
    for row in rows:
        spot = Spot(row.street, row.key, row.rule, row.shop, row.box_id or "", row.camera)
        goes_on = row.registered_ms is not None and row.state in ENFORCED and row.due_ms is not None
        made.append(
            (
                row.number,
                spots.setdefault(spot, len(spots)),
                row.opened_ms // 1000,
                datetime.fromtimestamp(row.opened_ms // 1000, zone).hour,
                int(_flags(row)),
                _span_s(row.opened_ms, row.first_told_ms),
                _span_s(row.opened_ms, row.cleared_ms),
                NEVER if row.open else _span_s(row.opened_ms, row.closed_ms),
                row.due_ms // 1000 if goes_on else 0,
            )
        )
    return Cases(tuple(spots), np.array(made, FORM))


def join(parts: Sequence[Cases]) -> Cases:
    """Several as one; its rows may be changed."""
    spots: dict[tuple[Any, ...], int] = {}
    places = [spots.setdefault(spot, len(spots)) for part in parts for spot in part.spots]
    rows = np.concatenate([np.array([], FORM), *(part.rows for part in parts)])
    # places of each part begin where those of the part before end
    starts = np.cumsum([0, *(len(part.spots) for part in parts)])[:-1]
    own = rows["place"] + np.repeat(starts, [len(part.rows) for part in parts])
    rows["place"] = np.array(places, np.int32)[own]
    return Cases(tuple(Spot(*spot) for spot in spots), rows)


def _pack(cases: Cases) -> bytes:
    head = json.dumps([VERSION, cases.spots], ensure_ascii=False).encode()
    return len(head).to_bytes(4) + head + cases.rows.tobytes()


def _unpack(pack: bytes) -> Cases | None:
    start = 4 + int.from_bytes(pack[:4])
    version, spots = json.loads(pack[4:start])
    if version != VERSION:
        return None
    values: Any = tuple(map(tuple, spots))  # names are given once they are joined: there are as many as rows, nearly
    return Cases(values, np.frombuffer(pack, FORM, offset=start))


class _Kept:
    """Days of one database as they were last read, so that each is fetched and taken apart once.

    By (street, from_ms, until_ms, marks): what a day's marks are the sum of is what is in it.
    """

    def __init__(self) -> None:
        self._lock, self._rows = threading.Lock(), 0
        self._days: OrderedDict[tuple[Any, ...], Cases] = OrderedDict()
        self._spots: dict[Any, Any] = {}

    def get(self, key: tuple[Any, ...]) -> Cases | None:
        """None: not read yet, or forgotten."""
        with self._lock:
            if key in self._days:
                self._days.move_to_end(key)
            return self._days.get(key)

    def put(self, key: tuple[Any, ...], cases: Cases) -> Cases:
        """Keep a day; its spots as they stand in other days already."""
        with self._lock:
            if len(self._spots) > MOST_SPOTS:
                self._spots.clear()
            cases = Cases(tuple(self._spots.setdefault(spot, spot) for spot in cases.spots), cases.rows)
            self._rows += len(cases.rows)
            if key in self._days:
                self._rows -= len(self._days.pop(key).rows)
            self._days[key] = cases
            while self._rows > MOST_ROWS:
                self._rows -= len(self._days.popitem(last=False)[1].rows)
            return cases


_KEPT: Final[WeakKeyDictionary[Any, _Kept]] = WeakKeyDictionary()
"""By engine."""


def day_start_ms(day: date, zone: ZoneInfo) -> int:
    """The first instant of a day."""
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


def days(first: date, last: date) -> Iterator[date]:
    """From the first to the last."""
    for count in range((last - first).days + 1):
        yield first + timedelta(days=count)


def _marks() -> Any:
    """The sum of marks of a pack's day, as its tickets are now."""
    here = (Ticket.street == PackedDay.street, Ticket.opened_ms >= PackedDay.from_ms)
    found = select(func.sum(Ticket.mark)).where(*here, Ticket.opened_ms < PackedDay.until_ms)
    return func.coalesce(found.scalar_subquery(), 0)


def load(session: Session, streets: Sequence[str], first: date, last: date, zone: ZoneInfo) -> Cases:
    """All tickets that appeared on these days, of these streets (`Store.reading`)."""
    spans = [_span(day, zone) for day in days(first, last)]
    packed: dict[str, set[tuple[int, int]]] = {street: set() for street in streets}
    # those of days in another time zone overlap
    among = set(spans)
    good = [tuple(row) for row in session.execute(_good(PackedDay.marks, streets, spans)) if (row[1], row[2]) in among]
    parts = []
    for (street, *span, _), cases in _read(session, good).items():
        parts.append(cases)
        packed[street].add((span[0], span[1]))
    for street in streets:
        for begin, end in _joined([span for span in spans if span not in packed[street]]):
            wanted = select(*_COLUMNS).where(Ticket.street == street, Ticket.opened_ms >= begin, Ticket.opened_ms < end)
            parts.append(_cases(session.execute(wanted.order_by(Ticket.opened_ms)), zone))
    return join(parts)


def _read(session: Session, good: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], Cases]:
    """Packs that are good, by what they are kept by; those of another form are left out."""
    kept = _KEPT.setdefault(session.get_bind(), _Kept())
    found = {key: cases for key in good if (cases := kept.get(key)) is not None}
    for start in range(0, len(good), AT_ONCE):
        missing = {key[:3]: key for key in good[start : start + AT_ONCE] if key not in found}
        for *day, pack in _fetch(session, list(missing)) if missing else ():
            cases = _unpack(bytes(pack))
            if cases is not None:
                key = missing[day[0], day[1], day[2]]
                found[key] = kept.put(key, cases)
    return found


def _fetch(session: Session, wanted: list[Any]) -> Iterable[Any]:
    """Street, span and pack of days."""
    day = (PackedDay.street, PackedDay.from_ms, PackedDay.until_ms)
    query, connection = select(*day, PackedDay.pack).where(tuple_(*day).in_(wanted)), session.connection()
    if connection.dialect.name != "postgresql":
        return connection.execute(query)
    # as bytes, not as text in hexadecimal: three times as quick
    driver: Any = connection.connection
    found: Iterable[Any] = driver.cursor(binary=True).execute(
        str(query.compile(connection, compile_kwargs={"literal_binds": True}))
    )
    return found


def _span(day: date, zone: ZoneInfo) -> tuple[int, int]:
    return day_start_ms(day, zone), day_start_ms(day + timedelta(days=1), zone)


def _good(column: Any, streets: Sequence[str], spans: Sequence[tuple[int, int]]) -> Any:
    """Packs within spans that are in order, whose marks are the sum of those that their day's tickets have now."""
    here = (Ticket.street == PackedDay.street, Ticket.opened_ms >= PackedDay.from_ms)
    marks = select(func.sum(Ticket.mark)).where(*here, Ticket.opened_ms < PackedDay.until_ms).scalar_subquery()
    return select(PackedDay.street, PackedDay.from_ms, PackedDay.until_ms, column).where(
        PackedDay.street.in_(streets),
        PackedDay.from_ms >= spans[0][0],
        PackedDay.until_ms <= spans[-1][1],
        PackedDay.marks == func.coalesce(marks, 0) + VERSION,
    )


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that follow each other as one."""
    found: list[tuple[int, int]] = []
    for begin, end in spans:
        follows = bool(found) and found[-1][1] == begin
        found.append((found.pop()[0] if follows else begin, end))
    return found


def stale(session: Session, street: str, first: date, last: date, zone: ZoneInfo) -> list[date]:
    """Days of a street that have tickets and no good pack."""
    every = {_span(day, zone): day for day in days(first, last)}
    if not every:
        return []
    good = {(row.from_ms, row.until_ms) for row in session.execute(_good(PackedDay.marks, [street], list(every)))}
    opened = select(Ticket.number).where(Ticket.street == street)
    return [
        day
        for (begin, end), day in every.items()
        if (begin, end) not in good
        and session.scalar(opened.where(Ticket.opened_ms >= begin, Ticket.opened_ms < end).limit(1)) is not None
    ]


def pack_day(session: Session, street: str, day: date, zone: ZoneInfo) -> None:
    """Pack a day anew (`Store.writing`)."""
    begin, end = _span(day, zone)
    wanted = select(*_COLUMNS).where(Ticket.street == street, Ticket.opened_ms >= begin, Ticket.opened_ms < end)
    rows = session.execute(wanted.order_by(Ticket.opened_ms)).all()
    marks, pack = VERSION + sum(row.mark for row in rows), _pack(_cases(rows, zone))
    session.merge(PackedDay(street=street, from_ms=begin, until_ms=end, marks=marks, pack=pack))
