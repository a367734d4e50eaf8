"""What waits for a person at the street center, and in which order: the most urgent first, of these the newest.

What a decision moves on comes first, then what is merely late elsewhere, then what a pause keeps quiet. Being late does
not lift an alert above new ones: with a backlog no new one would be seen while its shop can still be told in time.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session

from collector.store import IncidentRow, Ticket
from collector.tickets.machine import URGENCIES, State
from collector.web.language import N_

KINDS: Final = {
    "review": N_("To review"),
    "appeal": N_("Objections"),
    "unseen": N_("Not seen by the camera"),
    "dispatch": N_("To dispatch"),
    "late": N_("Overdue"),
    "held": N_("Held by a pause"),
}
MOST: Final = 2000
"""That a board keeps; what is beyond comes as these are done."""
_UNTOLD: Final = (State.NOTICED, State.COMMUNITY)


@dataclass(frozen=True)
class Waiting:
    """One ticket that waits.

    Args:
        version: the ticket's.
        kind: what for, one of KINDS.
        late: whether its step is overdue.
        order: what to sort by, ascending.
    """

    number: int
    version: int
    kind: str
    late: bool
    order: tuple[int, int, int, int]

    @property
    def row(self) -> list[Any]:
        """For the page's script."""
        return [self.number, self.version, self.kind, int(self.late), *self.order]


def waiting(
    session: Session, now_ms: int, streets: Collection[str] | None, numbers: Collection[int] | None = None
) -> list[Waiting]:
    """What waits at these streets (None: at all), in its order; `numbers`: of these only."""
    orphaned = exists().where(IncidentRow.ticket_number == Ticket.number, IncidentRow.state == "orphaned")
    columns = (Ticket.number, Ticket.version, Ticket.state, Ticket.urgency, Ticket.since_ms, Ticket.due_ms)
    query: Any = select(
        *columns, Ticket.paused_until_ms, Ticket.reviewer, Ticket.verify, orphaned.label("orphaned")
    ).where(Ticket.open == 1, _waits(now_ms, orphaned))
    if streets is not None:
        query = query.where(Ticket.street.in_(streets))
    if numbers is not None:
        query = query.where(Ticket.number.in_(numbers))
    return sorted((_read(row, now_ms) for row in session.execute(query)), key=lambda one: one.order)[:MOST]


def _waits(now_ms: int, orphaned: ColumnElement[bool]) -> ColumnElement[bool]:
    return or_(
        Ticket.state.in_((State.PENDING_REVIEW, State.APPEALED, State.REGISTERED)),
        and_(Ticket.state == State.VERIFYING, Ticket.verify.is_(None)),
        and_(Ticket.state.in_(_UNTOLD), Ticket.reviewer.is_(None)),
        Ticket.due_ms < now_ms,
        orphaned,
    )


def _read(row: Any, now_ms: int) -> Waiting:
    kind = _kind(row)
    late = row.due_ms is not None and row.due_ms < now_ms
    urgency = URGENCIES.index(row.urgency) if row.urgency in URGENCIES else 0
    bucket = {"late": 1, "held": 2}.get(kind, 0)
    return Waiting(row.number, row.version, kind, late, (bucket, -urgency, -row.since_ms, -row.number))


def _kind(row: Any) -> str:
    match row.state:
        case State.PENDING_REVIEW:
            return "review" if row.paused_until_ms is None else "held"
        case State.APPEALED:
            return "appeal"
        case State.REGISTERED:
            return "dispatch"
        case State.VERIFYING if row.verify is None:
            return "unseen"
        case State.NOTICED | State.COMMUNITY if row.reviewer is None:
            return "review"
    return "unseen" if row.orphaned else "late"
