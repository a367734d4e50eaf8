"""Rows of tickets and incidents as plain values.

The inbox writes thousands a second; a row that the session watches costs ten times as much as these.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Table, select

from collector.store import IncidentRow, Ticket


@dataclass(eq=False)
class TicketRecord:
    """What the inbox knows of a row of `ticket`; its number is 0 until it is given one.

    Fields are the table's columns up to `mark`; those after it are the desk's alone and left as they are.
    """

    key: str
    rule: str
    shop: str | None
    box_id: str
    camera: str
    zone: str
    state: str
    open: int
    opened_ms: int
    created_ms: int
    changed_ms: int
    cleared_ms: int | None = None
    repeat_of: int | None = None
    reopened: int = 0
    late: int = 0
    number: int = 0
    street: str = ""
    present: int = 0
    look_ms: int | None = None
    version: int = 1
    since_ms: int = 0
    entered: int = 1
    news: int = 0
    acted_ms: int | None = None
    closed_ms: int | None = None
    back: str | None = None
    mark: int = 0


@dataclass(eq=False)
class IncidentRecord:
    """A row of `incident`. Fields are the table's columns; `data` is None where it stays as it is."""

    id: str
    box_id: str
    received_ms: int | None
    ticket_number: int = 0
    state: str = "open"
    seq: int = 0
    opened_ms: int = 0
    cleared_ms: int | None = None
    ended_ms: int | None = None
    late: int = 0
    clock: str = "told"
    visibility: str = "seen"
    data: str | None = None


_TICKET: Final[Table] = Ticket.__table__
_INCIDENT: Final[Table] = IncidentRow.__table__
_TICKET_COLUMNS: Final = [_TICKET.c[field.name] for field in fields(TicketRecord)]
_INCIDENT_COLUMNS: Final = [_INCIDENT.c[field.name] for field in fields(IncidentRecord) if field.name != "data"]


def select_tickets(condition: ColumnElement[bool]) -> Select[Any]:
    """Ask for tickets; each row is the arguments of a TicketRecord."""
    return select(*_TICKET_COLUMNS).where(condition)


def select_incidents(numbers: Sequence[int]) -> Select[Any]:
    """Ask for the incidents of tickets, without their data; each row is the arguments of an IncidentRecord."""
    return select(*_INCIDENT_COLUMNS).where(_INCIDENT.c.ticket_number.in_(numbers))
