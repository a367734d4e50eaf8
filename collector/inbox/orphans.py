"""Incidents that the center holds open and their box does not know any more, after its disk was lost or exchanged.

On connecting, a box lists what goes on. Messages that it still keeps may arrive after that list, so that it is used
only when a health report says that nothing older than the list is waiting; then what was decided before the list, goes
on here, and is not in it, is an orphan. A later message of the incident takes it back.
"""

import json

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.inbox.clocks import milliseconds
from collector.store import Box, IncidentRow, Ticket, lock
from collector.tickets.book import Book
from protocol.messages import HealthEvent, Incident, StatusEvent


def remember_list(box: Box, event: StatusEvent) -> None:
    """Keep the list of a box that has just connected."""
    status = event.data
    if status.state == "online" and status.open_incidents is not None:
        box.listed = json.dumps([one.incident for one in status.open_incidents])
        box.listed_ms = milliseconds(event.time)
    else:
        box.listed = box.listed_ms = None


def find_orphans(session: Session, box: Box, event: HealthEvent, received_ms: int) -> None:
    """Mark the orphans of a box, once its list can be used."""
    if box.listed is None or box.listed_ms is None or event.data.clock.boot_id != box.boot_id:
        return
    waiting_since_ms = milliseconds(event.time) - round(event.data.oldest_waiting_s * 1000)
    if waiting_since_ms < box.listed_ms:
        return
    listed = set(json.loads(box.listed))
    of_box = select(IncidentRow.id, Ticket.number, Ticket.key).where(
        IncidentRow.box_id == box.id, IncidentRow.state == "open", IncidentRow.ticket_number == Ticket.number
    )
    suspects = [found for found in session.execute(of_box) if found.id not in listed]
    if suspects:
        lock(session, {f"incident/{one.id}" for one in suspects} | {f"ticket/{one.key}" for one in suspects})
        book = Book(session, set(), {one.number for one in suspects}, received_ms)
        for row in session.scalars(select(IncidentRow).where(IncidentRow.id.in_({one.id for one in suspects}))):
            # a batch that holds a newer message of it has changed the row already
            if row.state == "open" and milliseconds(Incident.model_validate_json(row.data).at) <= box.listed_ms:
                book.orphan(row, received_ms)
        book.close()
    box.listed = box.listed_ms = None
