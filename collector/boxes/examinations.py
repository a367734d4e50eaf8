"""Reports of boxes' doctors: the newest is how an installation is, and one that was accepted is its record."""

import json

from pydantic import ValidationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from collector.boxes.orders import OrderError
from collector.people import audit
from collector.people.actor import Actor
from collector.store import CommandRow, ExaminationRow
from protocol.commands import Examined, Reply

KEPT = 50
"""Of a box, besides those that were accepted."""
LONGEST = 500


def take(session: Session, row: CommandRow, reply: Reply, received_ms: int) -> None:
    """Keep the report that answers `examine`; one that is none is said to have failed."""
    try:
        report = Examined.model_validate(reply.data)
    except ValidationError:
        row.state, row.code, row.text = "failed", "invalid", "expected a report of the doctor, got something else"
        return
    values = {"command_id": row.id, "by": row.by, "report": report.model_dump_json(), "received_ms": received_ms}
    session.add(ExaminationRow(box_id=row.box_id, accepted_by="", handed_over_by="", note="", **values))
    session.flush()
    open_ones = ExaminationRow.box_id == row.box_id, ExaminationRow.accepted_ms.is_(None)
    kept = select(ExaminationRow.number).where(*open_ones).order_by(ExaminationRow.number.desc()).limit(KEPT)
    session.execute(delete(ExaminationRow).where(*open_ones, ExaminationRow.number.not_in(kept)))


def read(row: ExaminationRow) -> Examined:
    """What the doctor said."""
    return Examined.model_validate(json.loads(row.report))


def accept(session: Session, actor: Actor, row: ExaminationRow, name: str, note: str, now_ms: int) -> None:
    """Accept an installation as it was found; raises OrderError.

    Args:
        session: a transaction.
        actor: who accepts.
        row: the report.
        name: who hands it over.
        note: why it is accepted although something fails; needed then.
        now_ms: milliseconds since the epoch.
    """
    name, note = name.strip(), note.strip()
    failed = sum(one.state == "FAIL" for one in read(row).findings)
    if row.accepted_ms is not None:
        raise OrderError("已经验收 / it was accepted already")
    if not name or max(len(name), len(note)) > LONGEST:
        raise OrderError(f"请填写移交人，最多 {LONGEST} 字 / expected who hands it over, at most {LONGEST} letters")
    if failed and not note:
        raise OrderError("有故障项，请写明为何仍予验收 / something fails: expected why it is accepted all the same")
    row.accepted_ms, row.accepted_by, row.handed_over_by, row.note = now_ms, str(actor), name, note
    audit.record(
        session, actor, "box.accepted", f"box/{row.box_id}", {"examination": row.number, "failed": failed}, now_ms
    )
