"""Which ticket an incident belongs to, and what it does to it."""

import json
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.store import IncidentRow, Ticket, TicketEvent
from protocol.messages import Incident

PENDING_REVIEW: Final = "pending_review"
LAPSED: Final = "lapsed"
REOPEN_MS: Final = 30 * 60 * 1000
"""A return within this long after the place was clear is the same case."""


@dataclass(frozen=True)
class News:
    """One message of an incident.

    Args:
        kind: `opened`, `updated`, `cleared` or `ended`.
        at_ms: the message's time.
        received_ms: when it came.
    """

    message_id: str
    kind: str
    data: Incident
    box: str
    at_ms: int
    received_ms: int


def ticket_key(data: Incident, box: str) -> str:
    """Key of the ticket that an incident belongs to."""
    if data.shop is not None:
        return f"{data.rule}/shop/{data.shop}"
    return f"{data.rule}/zone/{box}/{data.camera}/{data.zone}"


def ticket_for(session: Session, news: News, opened_ms: int) -> Ticket:
    """Find or make the ticket for an incident that has none yet."""
    key = ticket_key(news.data, news.box)
    latest = session.scalars(select(Ticket).where(Ticket.key == key).order_by(Ticket.number.desc()).limit(1)).first()
    if latest is not None and latest.open:
        latest.opened_ms = min(latest.opened_ms, opened_ms)
        latest.cleared_ms = None
        note(session, latest, "incident_joined", news, news.at_ms, incident=news.data.incident)
        return latest
    if latest is not None and latest.cleared_ms is not None and opened_ms - latest.cleared_ms <= REOPEN_MS:
        latest.state, latest.open, latest.cleared_ms = PENDING_REVIEW, 1, None
        latest.reopened += 1
        note(session, latest, "reopened", news, news.at_ms, incident=news.data.incident)
        return latest
    ticket = Ticket(
        key=key,
        rule=news.data.rule,
        shop=news.data.shop,
        box_id=news.box,
        camera=news.data.camera,
        zone=news.data.zone,
        state=PENDING_REVIEW,
        open=1,
        opened_ms=opened_ms,
        created_ms=news.received_ms,
        changed_ms=news.received_ms,
        repeat_of=None if latest is None else latest.number,
    )
    session.add(ticket)
    session.flush()
    note(session, ticket, "appeared", news, opened_ms, incident=news.data.incident)
    note(session, ticket, "opened", news, news.at_ms, incident=news.data.incident)
    return ticket


def follow(session: Session, ticket: Ticket, incident: IncidentRow, news: News) -> None:
    """Carry a ticket on after its incident has changed."""
    ticket.changed_ms = news.received_ms
    if news.kind == "updated":
        people = news.data.people
        detail = {"visibility": news.data.visibility, "count": None if people is None else people.count}
        note(session, ticket, "incident_updated", news, news.at_ms, incident=incident.id, **detail)
    elif news.kind == "cleared":
        note(session, ticket, "incident_cleared", news, incident.cleared_ms or news.at_ms, incident=incident.id)
    elif news.kind == "ended":
        note(session, ticket, "incident_ended", news, news.at_ms, incident=incident.id, reason=news.data.reason)
    session.flush()
    states = session.execute(
        select(IncidentRow.state, IncidentRow.cleared_ms).where(IncidentRow.ticket_number == ticket.number)
    ).all()
    if ticket.open and all(state != "open" for state, _ in states):
        cleared = [cleared_ms for _, cleared_ms in states if cleared_ms is not None]
        ticket.cleared_ms = max(cleared) if cleared else None
        ticket.state, ticket.open = LAPSED, 0
        note(session, ticket, "lapsed", news, news.at_ms)


def note(session: Session, ticket: Ticket, kind: str, news: News, at_ms: int, **detail: object) -> None:
    """Write a line of the time line."""
    session.add(
        TicketEvent(
            ticket_number=ticket.number,
            kind=kind,
            at_ms=at_ms,
            received_ms=news.received_ms,
            message_id=news.message_id,
            detail=json.dumps(detail),
        )
    )
