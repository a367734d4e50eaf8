"""The ledger: a chain over the rows of all pictures and messages, so that a changed or deleted one shows.

Each commit of the inbox appends one line that names its rows and their hashes. `verify` names what is wrong. Retention
writes the newest line's hash into the audit log: so the end cannot be cut off either, nor the whole be written anew.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.people.audit import START, Head
from collector.store import LedgerRow, MessageRow, PictureRow, lock
from collector.store.bulk import NAMED

TABLES: Final[Mapping[str, Any]] = {"message": MessageRow, "picture": PictureRow}
COLUMNS: Final = {
    "message": ("id", "box_id", "incident", "seq", "type", "at_ms", "received_ms", "payload"),
    "picture": (
        *("id", "box_id", "incident", "role", "view", "sha256", "bytes", "received_ms", "author", "masked"),
        *("taken_ms", "width", "height"),
    ),
}
"""What never changes of a row; its hash is over these."""
DEFAULT: Final = {"author": "", "masked": 1}
CHUNK: Final = 1000
Item = tuple[str, Any]
"""Kind, and the row's columns as a mapping."""


def append(session: Session, items: Sequence[Item], at_ms: int) -> None:
    """Write a line for rows that were just written, in the caller's transaction; holds the log until that ends."""
    if not items:
        return
    lock(session, ["audit"])  # one for both chains, so that they cannot wait for each other
    session.flush()
    _write(session, items, at_ms)


def _write(session: Session, items: Sequence[Item], at_ms: int) -> None:
    last = head(session)
    names = [[kind, row["id"], row_digest(kind, row)] for kind, row in items]
    line = LedgerRow(number=last.number + 1, at_ms=at_ms, items=json.dumps(names), before=last.hash)
    line.hash = _digest(line)
    session.add(line)
    session.flush()
    session.expunge(line)


def append_rows(session: Session, rows: Sequence[PictureRow], at_ms: int) -> None:
    """The same for pictures that the session holds."""
    session.flush()
    append(session, [("picture", {name: getattr(row, name) for name in COLUMNS["picture"]}) for row in rows], at_ms)


def head(session: Session) -> Head:
    """The newest line."""
    found = session.execute(select(LedgerRow.number, LedgerRow.hash).order_by(LedgerRow.number.desc()).limit(1)).first()
    return Head(0, START) if found is None else Head(found.number, found.hash)


def row_digest(kind: str, row: Any) -> str:
    """Hash of what never changes of a row, given as a mapping."""
    values = [row.get(name, DEFAULT.get(name)) for name in COLUMNS[kind]]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def verify(session: Session, noted: Sequence[Head] = ()) -> Iterator[str]:
    """What is wrong with the chain, and with the rows that it names."""
    heads = {one.number: one.hash for one in noted}
    good, found = Head(0, START), dict.fromkeys(TABLES, 0)
    for line in _lines(session):
        if line.number != good.number + 1:
            yield f"ledger line {good.number + 1}: it is missing; line {line.number} follows line {good.number}"
        elif line.before != good.hash:
            yield f"ledger line {line.number}: it names another line before than there is"
        if line.hash != _digest(line) or heads.get(line.number, line.hash) != line.hash:
            yield f"ledger line {line.number}: it was changed"
        good = Head(line.number, line.hash)
        yield from _rows(session, line, found)
    for number in (one for one in heads if one > good.number):
        yield f"ledger lines {good.number + 1} to {number}: they are missing at the end"
    for kind, table in TABLES.items():
        count = session.scalar(select(func.count()).select_from(table)) or 0
        if count > found[kind]:
            yield from _strangers(session, kind)


def _rows(session: Session, line: LedgerRow, found: dict[str, int]) -> Iterator[str]:
    """What is wrong with the rows that a line names; counts those that are there."""
    items = _items(line)
    for kind, table in TABLES.items():
        wanted = {name: digest for of, name, digest in items if of == kind}
        columns, names = [getattr(table, name) for name in COLUMNS[kind]], sorted(wanted)
        here: dict[str, str] = {}
        for start in range(0, len(names), NAMED):
            rows = session.execute(select(*columns).where(table.id.in_(names[start : start + NAMED]))).mappings()
            here |= {row["id"]: row_digest(kind, row) for row in rows}
        found[kind] += len(here)
        for name, digest in wanted.items():
            if name not in here:
                yield f"{kind} {name}: its row was deleted"
            elif here[name] != digest:
                yield f"{kind} {name}: its row was changed"


def _strangers(session: Session, kind: str) -> Iterator[str]:
    """Rows that no line names."""
    named = {name for line in _lines(session) for of, name, _ in _items(line) if of == kind}
    for name in session.scalars(select(TABLES[kind].id)):
        if name not in named:
            yield f"{kind} {name}: no line of the ledger names its row; it was put in past this program"


def _items(line: LedgerRow) -> list[tuple[str, str, str]]:
    try:
        return [(str(kind), str(name), str(digest)) for kind, name, digest in json.loads(line.items)]
    except (ValueError, TypeError):
        return []  # the line's hash tells


def _digest(line: LedgerRow) -> str:
    return hashlib.sha256(json.dumps([line.number, line.at_ms, line.items, line.before]).encode()).hexdigest()


def _lines(session: Session) -> Iterator[Any]:
    query = select(*LedgerRow.__table__.columns).order_by(LedgerRow.number).limit(CHUNK)
    rows = session.execute(query).all()
    while rows:
        yield from rows
        rows = session.execute(query.where(LedgerRow.number > rows[-1].number)).all()
