"""Tickets: which one an incident belongs to, and what becomes of it.

What a ticket is follows from its incidents alone, not from the order in which their messages came: boxes send again
what was not acknowledged, and a backlog arrives beside what is new.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.orm import Session, defer

from collector.store import Base, IncidentRow, Ticket, TicketEvent, next_numbers
from protocol.messages import Incident

PENDING_REVIEW: Final = "pending_review"
LAPSED: Final = "lapsed"
GOES_ON: Final = ("open", "orphaned")
"""States of an incident that keep its ticket open."""
REOPEN_MS: Final = 30 * 60 * 1000
"""A return within this long after the place was clear is the same case."""
FOREVER_MS: Final = 1 << 62


@dataclass(frozen=True)
class News:
    """One message of an incident.

    Args:
        kind: `opened`, `updated`, `cleared` or `ended`.
        at_ms: the message's time, by the center's clock; `cleared_ms` likewise.
        clock: by what that time is known, see `inbox.clocks`.
        received_ms: when it came.
    """

    message_id: str
    kind: str
    data: Incident
    box: str
    at_ms: int
    cleared_ms: int | None
    clock: str
    received_ms: int


def ticket_key(data: Incident, box: str) -> str:
    """Key of the ticket that an incident belongs to."""
    if data.shop is not None:
        return f"{data.rule}/shop/{data.shop}"
    return f"{data.rule}/zone/{box}/{data.camera}/{data.zone}"


def end_ms(incident: IncidentRow) -> int:
    """When an incident's presence ended, as far as is known."""
    if incident.state in GOES_ON:
        return FOREVER_MS
    return incident.cleared_ms or incident.ended_ms or incident.opened_ms


def same_case(one: IncidentRow, other: IncidentRow) -> bool:
    """Whether two incidents of one key belong together: at one time, or back within 30 minutes of being clear."""
    first, second = (one, other) if one.opened_ms <= other.opened_ms else (other, one)
    if second.opened_ms <= end_ms(first):
        return True
    return first.cleared_ms is not None and second.opened_ms - first.cleared_ms <= REOPEN_MS


