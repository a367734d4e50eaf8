"""What a database that is replaced by a copy hands on to it, so that putting back an old copy undoes none of it.

That is what was deleted, and what is under legal hold or was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from collector.evidence.graves import deleted
from collector.evidence.retention import CARRIED, DELETED
from collector.people import audit
from collector.people.actor import SYSTEM
from collector.store import HoldRow, PictureRow, Ticket, among
from collector.store.engine import StoreError, open_store

HOLD: Final = ("by", "why", "since_ms", "lifted_ms", "lifted_by")
Case = tuple[int, str, int]
"""Number, key and beginning: in another database a number may be another ticket's."""


@dataclass(frozen=True)
class Heritage:
    """What is handed on.

    Args:
        deleted: rows of pictures, and why.
        holds: each as `HOLD`, by ticket, oldest first.
    """

    deleted: Mapping[str, str] = field(default_factory=dict)
    holds: Mapping[Case, list[list[Any]]] = field(default_factory=dict)

    def held_since(self, at_ms: float) -> list[int]:
        """Tickets under legal hold that began after an instant."""
        return sorted(one[0] for one, rows in self.holds.items() if one[2] >= at_ms and rows[-1][3] is None)


def read(url: URL) -> Heritage | None:
    """What a database hands on; None where it cannot be read."""
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return Heritage()
    try:
        store = open_store(url)
    except StoreError:
        return None
    try:
        with store.transaction() as session:
            rows = select(PictureRow.id, PictureRow.deleted_why).where(PictureRow.deleted_ms.is_not(None))
            gone = {row.id: row.deleted_why for row in session.execute(rows)}
            return Heritage(gone, _holds(session))
    except SQLAlchemyError:
        return None
    finally:
        store.close()


def take(
    session: Session, past: Heritage, names: Mapping[str, str], now_ms: int
) -> tuple[list[str], dict[str, list[int]]]:
    """Take over what is handed on: says whose files have to go, and tickets whose holds were carried over, or lost.

    Args:
        session: a transaction that writes, in the database that was put back.
        past: of the one that was there.
        names: SHA-256 of which the copy says that all rows were deleted, and why.
        now_ms: the center's clock.
    """
    here, carried = _holds(session), []
    tickets = among(session, Ticket, Ticket.number, {one[0] for one in past.holds})
    known = {(one.number, one.key, one.created_ms) for one in tickets}
    for one in sorted(known & past.holds.keys()):
        if here.get(one) != past.holds[one]:
            carried.append(one[0])
            session.execute(delete(HoldRow).where(HoldRow.ticket_number == one[0]))
            session.add_all(
                HoldRow(ticket_number=one[0], **dict(zip(HOLD, row, strict=True))) for row in past.holds[one]
            )
            audit.record(session, SYSTEM, CARRIED, f"ticket/{one[0]}", {"holds": past.holds[one]}, now_ms)
    lost = sorted(one[0] for one in past.holds.keys() - known if past.holds[one][-1][3] is None)
    return _bury(session, past.deleted, names, now_ms), {"holds_carried": carried, "holds_lost": lost}


def _bury(session: Session, ids: Mapping[str, str], names: Mapping[str, str], now_ms: int) -> list[str]:
    """What was deleted since the copy was made stays deleted."""
    rows = {row.id: row for row in among(session, PictureRow, PictureRow.id, set(ids))}
    rows |= {row.id: row for row in among(session, PictureRow, PictureRow.sha256, set(names))}
    left = [row for row in rows.values() if row.deleted_ms is None]
    if left:
        detail = {"pictures": sorted(row.id for row in left), "why": "deleted before this copy was put back"}
        line = audit.record(session, SYSTEM, DELETED, "store/center", detail, now_ms)
        for row in left:
            row.deleted_ms, row.deleted_line = now_ms, line.number
            row.deleted_why = ids.get(row.id) or names.get(row.sha256, "")
        session.flush()
    return list(deleted(session, [row.sha256 for row in rows.values()]))


def _holds(session: Session) -> dict[Case, list[list[Any]]]:
    found: dict[Case, list[list[Any]]] = {}
    query = select(HoldRow, Ticket).join(Ticket, Ticket.number == HoldRow.ticket_number).order_by(HoldRow.number)
    for row, ticket in session.execute(query):
        of = found.setdefault((ticket.number, ticket.key, ticket.created_ms), [])
        of.append([getattr(row, name) for name in HOLD])
    return found
