"""Keeping what indicators are read from: facts of tickets worked out anew, and days packed."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from collector.indicators import packs
from collector.store import Box, PackedDay, ShopRow, Store, Ticket, TicketEvent
from collector.tickets import facts
from collector.tickets.desk import hold_all

AT_ONCE: Final = 100
"""Tickets of one transaction: the inbox must get its turn."""
PACKED_DAYS: Final = 400
"""So far back days are looked at whether they have changed."""


def work_out(store: Store, *, every: bool = False) -> Iterator[tuple[int, int]]:
    """Work out the facts of tickets from their time lines; says after each batch how many, and how many differed.

    Args:
        store: the database.
        every: not only those of which nothing was kept yet, as after an update from a version without indicators.
    """
    with store.transaction() as session:
        wanted = select(Ticket.number).order_by(Ticket.number)
        numbers = session.scalars(wanted if every else wanted.where(Ticket.mark == 0)).all()
    for start in range(0, len(numbers), AT_ONCE):
        batch = numbers[start : start + AT_ONCE]
        differed = 0
        with store.writing() as session:
            for number, ticket in hold_all(session, batch).items():
                before = {name: getattr(ticket, name) for name in (*facts.NOTHING, "mark")}
                lines = select(TicketEvent).where(TicketEvent.ticket_number == number).order_by(TicketEvent.id)
                facts.replay(ticket, list(session.scalars(lines)))
                differed += any(getattr(ticket, name) != value for name, value in before.items())
        yield len(batch), differed


def streets(session: Session) -> list[str]:
    """All that have boxes or shops, or had tickets."""
    wanted = select(Box.site).union(select(ShopRow.street), select(PackedDay.street))
    return sorted(session.scalars(wanted))


def pack(store: Store, zone: ZoneInfo, until: date, *, every: bool = False) -> int:
    """Pack the days before one that have changed; `every`: all that there are, anew. Says how many were packed."""
    last, packed = until - timedelta(days=1), 0
    with store.transaction() as session:
        known = streets(session)
    if every:
        with store.writing() as session:
            session.execute(delete(PackedDay))
    for street in known:
        with store.reading() as session:
            oldest_ms = session.scalar(select(func.min(Ticket.opened_ms)).where(Ticket.street == street))
            if oldest_ms is None:
                continue
            first = datetime.fromtimestamp(oldest_ms / 1000, zone).date()
            if not every:
                first = max(first, until - timedelta(days=PACKED_DAYS))
            wanted = packs.stale(session, street, first, last, zone)
        for day in wanted:
            with store.writing() as session:
                packs.pack_day(session, street, day, zone)
            packed += 1
    return packed
