"""The audit log: a chain of lines, each with the hash of the one before."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.store import AuditRow, lock

START: Final = "0" * 64


def record(session: Session, actor: Actor, action: str, of: str, detail: Mapping[str, object], at_ms: int) -> AuditRow:
    """Append a line in the caller's transaction; it holds the log until that ends, so do it last.

    `of` is `kind/id` of what was changed or looked at; `detail` is what a reader needs, without secrets.
    """
    lock(session, ["audit"])
    session.flush()
    last = session.scalars(select(AuditRow).order_by(AuditRow.number.desc()).limit(1)).first()
    row = AuditRow(
        number=1 if last is None else last.number + 1,
        at_ms=at_ms,
        actor=str(actor),
        action=action,
        object=of,
        detail=json.dumps(detail, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        before=START if last is None else last.hash,
    )
    row.hash = digest(row)
    session.add(row)
    session.flush()
    return row


def digest(row: AuditRow) -> str:
    """Hash of a line: SHA-256 over all its fields and the hash before."""
    fields = [row.number, row.at_ms, row.actor, row.action, row.object, row.detail, row.before]
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()
