"""Tickets: which one an incident belongs to, and what is known of its place.

What a ticket is follows from its incidents and from what the desk did with it, not from the order in which messages
came: boxes send again what was not acknowledged, and a backlog arrives beside what is new.

The inbox writes facts: which incidents a ticket has, whether anything still stands there (`present`), since when the
place is clear. Until the desk has done something with a ticket it goes between `pending_review` and `lapsed` by these
alone; any other state is the desk's, which is told by `look_ms` that there is news.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pydantic_core import to_json
from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from collector.store import IncidentRow, Ticket, TicketEvent, next_numbers, rewrite, write
from collector.tickets import facts
from collector.tickets.machine import INBOX, JUDGED, State
from collector.tickets.records import IncidentRecord, TicketRecord, select_incidents, select_tickets
from protocol.messages import Incident

GOES_ON: Final = ("open", "orphaned")
"""States of an incident that keep its ticket open."""
REOPEN_MS: Final = 30 * 60 * 1000
"""A return within this long after the place was clear is the same case."""
FOREVER_MS: Final = 1 << 62
MOVING: Final = (
    *("number", "state", "open", "opened_ms", "changed_ms", "cleared_ms", "reopened", "late", "present", "look_ms"),
    *("version", "since_ms", "entered", "news", "closed_ms", "mark"),
)
"""Columns of a ticket that the inbox changes once it is there."""


@dataclass(frozen=True)
class News:
    """One message of an incident.

    Args:
        kind: `opened`, `updated`, `cleared` or `ended`.
        at_ms: the message's time, by the center's clock; `cleared_ms` likewise.
        clock: by what that time is known, see `inbox.clocks`.
        received_ms: when it came.
        site: of the box.
    """

    message_id: str
    kind: str
    data: Incident
    box: str
    at_ms: int
    cleared_ms: int | None
    clock: str
    received_ms: int
    site: str = ""


def ticket_key(data: Incident, box: str) -> str:
    """Key of the ticket that an incident belongs to."""
    if data.shop is not None:
        return f"{data.rule}/shop/{data.shop}"
    return f"{data.rule}/zone/{box}/{data.camera}/{data.zone}"


def end_ms(incident: IncidentRecord) -> int:
    """When an incident's presence ended, as far as is known."""
    if incident.state in GOES_ON:
        return FOREVER_MS
    return incident.cleared_ms or incident.ended_ms or incident.opened_ms


def same_case(one: IncidentRecord, other: IncidentRecord) -> bool:
    """Whether two incidents of one key belong together: at one time, or back within 30 minutes of being clear."""
    first, second = (one, other) if one.opened_ms <= other.opened_ms else (other, one)
    if second.opened_ms <= end_ms(first):
        return True
    return first.cleared_ms is not None and second.opened_ms - first.cleared_ms <= REOPEN_MS


def goes_into(incident: IncidentRecord, ticket: TicketRecord, members: Iterable[IncidentRecord]) -> bool:
    """Whether an incident is of a ticket's case: with one of its incidents, or while the desk had it open.

    What a person judged (`JUDGED`) is closed for what goes on: they did not see it.
    """
    if ticket.state in JUDGED and incident.state in GOES_ON and not incident.ticket_number:
        return False
    return _during(incident, ticket) or any(same_case(incident, other) for other in members)


def _during(incident: IncidentRecord, ticket: TicketRecord) -> bool:
    """Whether an incident was there while the desk had its ticket open."""
    if ticket.acted_ms is None:
        return False
    closed_ms = FOREVER_MS if ticket.open or ticket.closed_ms is None else ticket.closed_ms
    return incident.opened_ms <= closed_ms and end_ms(incident) >= ticket.acted_ms


