"""Verifying the whole store: every picture on disk against its row, seals, and both chains; names what is wrong."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.evidence import ledger, seals
from collector.evidence.files import PictureFiles
from collector.evidence.graves import deleted
from collector.evidence.retention import ACTION, CARRIED, DELETED, RETAINED
from collector.exchange import reports
from collector.inbox.clocks import milliseconds
from collector.people import audit
from collector.people.audit import Head
from collector.store import (
    AuditRow,
    Box,
    HoldRow,
    IncidentRow,
    LedgerRow,
    MessageRow,
    PictureRow,
    ReportRow,
    SealRow,
    TicketEvent,
    among,
)
from protocol.messages import Incident, IncidentEvent, read_event
from protocol.seal import picture_link

CHUNK: Final = 500
COVERED: Final = (
    "pictures, their rows, messages, incidents, seals, legal holds, reports, people's steps and deletions; both logs"
)
OPEN: Final = (
    "rows of tickets, lines that cameras wrote on time lines (their messages are), which ticket an incident is in"
)
"""What `check` does not compare, see docs/design/evidence.md."""


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
    yield from _holds(session)


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
        rows = among(session, ReportRow, ReportRow.ticket_number, numbers)
        said = {f"ticket/{row.ticket_number}": reports.digest(row) for row in rows}
        for one in found:
            detail, action = _object(one.detail), one.action
            if action in ("ticket.report", "ticket.reported"):  # the former: of older versions
                action, sha256 = "ticket.reported", detail.pop("sha256", None)
                if sha256 not in (None, said.get(one.object)):
                    yield f"{one.object}: its report is not what audit line {one.number} says; changed or deleted"
            key = (one.object, action, one.at_ms, one.actor, _text(detail))
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
    """Incidents that are not what their newest message said; seals that are lacking or not what they were."""
    lost = select(MessageRow.incident).where(MessageRow.incident.not_in(select(IncidentRow.id)))
    for name in session.scalars(lost.distinct()):
        yield f"incident {name}: its row was deleted"
    lines = session.scalars(select(AuditRow.detail).where(AuditRow.action == "evidence.broken"))
    now = session.scalars(select(SealRow.picture_id).where(SealRow.state == seals.BROKEN))
    for name in sorted({str(_object(text).get("picture")) for text in lines} ^ set(now)):
        yield f"picture {name}: only one of its seal's row and the audit log says that it was broken"
    # what came before there was a ledger came before there were seals
    since_ms = session.scalar(select(func.min(LedgerRow.at_ms)).where(LedgerRow.number == 1))
    keys = {row.id: row.public_key for row in session.execute(select(Box.id, Box.public_key))}
    query = select(*IncidentRow.__table__.columns).order_by(IncidentRow.id).limit(CHUNK)
    rows: Sequence[Any] = session.execute(query).all()
    while rows:
        known = {one.picture_id: one for one in among(session, SealRow, SealRow.incident, {row.id for row in rows})}
        last = select(MessageRow.incident, func.max(MessageRow.seq)).group_by(MessageRow.incident)
        of = session.execute(last.where(MessageRow.incident.in_([row.id for row in rows])))
        newest = among(session, MessageRow, MessageRow.id, {f"{name}:{seq}" for name, seq in of})
        came = {one.incident: one for one in newest}
        for row in rows:
            message = came.get(row.id)
            incident = None if message is None else _incident(row, message)
            if message is None or incident is None:
                yield f"incident {row.id}: its row is not what its newest message said"
                continue
            records = incident.evidence
            for record in records:
                name = seals.picture_id(row.id, record)
                seal = known.pop(name, None)
                if seal is None and since_ms is not None and message.received_ms >= since_ms:
                    yield f"picture {name}: its seal was deleted"
                if seal is not None and seal.state == seals.GOOD:
                    _, why = seals.judge(row.id, record, keys.get(row.box_id))
                    if why or seal.link != picture_link(row.id, record):
                        yield f"picture {name}: its seal was good as it came, and is not now: {why or 'it was changed'}"
        for name in sorted(known):
            yield f"picture {name}: its incident does not name it any longer"
        session.expire_all()
        rows = session.execute(query.where(IncidentRow.id > rows[-1].id)).all()


def _incident(row: Any, message: MessageRow) -> Incident | None:
    """What the newest message of an incident said; None where its row says otherwise."""
    try:
        said = read_event(message.payload.encode(), IncidentEvent).data
        same = Incident.model_validate_json(row.data) == said
    except ValueError:
        return None
    by_ms = 0 if message.at_ms is None else message.at_ms - milliseconds(said.at)  # as `intake` shifted it
    cleared_ms = None if said.cleared_at is None else milliseconds(said.cleared_at) + by_ms
    ended_ms = None if said.reason is None else milliseconds(said.at) + by_ms
    times = (milliseconds(said.opened_at) + by_ms, cleared_ms, ended_ms)
    state = "ended" if ended_ms is not None else "open" if cleared_ms is None else "cleared"
    same = same and (row.opened_ms, row.cleared_ms, row.ended_ms) == times
    same = same and (row.box_id, row.seq, row.visibility) == (message.box_id, said.seq, said.visibility)
    return said if same and (row.state == state or (row.state, state) == ("orphaned", "open")) else None


def _holds(session: Session) -> Iterator[str]:
    """Legal holds that are not what the audit log says."""
    said: dict[str, list[tuple[Any, ...]]] = {}
    now: dict[str, list[tuple[Any, ...]]] = {}
    lines = select(AuditRow).where(AuditRow.action.in_([*ACTION.values(), CARRIED])).order_by(AuditRow.number)
    for one in session.scalars(lines):
        of = said.setdefault(one.object, [])
        if one.action == CARRIED:
            of[:] = [tuple(row) for row in _object(one.detail).get("holds", ())]
        elif one.action == ACTION[True]:
            of.append((one.actor, _object(one.detail).get("reason"), one.at_ms, None, None))
        elif of:
            of[-1] = (*of[-1][:3], one.at_ms, one.actor)
    for row in session.scalars(select(HoldRow).order_by(HoldRow.number)):
        held = (row.by, row.why, row.since_ms, row.lifted_ms, row.lifted_by)
        now.setdefault(f"ticket/{row.ticket_number}", []).append(held)
    for name in sorted(said.keys() | now.keys()):
        if said.get(name) != now.get(name):
            yield f"{name}: its legal holds are not what the audit log says; changed or deleted"


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
