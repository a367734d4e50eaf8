"""The audit log: a chain of lines, each with the hash of the one before.

The database refuses to change or delete a line (triggers of the migration). Whoever may change the database's schema
can do so all the same; then the chain shows it, unless they write all later lines anew or cut off its end. Against that
helps a head that was noted elsewhere: `NUMBER:HASH`, which `verify` compares.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.store import AuditRow, lock

START: Final = "0" * 64
CHUNK: Final = 1000


@dataclass(frozen=True)
class Head:
    """The newest line; number 0 where there is none."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


@dataclass(frozen=True)
class Verdict:
    """What `verify` found.

    Args:
        lines: that are good, from the first one on.
        head: the last of these.
        fault: what is wrong after it; None: nothing.
    """

    lines: int
    head: Head
    fault: str | None = None


def record(session: Session, actor: Actor, action: str, of: str, detail: Mapping[str, object], at_ms: int) -> AuditRow:
    """Append a line in the caller's transaction; it holds the log until that ends, so do it last.

    `of` is `kind/id` of what was changed or looked at; `detail` is what a reader needs, without secrets. What an actor
    did by a token says so in `detail`.
    """
    lock(session, ["audit"])
    session.flush()
    last = head(session)
    more = {"via": actor.via} if actor.via else {}
    row = AuditRow(
        number=last.number + 1,
        at_ms=at_ms,
        actor=str(actor),
        action=action,
        object=of,
        detail=json.dumps({**detail, **more}, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        before=last.hash,
    )
    row.hash = digest(row)
    session.add(row)
    session.flush()
    return row


def digest(row: AuditRow) -> str:
    """Hash of a line: SHA-256 over all its fields and the hash before."""
    fields = [row.number, row.at_ms, row.actor, row.action, row.object, row.detail, row.before]
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()


def head(session: Session) -> Head:
    """The newest line, to be noted elsewhere."""
    found = session.execute(select(AuditRow.number, AuditRow.hash).order_by(AuditRow.number.desc()).limit(1)).first()
    return Head(0, START) if found is None else Head(found.number, found.hash)


def read_head(text: str) -> Head:
    """`NUMBER:HASH`; raises ValueError."""
    number, _, hexadecimal = text.strip().partition(":")
    if not number.isdecimal() or len(hexadecimal) != len(START) or set(hexadecimal) - set("0123456789abcdef"):
        raise ValueError(f"expected NUMBER:HASH as `audit head` prints it, got {text!r:.100}")
    return Head(int(number), hexadecimal)


def verify(session: Session, noted: Head | None = None) -> Verdict:
    """Check numbers, hashes and the chain of all lines, and that a head that was noted before is still among them."""
    good = Head(0, START)
    for row in _rows(session):
        fault = _fault(row, good, noted)
        if fault is not None:
            return Verdict(good.number, good, fault)
        good = Head(row.number, row.hash)
    if noted is not None and noted.number > good.number:
        cut = f"lines {good.number + 1} to {noted.number} are missing at the end: {noted} was noted"
        return Verdict(good.number, good, cut)
    return Verdict(good.number, good)


def _fault(row: AuditRow, good: Head, noted: Head | None) -> str | None:
    if row.number != good.number + 1:
        return f"line {good.number + 1}: expected it after line {good.number}, found line {row.number}"
    if row.before != good.hash:
        return f"line {row.number}: expected the hash of the line before, {good.hash}, got {row.before}"
    if row.hash != digest(row):
        return f"line {row.number}: expected the hash {digest(row)} of what it says, got {row.hash}; it was changed"
    if noted is not None and row.number == noted.number and row.hash != noted.hash:
        return f"line {row.number}: expected the hash {noted.hash} that was noted, got {row.hash}; lines were rewritten"
    return None


def _rows(session: Session) -> Iterator[AuditRow]:
    """All lines in order, a part at a time; apart from the session, which would keep them all."""
    query = select(*AuditRow.__table__.columns).order_by(AuditRow.number).limit(CHUNK)
    found = session.execute(query).mappings().all()
    while found:
        for line in found:
            yield AuditRow(**line)
        found = session.execute(query.where(AuditRow.number > found[-1]["number"])).mappings().all()


def show(
    session: Session,
    *,
    before: int | None = None,
    limit: int = 100,
    of: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    from_ms: int | None = None,
    until_ms: int | None = None,
) -> list[AuditRow]:
    """Newest lines first: those before a number, of one thing, of one actor, of actions that begin like this."""
    query = select(AuditRow).order_by(AuditRow.number.desc()).limit(limit)
    if before is not None:
        query = query.where(AuditRow.number < before)
    if of is not None:
        query = query.where(AuditRow.object == of)
    if actor is not None:
        query = query.where(AuditRow.actor == actor)
    if action is not None:
        query = query.where(AuditRow.action.startswith(action, autoescape=True))
    if from_ms is not None:
        query = query.where(AuditRow.at_ms >= from_ms)
    if until_ms is not None:
        query = query.where(AuditRow.at_ms < until_ms)
    return list(session.scalars(query))


def line_json(row: AuditRow) -> dict[str, Any]:
    """One line for programs."""
    return {
        "number": row.number,
        "at_ms": row.at_ms,
        "actor": row.actor,
        "action": row.action,
        "object": row.object,
        "detail": json.loads(row.detail),
        "hash": row.hash,
    }