class Book:
    """The tickets that a batch of messages touches: read at once, written at once.

    It writes what it read before: whoever else changes a ticket holds the lock `ticket/{key}` (see `store.lock`).

    Args:
        keys: of all tickets that may be touched.
        numbers: of tickets that are known to be.
        since_ms: the earliest time that the batch tells of.
    """

    def __init__(self, session: Session, keys: Iterable[str], numbers: Iterable[int], since_ms: int) -> None:
        self._session = session
        self.incidents: dict[str, IncidentRecord] = {}
        self._of: dict[str, list[TicketRecord]] = defaultdict(list)
        self._members: dict[TicketRecord, list[IncidentRecord]] = {}
        self._place: dict[IncidentRecord, TicketRecord] = {}
        self._touched: dict[TicketRecord, int] = {}
        self._changed: dict[IncidentRecord, None] = {}
        self._known: dict[TicketRecord, tuple[tuple[int, int | None], int]] = {}
        self._began: dict[TicketRecord, int] = {}
        self._events: list[tuple[TicketRecord, dict[str, object]]] = []
        self._load(set(keys), set(numbers), since_ms)

    def _load(self, keys: set[str], numbers: set[int], since_ms: int) -> None:
        latest = select(func.max(Ticket.number)).where(Ticket.key.in_(keys)).group_by(Ticket.key)
        near = and_(
            Ticket.key.in_(keys),
            or_(Ticket.open == 1, Ticket.cleared_ms >= since_ms - REOPEN_MS, Ticket.changed_ms >= since_ms),
        )
        wanted = or_(near, Ticket.number.in_(latest), Ticket.number.in_(numbers))
        tickets = {}
        for row in self._session.execute(select_tickets(wanted)):
            ticket = TicketRecord(*row)
            tickets[ticket.number] = ticket
            self._of[ticket.key].append(ticket)
            self._members[ticket] = []
        if tickets:
            for row in self._session.execute(select_incidents(list(tickets))):
                incident = IncidentRecord(*row)
                self.incidents[incident.id] = incident
                self._place[incident] = tickets[incident.ticket_number]
                self._members[tickets[incident.ticket_number]].append(incident)
        self._known = {ticket: (_glance(ticket), len(members)) for ticket, members in self._members.items()}
        self._began = {ticket: ticket.opened_ms for ticket in self._members}

    def file(self, incident: IncidentRecord, news: News) -> None:
        """Put a new incident into the ticket that it belongs to, making one where there is none."""
        key = ticket_key(news.data, news.box)
        ticket = self._choose(key, incident)
        if ticket is None:
            ticket = self._open(key, incident, news)
        else:
            returned = not ticket.present and incident.state in GOES_ON
            self.note(ticket, "reopened" if returned else "incident_joined", news, news.at_ms, incident=incident.id)
        self._members[ticket].append(incident)
        self._count(ticket, incident)
        self._place[incident] = ticket
        self.incidents[incident.id] = incident
        self._touched[ticket] = news.received_ms

    def follow(self, incident: IncidentRecord, news: News) -> None:
        """Write down what a message says, and carry on the ticket of its incident."""
        ticket = self._place[incident]
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
        self._changed[incident] = None
        self._touched[ticket] = news.received_ms

    def orphan(self, incident: IncidentRecord, at_ms: int) -> None:
        """Say that an incident's box does not know it any more; its ticket waits for a person."""
        ticket = self._place[incident]
        incident.state = "orphaned"  # which keeps the ticket open
        self._changed[incident] = None
        self._event(ticket, "incident_orphaned", at_ms, at_ms, None, {"incident": incident.id, "box": incident.box_id})
        self._touched[ticket] = at_ms

    def close(self) -> None:
        """Write it all; numbers are given now."""
        new = [ticket for ticket in self._touched if not ticket.number]
        known = [ticket for ticket in self._touched if ticket.number]
        begun = {id(ticket) for ticket in new}
        for ticket, number in zip(new, next_numbers(self._session, len(new)), strict=True):
            ticket.number = number
        for ticket, received_ms in self._touched.items():
            self._settle(ticket, received_ms)
            # one of before an update has none until its facts are worked out
            if ticket.mark or id(ticket) in begun:
                ticket.mark = facts.mark(ticket)
        # closed ones first: at most one of a key is open at any moment
        known.sort(key=lambda ticket: (ticket.open, ticket.number))
        moved = [{name: getattr(ticket, name) for name in MOVING} for ticket in known]
        rewrite(self._session, Ticket.__table__, moved, "number")
        write(self._session, Ticket.__table__, [vars(ticket) for ticket in new])
        moved_ms: dict[str, int] = {}
        for ticket in self._touched:
            began_ms = self._began.get(ticket)
            if began_ms != ticket.opened_ms and len(self._of[ticket.key]) > 1:
                since_ms = ticket.opened_ms if began_ms is None else min(began_ms, ticket.opened_ms)
                moved_ms[ticket.key] = min(moved_ms.get(ticket.key, since_ms), since_ms)
        for key, since_ms in moved_ms.items():
            self._chain(key, since_ms)
        self._write_incidents()
        rows = [{**values, "ticket_number": ticket.number} for ticket, values in self._events]
        write(self._session, TicketEvent.__table__, rows)

    def _write_incidents(self) -> None:
        fresh, told, moved = [], [], []
        for incident in self._changed:
            is_new = not incident.ticket_number
            incident.ticket_number = self._place[incident].number
            row = vars(incident)
            if is_new:
                fresh.append(row)
            elif incident.data is not None:
                told.append(row)
            else:
                moved.append({name: value for name, value in row.items() if name != "data"})
        write(self._session, IncidentRow.__table__, fresh)
        rewrite(self._session, IncidentRow.__table__, told, "id")
        rewrite(self._session, IncidentRow.__table__, moved, "id")

    def note(self, ticket: TicketRecord, kind: str, news: News, at_ms: int, **detail: object) -> None:
        """Write a line of the time line."""
        if news.clock != "told":
            detail["clock"] = news.clock
        self._event(ticket, kind, at_ms, news.received_ms, news.message_id, detail)

    def _event(
        self,
        ticket: TicketRecord,
        kind: str,
        at_ms: int,
        received_ms: int,
        message_id: str | None,
        detail: dict[str, object],
    ) -> None:
        values: dict[str, object] = {
            "kind": kind,
            "at_ms": at_ms,
            "received_ms": received_ms,
            "message_id": message_id,
            "detail": to_json(detail).decode(),
        }
        self._events.append((ticket, values))

    def _choose(self, key: str, incident: IncidentRecord) -> TicketRecord | None:
        tickets = self._of[key]
        goes_on = incident.state in GOES_ON
        for ticket in tickets:
            # at most one is open: what goes on must be in it
            if ticket.open and goes_on:
                return ticket
        near = [one for one in tickets if goes_into(incident, one, self._members[one])]
        return max(near, key=lambda ticket: ticket.opened_ms, default=None)

    def _open(self, key: str, incident: IncidentRecord, news: News) -> TicketRecord:
        data = news.data
        ticket = TicketRecord(
            key=key,
            rule=data.rule,
            shop=data.shop,
            box_id=news.box,
            camera=data.camera,
            zone=data.zone,
            state=State.PENDING_REVIEW,
            open=int(incident.state in GOES_ON),
            opened_ms=incident.opened_ms,
            created_ms=news.received_ms,
            changed_ms=news.received_ms,
            street=news.site,
            present=int(incident.state in GOES_ON),
            since_ms=news.received_ms,
        )
        self._of[key].append(ticket)
        self._members[ticket] = []
        self.note(ticket, "appeared", news, incident.opened_ms, incident=incident.id)
        self.note(ticket, "opened", news, news.at_ms, incident=incident.id)
        return ticket

    def _count(self, ticket: TicketRecord, *added: IncidentRecord) -> None:
        ticket.present = int(any(one.state in GOES_ON for one in self._members[ticket]))
        if ticket.state in INBOX:
            ticket.open = ticket.present
        elif not ticket.open and any(one.state in GOES_ON for one in added):
            ticket.news = 1

    def _part(self, ticket: TicketRecord, news: News) -> None:
        """Take out of a ticket what turns out to be other cases.

        An old incident that comes late joins the ticket that is open, as it seems to go on; once it is known when it
        ended, it may be hours away from the rest.
        """
        *apart, stays = cases(self._members[ticket])
        # what the desk had in its hands stays, whatever else there is
        held = [case for case in apart if any(_during(one, ticket) for one in case)]
        if held or any(_during(one, ticket) for one in stays):
            apart = [case for case in (*apart, stays) if not any(_during(one, ticket) for one in case)]
            stays = [one for one in self._members[ticket] if not any(one in case for case in apart)]
        self._members[ticket] = stays
        for case in apart:
            self._touched[ticket] = news.received_ms
            home = self._choose(ticket.key, case[0])
            if home is None:
                data = Incident.model_validate_json(case[0].data or self._data_of(case[0]))
                home = self._open(ticket.key, case[0], replace(news, data=data, box=case[0].box_id, site=ticket.street))
            self._members[home] += case
            self._count(home, *case)
            self._touched[home] = news.received_ms
            for incident in case:
                self._place[incident] = home
                self._changed[incident] = None

    def _data_of(self, incident: IncidentRecord) -> str:
        return self._session.scalars(select(IncidentRow.data).where(IncidentRow.id == incident.id)).one()

    def _settle(self, ticket: TicketRecord, received_ms: int) -> None:
        """Work out a ticket anew from its incidents."""
        incidents = sorted(self._members[ticket], key=lambda one: one.opened_ms)
        present = bool(ticket.present)
        ticket.changed_ms = received_ms
        ticket.opened_ms = incidents[0].opened_ms
        ticket.late = min(one.late for one in incidents)
        ticket.reopened = _returns(incidents)
        cleared = [one.cleared_ms for one in incidents if one.cleared_ms is not None]
        ticket.cleared_ms = max(cleared) if cleared and not present else None
        if self._known.get(ticket) != (_glance(ticket), len(incidents)):
            # the desk is told that there is news; a heartbeat is none
            ticket.look_ms = received_ms if ticket.look_ms is None else min(ticket.look_ms, received_ms)
        if ticket.state not in INBOX:
            return
        was_settled = ticket.state == State.LAPSED and not present
        state = State.PENDING_REVIEW if present else State(ticket.back or State.LAPSED)
        if state != ticket.state:
            ticket.state, ticket.version, ticket.since_ms = state, ticket.version + 1, received_ms
            ticket.entered = ticket.version
        ticket.open = int(present)
        if present:
            ticket.closed_ms = None
        elif not was_settled:
            at_ms = max(ticket.cleared_ms or 0, *(one.ended_ms or 0 for one in incidents)) or received_ms
            ticket.closed_ms, ticket.look_ms = at_ms, None
            kind = "filed_late" if ticket.late else "lapsed"
            self._event(ticket, kind, at_ms, received_ms, None, {})

    def _chain(self, key: str, since_ms: int) -> None:
        """Name the case before each one of a key from an instant on: they came, or moved, in any order."""
        of_key = select(Ticket.number, Ticket.repeat_of).where(Ticket.key == key)
        before = of_key.where(Ticket.opened_ms < since_ms).order_by(Ticket.opened_ms.desc(), Ticket.number.desc())
        previous = self._session.scalar(before.limit(1))
        after = of_key.where(Ticket.opened_ms >= since_ms).order_by(Ticket.opened_ms, Ticket.number)
        for number, repeat_of in self._session.execute(after).all():
            if repeat_of != previous:
                self._session.execute(update(Ticket).where(Ticket.number == number).values(repeat_of=previous))
            previous = number


def _glance(ticket: TicketRecord) -> tuple[int, int | None]:
    return ticket.present, ticket.cleared_ms


def cases(incidents: Iterable[IncidentRecord]) -> list[list[IncidentRecord]]:
    """Incidents of one key by the cases that they make, oldest first; only the last case can go on."""
    cases: list[list[IncidentRecord]] = []
    for incident in sorted(incidents, key=lambda one: one.opened_ms):
        if cases and any(same_case(incident, other) for other in cases[-1]):
            cases[-1].append(incident)
        else:
            cases.append([incident])
    return cases


def _returns(incidents: Sequence[IncidentRecord]) -> int:
    """How often the place was clear in between; `incidents` by when they began."""
    count, until_ms = 0, FOREVER_MS
    for index, incident in enumerate(incidents):
        count += incident.opened_ms > until_ms
        until_ms = max(until_ms, end_ms(incident)) if index else end_ms(incident)
    return count
