"""What a database that is replaced by a copy hands on to it, so that putting back an old copy undoes none of it.

That is what was deleted, what is under legal hold or was, and what is released for training. A copy is loaded together
with what it is owed, in one step; whoever opens it next hands that on, however the restore ended.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, delete, inspect, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from collector.evidence.graves import deleted
from collector.evidence.retention import CARRIED, DELETED
from collector.learning.acceptance import TAKEN_BACK
from collector.people import audit
from collector.people.actor import SYSTEM
from collector.store import AuditRow, HoldRow, PictureRow, Store, Ticket, TrainingRelease, among, lock
from collector.store.engine import StoreError, open_store

OWED: Final = "heritage"
"""Table of one document, in a copy that was just put back."""
RELEASES_CARRIED: Final = "learning.releases_carried"
KINDS: Final[Mapping[str, tuple[Any, str, tuple[str, ...], str]]] = {
    "holds": (HoldRow, "ticket_number", ("by", "why", "since_ms", "lifted_ms", "lifted_by"), CARRIED),
    "releases": (TrainingRelease, "ticket", ("sha256", "by", "at_ms", "why"), RELEASES_CARRIED),
}
"""What tickets have: table, its column of the ticket, those that are handed on, action of the log."""
Case = tuple[int, str, int]
"""Number, key and beginning: in another database a number may be another ticket's."""
Rows = Mapping[Case, list[list[Any]]]


@dataclass(frozen=True)
class Heritage:
    """What is handed on.

    Args:
        deleted: rows of pictures, and why.
        holds: each as in `KINDS`, by ticket, oldest first.
        releases: likewise; none of a ticket whose release was taken back.
    """

    deleted: Mapping[str, str] = field(default_factory=dict)
    holds: Rows = field(default_factory=dict)
    releases: Rows = field(default_factory=dict)

    def held_since(self, at_ms: float) -> list[int]:
        """Tickets under legal hold that began after an instant."""
        return sorted(one[0] for one, rows in self.holds.items() if one[2] >= at_ms and rows[-1][3] is None)

    def document(self, names: Mapping[str, str]) -> str:
        """As a copy is owed it, with the SHA-256 of which its manifest says that all rows were deleted, and why."""
        rows = {kind: list(getattr(self, kind).items()) for kind in KINDS}
        return json.dumps({"deleted": dict(self.deleted), "names": dict(names), **rows})


def read(url: URL) -> Heritage | None:
    """What a database hands on; None where it cannot be read."""
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return Heritage()
    try:
        store = open_store(url)
    except StoreError:
        return None
    try:
        settle(store)
        with store.transaction() as session:
            rows = select(PictureRow.id, PictureRow.deleted_why).where(PictureRow.deleted_ms.is_not(None))
            gone = {row.id: row.deleted_why for row in session.execute(rows)}
            releases = _rows(session, "releases")
            taken_back = AuditRow.action.in_((TAKEN_BACK, RELEASES_CARRIED))
            objects = session.scalars(select(AuditRow.object).where(taken_back).distinct())
            for one in among(session, Ticket, Ticket.number, {int(name.partition("/")[2]) for name in objects}):
                releases.setdefault(_case(one), [])
            return Heritage(gone, _rows(session, "holds"), releases)
    except SQLAlchemyError:
        return None
    finally:
        store.close()


def settle(store: Store) -> tuple[list[str], dict[str, list[int]]]:
    """Hand on what the database is owed since it was put back, if anything.

    Says whose files have to go (otherwise retention sees to it), and tickets of which something was carried over or
    lost.
    """
    if not inspect(store.engine).has_table(OWED):
        return [], {}
    with store.writing() as session:
        lock(session, [OWED])
        if not inspect(session.connection()).has_table(OWED):
            return [], {}  # another collector was quicker
        values = json.loads(session.scalar(text(f"SELECT document FROM {OWED}")) or "")  # noqa: S608 - a name of ours
        rows = {kind: {(one[0], one[1], one[2]): found for one, found in values[kind]} for kind in KINDS}
        told = _take(session, Heritage(values["deleted"], **rows), values["names"], round(time.time() * 1000))
        session.execute(text(f"DROP TABLE {OWED}"))
    return told


def _take(
    session: Session, past: Heritage, names: Mapping[str, str], now_ms: int
) -> tuple[list[str], dict[str, list[int]]]:
    told: dict[str, list[int]] = {}
    for kind, (table, ticket, columns, action) in KINDS.items():
        here, there = _rows(session, kind), getattr(past, kind)
        tickets = among(session, Ticket, Ticket.number, {one[0] for one in there})
        known = {_case(one) for one in tickets} & there.keys()
        changed = sorted(one for one in known if here.get(one, []) != there[one])
        for one in changed:
            session.execute(delete(table).where(getattr(table, ticket) == one[0]))
        for one in changed:
            session.add_all(table(**{ticket: one[0]}, **dict(zip(columns, row, strict=True))) for row in there[one])
            audit.record(session, SYSTEM, action, f"ticket/{one[0]}", {kind: there[one]}, now_ms)
        told[f"{kind}_carried"] = [one[0] for one in changed]
        if kind == "holds":
            told["holds_lost"] = sorted(one[0] for one in there.keys() - known if there[one][-1][3] is None)
    return _bury(session, past.deleted, names, now_ms), told


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


def _rows(session: Session, kind: str) -> dict[Case, list[list[Any]]]:
    table, ticket, columns, _ = KINDS[kind]
    found: dict[Case, list[list[Any]]] = {}
    query = select(table, Ticket).join(Ticket, Ticket.number == getattr(table, ticket))
    for row, of in session.execute(query.order_by(*table.__table__.primary_key)):
        found.setdefault(_case(of), []).append([getattr(row, name) for name in columns])
    return found


def _case(ticket: Ticket) -> Case:
    return ticket.number, ticket.key, ticket.created_ms
