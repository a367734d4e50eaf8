"""Verifying the whole store: every picture on disk against its row, seals, and both chains; names what is wrong."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.evidence import ledger, seals
from collector.evidence.files import PictureFiles
from collector.evidence.retention import DELETED, RETAINED, deleted
from collector.people import audit
from collector.people.audit import Head
from collector.store import AuditRow, Box, IncidentRow, MessageRow, PictureRow, SealRow, TicketEvent, among
from protocol.messages import Incident, IncidentEvent, read_event
from protocol.seal import picture_link

CHUNK: Final = 500


def check(session: Session, files: PictureFiles, noted: Head | None = None) -> Iterator[str]:
    """What is wrong, one line each; nothing where all is good. Raises OSError where pictures cannot be read at all.

    Args:
        session: reads.
        files: where pictures lie.
        noted: a head of the audit log that was written down elsewhere.
    """
    verdict = audit.verify(session, noted)
    if verdict.fault is not None:
        yield f"audit log: {verdict.fault}"
    yield from _steps(session)
    yield from ledger.verify(session, list(_noted_heads(session)))
    yield from _pictures(session, files)
    yield from _seals(session)


def _noted_heads(session: Session) -> Iterator[Head]:
    """Heads of the ledger that retention wrote into the audit log."""
    for text in session.scalars(select(AuditRow.detail).where(AuditRow.action == RETAINED).order_by(AuditRow.number)):
        head = _object(text).get("ledger", "")
        if isinstance(head, str) and head.partition(":")[0].isdecimal() and not head.startswith("0:"):
            yield audit.read_head(head)


def _steps(session: Session) -> Iterator[str]:
    """Each step of a ticket is in the audit log and on its time line: a line of the latter that differs was changed."""
    lines = select(AuditRow.number, AuditRow.at_ms, AuditRow.actor, AuditRow.action, AuditRow.object, AuditRow.detail)
    lines = lines.where(AuditRow.action.startswith("ticket.")).order_by(AuditRow.number).limit(CHUNK)
    found: Sequence[Any] = session.execute(lines).all()
    while found:
        numbers = {int(one.object.removeprefix("ticket/")) for one in found if _number(one.object)}
        here = set()
        for row in among(session, TicketEvent, TicketEvent.ticket_number, numbers):
            detail = {**_object(row.detail), **({"reason": row.reason} if row.reason else {})}
            here.add((f"ticket/{row.ticket_number}", f"ticket.{row.kind}", row.at_ms, row.author, _text(detail)))
        for one in found:
            key = (one.object, one.action, one.at_ms, one.actor, _text(_object(one.detail)))
            if _number(one.object) and key not in here:
                yield f"{one.object}: its time line lacks {one.action} of audit line {one.number}; changed or deleted"
        session.expire_all()
        found = session.execute(lines.where(AuditRow.number > found[-1].number)).all()


def _pictures(session: Session, files: PictureFiles) -> Iterator[str]:
    columns = (PictureRow.id, PictureRow.sha256, PictureRow.bytes, PictureRow.deleted_ms, PictureRow.deleted_line)
    query = select(*columns).order_by(PictureRow.id).limit(CHUNK)
    rows: Sequence[Any] = session.execute(query).all()
    while rows:
        said = _said(session, {row.deleted_line for row in rows} - {None})
        gone = deleted(session, [row.sha256 for row in rows if row.deleted_ms is not None])
        for row in rows:
            if row.deleted_ms is None:
                yield from _file(files, row)
            elif row.id not in said.get(row.deleted_line, ()):
                yield f"picture {row.id}: its row says that it was deleted, the audit log does not"
            elif row.sha256 in gone and files.has(row.sha256):
                yield f"picture {row.id}: its file is there, though it was deleted"
        session.expire_all()
        rows = session.execute(query.where(PictureRow.id > rows[-1].id)).all()


def _file(files: PictureFiles, row: Any) -> Iterator[str]:
    try:
        content = files.read(row.sha256)
    except ValueError:
        yield f"picture {row.id}: its row names no SHA-256"
    except FileNotFoundError:
        yield f"picture {row.id}: its file is missing"
    else:
        if hashlib.sha256(content).hexdigest() != row.sha256:
            yield f"picture {row.id}: its file was changed"


def _said(session: Session, numbers: set[int]) -> dict[int, frozenset[str]]:
    """Pictures that lines of the audit log say were deleted."""
    lines = select(AuditRow.number, AuditRow.detail).where(AuditRow.number.in_(numbers), AuditRow.action == DELETED)
    return {one.number: frozenset(_object(one.detail).get("pictures", ())) for one in session.execute(lines)}


def _seals(session: Session) -> Iterator[str]:
    """Seals that were good as they came, and are not what the incident says now."""
    keys = {row.id: row.public_key for row in session.execute(select(Box.id, Box.public_key))}
    query = (
        select(IncidentRow.id, IncidentRow.box_id, IncidentRow.seq, IncidentRow.data)
        .order_by(IncidentRow.id)
        .limit(CHUNK)
    )
    rows: Sequence[Any] = session.execute(query).all()
    while rows:
        known = {one.picture_id: one for one in among(session, SealRow, SealRow.incident, {row.id for row in rows})}
        newest = {f"{row.id}:{row.seq}" for row in rows}
        came = {one.incident: one.payload for one in among(session, MessageRow, MessageRow.id, newest)}
        for row in rows:
            incident: Incident | None = None
            said: Incident | None = None
            try:
                incident = Incident.model_validate_json(row.data)
                said = read_event(came[row.id].encode(), IncidentEvent).data if row.id in came else incident
            except ValueError:
                incident = None  # said below
            if incident is None or incident != said:
                yield f"incident {row.id}: its row is not what its newest message said"
                continue
            records = incident.evidence
            for record in records:
                name = seals.picture_id(row.id, record)
                seal = known.pop(name, None)
                if seal is not None and seal.state == seals.GOOD:
                    _, why = seals.judge(row.id, record, keys.get(row.box_id))
                    if why or seal.link != picture_link(row.id, record):
                        yield f"picture {name}: its seal was good as it came, and is not now: {why or 'it was changed'}"
        for name in sorted(known):
            yield f"picture {name}: its incident does not name it any longer"
        session.expire_all()
        rows = session.execute(query.where(IncidentRow.id > rows[-1].id)).all()


def _number(of: str) -> bool:
    return of.removeprefix("ticket/").isdecimal()


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}  # a changed line, which its hash tells
    return found if isinstance(found, dict) else {}


def _text(detail: object) -> str:
    return json.dumps(detail, sort_keys=True)
