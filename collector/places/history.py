"""Revisions of shops, permits, cells and cameras: who changed what, when and why, and what it was before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.people.audit import record
from collector.store import PlaceRevision, write
from protocol.instants import from_epoch, rfc3339


@dataclass(frozen=True)
class Author:
    """Who changes something, when, why, and by which file.

    Args:
        source: SHA-256 of the file; empty for a single change.
    """

    actor: Actor
    at_ms: int
    reason: str = ""
    source: str = ""


@dataclass(frozen=True)
class Step:
    """One change of one record.

    Args:
        before: its texts before; None where it is new.
        after: its texts from now on.
    """

    of: str
    revision: int
    action: str
    before: Mapping[str, str] | None
    after: Mapping[str, str]

    @property
    def fields(self) -> list[str]:
        """Names of what changed."""
        before = self.before or {}
        return sorted(name for name, text in self.after.items() if text != before.get(name, ""))


def keep(session: Session, kind: str, steps: Sequence[Step], author: Author) -> None:
    """Write revisions, and a line of the audit log for each; that one names fields, and nothing in them."""
    rows = [
        {
            "kind": kind,
            "of": step.of,
            "revision": step.revision,
            "action": step.action,
            "document": json.dumps(step.after, ensure_ascii=False),
            "by": str(author.actor),
            "by_name": author.actor.name,
            "reason": author.reason,
            "source": author.source,
            "at_ms": author.at_ms,
        }
        for step in steps
    ]
    write(session, PlaceRevision.__table__, rows)
    for step in steps:
        detail: dict[str, object] = {"revision": step.revision, "fields": step.fields}
        if author.reason:
            detail["reason"] = author.reason
        if author.source:
            detail["source"] = author.source
        record(session, author.actor, f"{kind}.{step.action}", f"{kind}/{step.of}", detail, author.at_ms)


def history(session: Session, kind: str, of: str) -> list[dict[str, Any]]:
    """All revisions of one record, newest first, each with the fields that it changed."""
    query = select(PlaceRevision).where(PlaceRevision.kind == kind, PlaceRevision.of == of)
    found: list[dict[str, Any]] = []
    before: dict[str, str] = {}
    for row in session.scalars(query.order_by(PlaceRevision.revision)):
        document: dict[str, str] = json.loads(row.document)
        changed = {
            name: [before.get(name, ""), text] for name, text in document.items() if text != before.get(name, "")
        }
        found.append(
            {
                "revision": row.revision,
                "action": row.action,
                "at": rfc3339(from_epoch(row.at_ms / 1000)),
                "by": row.by,
                "by_name": row.by_name,
                "reason": row.reason,
                "source": row.source,
                "changed": changed,
                "document": document,
            }
        )
        before = document
    return found[::-1]


def emptied(document: str, names: Sequence[str]) -> str:
    """A revision's document without what these fields held."""
    texts: dict[str, str] = json.loads(document)
    return json.dumps({**texts, **{name: "" for name in names if name in texts}}, ensure_ascii=False)
