"""What happened to a ticket and who did it, as a page tells it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.store import PersonRow, ShopRow, TicketEvent
from collector.web import words
from collector.web.language import N_, Text, Words

UPDATE: Final = "incident_updated"
FEW: Final = 2
"""So many updates of a camera in a row are each shown; more are folded."""
_TOLD: Final = (
    ("seen", words.SIGHTS),
    ("outcome", words.OUTCOMES),
    ("urgency", words.URGENCIES),
    ("reason", words.REASONS),
    ("clock", words.CLOCKS),
)
_NUMBERED: Final = (("permit", N_("Permit")), ("level", N_("Level")), ("case_number", N_("Case number")))
_DUE: Final = (("due_ms", N_("Due")), ("shop_due_ms", N_("The shop's time ends")))
_LOOKED_UP: Final = {"person": (PersonRow.id, PersonRow.name), "shop": (ShopRow.id, ShopRow.name)}


@dataclass(frozen=True)
class Part:
    """One thing that a line says: a text, with an instant, a number before it, a value after it, or a ticket."""

    text: Text
    at_ms: int | None = None
    count: int | None = None
    value: Text = ""
    ticket: int | None = None


@dataclass(frozen=True)
class EventView:
    """One line of the time line.

    Args:
        by: kind of its author: `person`, `camera`, `policy`, `shop`, `system`.
        author: their name.
        sign_in: of a person; empty for others.
        said: their reason, in their own words.
    """

    at_ms: int
    kind: str
    text: Text
    parts: tuple[Part, ...]
    by: str
    author: Text
    sign_in: str
    said: str


@dataclass(frozen=True)
class Day:
    """What happened on one day; an entry of several lines is folded."""

    at_ms: int
    entries: tuple[tuple[EventView, ...], ...]


def names(session: Session, authors: Iterable[str | None]) -> Mapping[str, Text]:
    """Names of authors, `kind:id`; who has none is called by what they are, or by their id."""
    wanted = {one for one in authors if one}
    found: dict[str, Text] = {}
    for kind, (key, name) in _LOOKED_UP.items():
        ids = [one.partition(":")[2] for one in wanted if one.partition(":")[0] == kind]
        if ids:
            # as a pair: a name is no sentence to translate
            rows = session.execute(select(key, name).where(key.in_(ids))).all()
            found |= {f"{kind}:{row[0]}": Words(row[1], row[1]) for row in rows}
    for one in wanted - found.keys():
        kind, _, rest = one.partition(":")
        # who wrote at a command line stands there as they are
        own = Words(rest or one, rest or one)
        found[one] = own if kind == "shop" else words.AUTHORS.get(kind, own)
    return found


def person(session: Session, assignee: str | None) -> Text:
    """The name of whoever has a ticket; empty for nobody."""
    key = f"person:{(assignee or '').removeprefix('person:')}"
    return names(session, [key])[key] if assignee else ""


def events(session: Session, rows: Sequence[TicketEvent]) -> tuple[EventView, ...]:
    """All lines, by when it happened."""
    details = {row.id: detail_of(row) for row in rows}
    people = [f"person:{details[row.id]['to']}" for row in rows if _names_person(row, details[row.id])]
    known = names(session, [*(row.author for row in rows), *people])
    found = [_event(row, details[row.id], known) for row in rows]
    return tuple(sorted(found, key=lambda one: one.at_ms))


def days(lines: Iterable[EventView], day_of: Callable[[int], str]) -> tuple[Day, ...]:
    """The lines by the reader's days, updates in a row folded."""
    found = []
    for _, group in groupby(lines, key=lambda one: day_of(one.at_ms)):
        of_day = tuple(group)
        entries: list[tuple[EventView, ...]] = []
        for is_update, run in groupby(of_day, key=lambda one: one.kind == UPDATE):
            together = tuple(run)
            entries += [together] if is_update and len(together) > FEW else [(one,) for one in together]
        found.append(Day(of_day[0].at_ms, tuple(entries)))
    return tuple(found)


def detail_of(row: TicketEvent) -> dict[str, Any]:
    """What a line says besides; whatever stands in it, the page is shown."""
    found = json.loads(row.detail)
    return found if isinstance(found, dict) else {}


def _names_person(row: TicketEvent, detail: Mapping[str, Any]) -> bool:
    return row.kind == "dispatch" and isinstance(detail.get("to"), str)


def _event(row: TicketEvent, detail: Mapping[str, Any], known: Mapping[str, Text]) -> EventView:
    by, _, rest = (row.author or "camera").partition(":")
    author = known.get(row.author, "")
    if detail.get("via"):
        # what a person's program did is theirs, and still not what they did at a page
        shown = author if isinstance(author, Words) else Words(rest, rest)
        author = Words(f"{shown.zh} ({detail['via']})", f"{shown.en} ({detail['via']})")
    return EventView(
        at_ms=row.at_ms,
        kind=row.kind,
        text=words.words(words.EVENTS, row.kind),
        parts=tuple(_parts(row, detail, known)),
        by=by,
        author=author,
        sign_in=rest if by == "person" else "",
        said=row.reason,
    )


def _parts(row: TicketEvent, detail: Mapping[str, Any], known: Mapping[str, Text]) -> Iterable[Part]:
    if detail.get("visibility") == "not_seen":
        yield Part(N_("Not seen for now"))
    if isinstance(detail.get("count"), int):
        yield Part(N_("people"), count=detail["count"])
    if _names_person(row, detail):
        yield Part(N_("Given to"), value=known.get(f"person:{detail['to']}", ""))
    if isinstance(detail.get("of"), int):
        yield Part(N_("Same as ticket"), ticket=detail["of"])
    for name, table in _TOLD:
        if isinstance(detail.get(name), str) and detail[name]:
            yield Part(words.words(table, detail[name]))
    for name, text in _NUMBERED:
        if detail.get(name):
            yield Part(text, value=Words(str(detail[name]), str(detail[name])))
    if "state" in _before(row) and detail.get("state"):
        yield Part(N_("State now:"), value=words.words(words.STATES, str(detail["state"])))
    for name, text in _DUE:
        if isinstance(detail.get(name), int) and detail[name]:
            yield Part(text, at_ms=detail[name])


def _before(row: TicketEvent) -> Mapping[str, Any]:
    found = json.loads(row.before or "{}")
    return found if isinstance(found, dict) else {}