class Book:
    """The tickets that a batch of messages touches: read at once, written at once.

    Args:
        keys: of all tickets that may be touched.
        numbers: of tickets that are known to be.
        since_ms: the earliest time that the batch tells of.
    """

    def __init__(self, session: Session, keys: Iterable[str], numbers: Iterable[int], since_ms: int) -> None:
        self._session = session
        self._of: dict[str, list[Ticket]] = defaultdict(list)
        self._incidents: dict[Ticket, list[IncidentRow]] = {}
        self._events: list[tuple[Ticket, dict[str, object]]] = []
        self._touched: dict[Ticket, int] = {}
        self._new: list[Ticket] = []
        self._fresh: list[IncidentRow] = []
        self._moved: list[IncidentRow] = []
        self._place: dict[str, Ticket] = {}
        self._load(set(keys), set(numbers), since_ms)

    def _load(self, keys: set[str], numbers: set[int], since_ms: int) -> None:
        latest = select(func.max(Ticket.number)).where(Ticket.key.in_(keys)).group_by(Ticket.key)
        near = and_(
            Ticket.key.in_(keys),
            or_(Ticket.open == 1, Ticket.cleared_ms >= since_ms - REOPEN_MS, Ticket.changed_ms >= since_ms),
        )
        found = self._session.scalars(
            select(Ticket).where(or_(near, Ticket.number.in_(latest), Ticket.number.in_(numbers)))
        ).all()
        by_number = {ticket.number: ticket for ticket in found}
        for ticket in found:
            self._of[ticket.key].append(ticket)
            self._incidents[ticket] = []
        if by_number:
            rows = self._session.scalars(
                select(IncidentRow).where(IncidentRow.ticket_number.in_(by_number)).options(defer(IncidentRow.data))
            )
            for row in rows:
                self._incidents[by_number[row.ticket_number]].append(row)
                self._place[row.id] = by_number[row.ticket_number]

    def file(self, incident: IncidentRow, news: News) -> None:
        """Put a new incident into the ticket that it belongs to, making one where there is none."""
        key = ticket_key(news.data, news.box)
        ticket = self._choose(key, incident)
        if ticket is None:
            ticket = self._open(key, incident, news)
        else:
            returned = not ticket.open and incident.state in GOES_ON
            self.note(ticket, "reopened" if returned else "incident_joined", news, news.at_ms, incident=incident.id)
        self._incidents[ticket].append(incident)
        self._count(ticket)
        self._place[incident.id] = ticket
        self._fresh.append(incident)
        self._touched[ticket] = news.received_ms

    def follow(self, incident: IncidentRow, news: News) -> None:
        """Write down what a message says, and carry on the ticket of its incident."""
        ticket = self._place[incident.id]
        if news.kind == "updated":
            people = news.data.people
            detail = {"visibility": news.data.visibility, "count": None if people is None else people.count}
            self.note(ticket, "incident_updated", news, news.at_ms, incident=incident.id, **detail)
        elif news.kind == "cleared":
            self.note(ticket, "incident_cleared", news, news.cleared_ms or news.at_ms, incident=incident.id)
        elif news.kind == "ended":
            self.note(ticket, "incident_ended", news, news.at_ms, incident=incident.id, reason=news.data.reason)
        if incident.state not in GOES_ON:
            self._part(ticket, news)
        self._count(ticket)
        self._touched[ticket] = news.received_ms

    def orphan(self, incident: IncidentRow, at_ms: int) -> None:
        """Say that an incident's box does not know it any more; its ticket waits for a person."""
        ticket = self._place[incident.id]
        incident.state = "orphaned"  # which keeps the ticket open
        self._event(ticket, "incident_orphaned", at_ms, at_ms, None, {"incident": incident.id, "box": incident.box_id})
        self._touched[ticket] = at_ms

    def close(self) -> None:
        """Write it all; numbers are given now."""
        for ticket, number in zip(self._new, next_numbers(self._session, len(self._new)), strict=True):
            ticket.number = number
        for ticket, received_ms in self._touched.items():
            self._settle(ticket, received_ms)
        # what is there already first: at most one open ticket of a key at any moment
        self._session.flush()
        # rows that nobody holds need no objects watched by the session
        _insert(self._session, Ticket, self._new)
        for ticket in self._new:
            if len(self._of[ticket.key]) > 1:
                self._chain(ticket)
        for incident in (*self._fresh, *self._moved):
            incident.ticket_number = self._place[incident.id].number
        _insert(self._session, IncidentRow, self._fresh)
        self._session.flush()
        if self._events:
            rows = [{**values, "ticket_number": ticket.number} for ticket, values in self._events]
            self._session.execute(insert(TicketEvent.__table__), rows)

    def note(self, ticket: Ticket, kind: str, news: News, at_ms: int, **detail: object) -> None:
        """Write a line of the time line."""
        if news.clock != "told":
            detail["clock"] = news.clock
        self._event(ticket, kind, at_ms, news.received_ms, news.message_id, detail)

    def _event(
        self, ticket: Ticket, kind: str, at_ms: int, received_ms: int, message_id: str | None, detail: dict[str, object]
    ) -> None:
        values: dict[str, object] = {
            "kind": kind,
            "at_ms": at_ms,
            "received_ms": received_ms,
            "message_id": message_id,
            "detail": json.dumps(detail),
        }
        self._events.append((ticket, values))

    def _choose(self, key: str, incident: IncidentRow) -> Ticket | None:
        tickets = self._of[key]
        goes_on = incident.state in GOES_ON
        for ticket in tickets:
            # at most one is open: what goes on must be in it
            if ticket.open and goes_on:
                return ticket
        near = [one for one in tickets if any(same_case(incident, other) for other in self._incidents[one])]
        return max(near, key=lambda ticket: ticket.opened_ms, default=None)

    def _open(self, key: str, incident: IncidentRow, news: News) -> Ticket:
        data = news.data
        ticket = Ticket(
            key=key,
            rule=data.rule,
            shop=data.shop,
            box_id=news.box,
            camera=data.camera,
            zone=data.zone,
            state=PENDING_REVIEW,
            open=int(incident.state in GOES_ON),
            opened_ms=incident.opened_ms,
            created_ms=news.received_ms,
            changed_ms=news.received_ms,
            late=0,
            reopened=0,
        )
        self._new.append(ticket)
        self._of[key].append(ticket)
        self._incidents[ticket] = []
        self.note(ticket, "appeared", news, incident.opened_ms, incident=incident.id)
        self.note(ticket, "opened", news, news.at_ms, incident=incident.id)
        return ticket

    def _count(self, ticket: Ticket) -> None:
        ticket.open = int(any(one.state in GOES_ON for one in self._incidents[ticket]))

    def _part(self, ticket: Ticket, news: News) -> None:
        """Take out of a ticket what turns out to be other cases.

        An old incident that comes late joins the ticket that is open, as it seems to go on; once it is known when it
        ended, it may be hours away from the rest.
        """
        *apart, stays = _cases(self._incidents[ticket])
        self._incidents[ticket] = stays
        for case in apart:
            self._touched[ticket] = news.received_ms
            home = self._choose(ticket.key, case[0])
            if home is None:
                data = Incident.model_validate_json(case[0].data)
                home = self._open(ticket.key, case[0], replace(news, data=data, box=case[0].box_id))
            self._incidents[home] += case
            self._count(home)
            self._touched[home] = news.received_ms
            for incident in case:
                self._place[incident.id] = home
                self._moved.append(incident)

    def _settle(self, ticket: Ticket, received_ms: int) -> None:
        """Work out a ticket anew from its incidents."""
        incidents = sorted(self._incidents[ticket], key=lambda one: one.opened_ms)
        goes_on = bool(ticket.open)
        was_settled = ticket.state == LAPSED and not goes_on
        ticket.changed_ms = received_ms
        ticket.opened_ms = incidents[0].opened_ms
        ticket.late = min(one.late for one in incidents)
        ticket.reopened = _returns(incidents)
        ticket.state = PENDING_REVIEW if goes_on else LAPSED
        cleared = [one.cleared_ms for one in incidents if one.cleared_ms is not None]
        ticket.cleared_ms = max(cleared) if cleared and not goes_on else None
        if not goes_on and not was_settled:
            at_ms = max(ticket.cleared_ms or 0, *(one.ended_ms or 0 for one in incidents)) or received_ms
            kind = "filed_late" if ticket.late else "lapsed"
            self._event(ticket, kind, at_ms, received_ms, None, {})

    def _chain(self, ticket: Ticket) -> None:
        """Name the case before a new one; an old one that came late stands before one that is already there."""
        of_key = select(Ticket.number).where(Ticket.key == ticket.key, Ticket.number != ticket.number).limit(1)
        before = of_key.where(Ticket.opened_ms < ticket.opened_ms).order_by(Ticket.opened_ms.desc())
        after = of_key.where(Ticket.opened_ms > ticket.opened_ms).order_by(Ticket.opened_ms)
        for number, previous in (
            (ticket.number, self._session.scalar(before)),
            (self._session.scalar(after), ticket.number),
        ):
            if number is not None and previous is not None:
                self._session.execute(update(Ticket).where(Ticket.number == number).values(repeat_of=previous))


def _insert(session: Session, table: type[Base], rows: Sequence[Base]) -> None:
    if rows:
        names = table.__table__.columns.keys()
        session.execute(insert(table.__table__), [{name: getattr(row, name) for name in names} for row in rows])


def _cases(incidents: Iterable[IncidentRow]) -> list[list[IncidentRow]]:
    """Incidents of one key by the cases that they make, oldest first; only the last case can go on."""
    cases: list[list[IncidentRow]] = []
    for incident in sorted(incidents, key=lambda one: one.opened_ms):
        if cases and any(same_case(incident, other) for other in cases[-1]):
            cases[-1].append(incident)
        else:
            cases.append([incident])
    return cases


def _returns(incidents: Sequence[IncidentRow]) -> int:
    """How often the place was clear in between; `incidents` by when they began."""
    count, until_ms = 0, FOREVER_MS
    for index, incident in enumerate(incidents):
        count += incident.opened_ms > until_ms
        until_ms = max(until_ms, end_ms(incident)) if index else end_ms(incident)
    return count
