"""Cases in the field names of the municipal platform, which are data: `config/codes/municipal.toml`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from collector.evidence.uploads import report_key
from collector.places.codes import Codes, full_code, load_table
from collector.places.sheets import write_csv, write_workbook
from collector.places.standing import spot, standing
from collector.store import IncidentRow, PictureRow, Ticket, TicketEvent
from collector.tickets.machine import WORDS, State
from protocol.documents import Section
from protocol.instants import from_epoch

NAME: Final = "municipal.toml"
MOST_DAYS: Final = 366
BATCH: Final = 500
SUFFIXES: Final = ("csv", "xlsx", "json")
STEPS: Final = {
    "accept": ("register",),
    "dispatch": ("dispatch",),
    "receive": ("accept",),
    "finish": ("feed_back", "solve"),
    "check": ("verify_clear", "verify_occupied", "verify_unseen", "rework", "close"),
}
"""Instants of a case, by the verbs whose newest one it is."""
CHECKS: Final = {"verify_clear": "pass", "close": "pass", "verify_occupied": "not_pass", "rework": "not_pass"}
PHOTOS: Final = {
    "photo.far": (("at", "wide"),),
    "photo.near": (("at", "close"),),
    "photo.before": (("at", "wide"), ("at", "close")),
    "photo.after": (("after", "wide"), ("after", "close"), ("worker_after", "wide")),
}
FACTS: Final = (
    *("number", "case_number", "event_code", "event_class", "class_name", "event_name", "source", "description"),
    *("address", "shop", "lon", "lat", "cell", "camera", "report", *STEPS, "close", "deadline", "urgency"),
    *("rework_count", "state", "result", "check_result", "appealed", *PHOTOS),
)


class Column(Section):
    """A field of the platform."""

    name: str = Field(min_length=1, max_length=60, description="as the platform calls it")
    zh: str = Field(default="", max_length=60)
    fact: str = Field(description=f"what it is here: one of {', '.join(FACTS)}")
    values: Mapping[str, str] = Field(default={}, description="its words for ours; others stay as they are")


class Municipal(Section):
    """The whole table."""

    time: str = Field(default="%Y-%m-%d %H:%M:%S", min_length=2, max_length=60)
    field: tuple[Column, ...] = Field(min_length=1, max_length=200)

    @model_validator(mode="after")
    def _whole(self) -> "Municipal":
        for one in self.field:
            if one.fact not in FACTS:
                raise ValueError(f"field {one.name}: expected a fact of {', '.join(FACTS)}, got {one.fact!r:.40}")
        names = [one.name for one in self.field]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"expected each name once, {min(twice)} is there twice")
        return self


def load_municipal() -> Municipal:
    """Read the table of this center, else the one that comes with the program; raises SettingsError."""
    return load_table(NAME, Municipal)


def cases(
    session: Session,
    first: date,
    last: date,
    table: Municipal,
    codes: Codes,
    region: str,
    zone: ZoneInfo,
    streets: frozenset[str] | None = None,
    *,
    everything: bool = False,
) -> Iterator[dict[str, str]]:
    """The cases of these days, by when they were reported, as the platform names what they have.

    Args:
        session: a transaction.
        first: a day of the center's zone; `last` is included.
        last: see there.
        table: of names.
        codes: of events.
        region: of the center, 6 digits or more; empty: codes stay without it.
        zone: of the center.
        streets: only of these; None: of all.
        everything: what was never registered, too.
    """
    begin, end = (round(datetime.combine(day, time(), zone).timestamp() * 1000) for day in (first, last + timedelta(1)))
    query = select(Ticket.number).where(Ticket.created_ms >= begin, Ticket.created_ms < end).order_by(Ticket.number)
    if not everything:
        query = query.where(Ticket.case_number.is_not(None))
    if streets is not None:
        query = query.where(Ticket.street.in_(streets))
    numbers = session.scalars(query).all()
    for at in range(0, len(numbers), BATCH):
        some = numbers[at : at + BATCH]
        lines, photos = _lines(session, some), _photos(session, some)
        for ticket in session.scalars(select(Ticket).where(Ticket.number.in_(some)).order_by(Ticket.number)):
            facts = _facts(session, ticket, lines.get(ticket.number, []), codes, region)
            facts |= {name: ";".join(photos.get((ticket.number, name), ())) for name in PHOTOS}
            yield {one.name: _shown(facts[one.fact], one, table, zone) for one in table.field}
        session.expunge_all()


def _lines(session: Session, numbers: Sequence[int]) -> dict[int, list[TicketEvent]]:
    kinds = {verb for verbs in STEPS.values() for verb in verbs} | {"appeal", "not_mine"}
    found: dict[int, list[TicketEvent]] = {}
    query = select(TicketEvent).where(TicketEvent.ticket_number.in_(numbers), TicketEvent.kind.in_(kinds))
    for line in session.scalars(query.order_by(TicketEvent.id)):
        found.setdefault(line.ticket_number, []).append(line)
    return found


def _photos(session: Session, numbers: Sequence[int]) -> dict[tuple[int, str], list[str]]:
    of_incidents = select(IncidentRow.id, IncidentRow.ticket_number).where(IncidentRow.ticket_number.in_(numbers))
    own = {row.id: row.ticket_number for row in session.execute(of_incidents)}
    keys = own | {report_key(number): number for number in numbers}
    named = [key for key in keys if key in own]
    query = select(PictureRow.incident, PictureRow.role, PictureRow.view, PictureRow.sha256).where(
        or_(PictureRow.incident.in_(named), PictureRow.incident.in_([key for key in keys if key not in own]))
    )
    found: dict[tuple[int, str], list[str]] = {}
    for row in session.execute(query.order_by(PictureRow.received_ms)):
        for name, parts in PHOTOS.items():
            if (row.role, row.view) in parts:
                found.setdefault((keys[row.incident], name), []).append(row.sha256)
    return found


def _facts(session: Session, ticket: Ticket, lines: Sequence[TicketEvent], codes: Codes, region: str) -> dict[str, Any]:
    event, report = codes.of_rule(ticket.rule), ticket.report
    whose = standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone)
    where = spot(session, whose.shop or whose.tell, ticket.box_id, ticket.camera, report)
    newest = {line.kind: line for line in lines}
    checked = next((line.kind for line in reversed(lines) if line.kind in STEPS["check"]), "")
    code = "" if event is None else event.code
    address = report.address if report is not None and report.address else whose.shop.address if whose.shop else ""
    said = report.description if report is not None else "" if event is None else event.zh
    facts: dict[str, Any] = {
        "number": ticket.number,
        "case_number": ticket.case_number,
        "event_code": full_code(region, code) if code and len(region) >= 6 else code,
        "event_class": code[:2],
        "class_name": codes.classes[code[:2]].zh if code else "",
        "event_name": ticket.rule if event is None else event.zh,
        "source": ticket.source,
        "description": said,
        "address": address,
        "shop": "" if whose.shop is None else whose.shop.name,
        "lon": where.lon,
        "lat": where.lat,
        "cell": where.cell,
        "camera": where.gb28181,
        "report": from_epoch(ticket.created_ms / 1000),
        "close": None if ticket.closed_ms is None else from_epoch(ticket.closed_ms / 1000),
        "deadline": from_epoch(ticket.due_ms / 1000) if ticket.open and ticket.due_ms is not None else None,
        "urgency": ticket.urgency,
        "rework_count": sum(line.kind == "rework" or _again(line) for line in lines),
        "state": WORDS[State(ticket.state)][0],
        "result": ticket.found,
        "check_result": CHECKS.get(checked, "unable" if checked else ""),
        "appealed": "yes" if newest.keys() & {"appeal", "not_mine"} else "no",
    }
    for name, verbs in STEPS.items():
        at_ms = max((newest[verb].at_ms for verb in verbs if verb in newest), default=None)
        facts[name] = None if at_ms is None else from_epoch(at_ms / 1000)
    return facts


def _again(line: TicketEvent) -> bool:
    return line.kind == "verify_occupied" and json.loads(line.detail).get("state") == State.REWORK


def _shown(value: Any, column: Column, table: Municipal, zone: ZoneInfo) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(zone).strftime(table.time)
    if isinstance(value, float):
        value = round(value, 6)  # degrees: to a decimetre
    return column.values.get(str(value), str(value))


def written(rows: Sequence[Mapping[str, str]], table: Municipal, suffix: str) -> bytes:
    """A file of cases: CSV and XLSX with the platform's names in the first row, or JSON."""
    if suffix == "json":
        return json.dumps(list(rows), ensure_ascii=False, indent=1).encode()
    names = [one.name for one in table.field]
    lines = [names, *([row[name] for name in names] for row in rows)]
    return write_workbook(lines, "cases") if suffix == "xlsx" else write_csv(lines)
