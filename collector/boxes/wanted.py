"""Settings of boxes: revisions that the center wants, what the boxes report, and edits that were made on them.

An edit on a box becomes the next revision where it is based on the newest one. Where somebody was quicker here, it is a
conflict: kept and shown, and the center's newest revision stays the one that is wanted.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from collector.boxes.orders import CENTER, Outgoing
from collector.store import Box, SettingsReport, SettingsRow, lock
from protocol.desired import MAX_SETTINGS_BYTES, SETTINGS_DESIRED, Desired, DesiredEvent, Edit, Reported
from protocol.instants import from_epoch
from protocol.messages import MessageError, dataschema, source
from protocol.settings import CamerasDocument, DocumentError, read_document
from protocol.topics import Topic

log = logging.getLogger(__name__)

AGAIN_MS: Final = 10_000
"""A revision of which a box knows nothing is published again; the broker may have lost it."""
UNHEARD_MS: Final = 60_000
MAX_UNHEARD_MS: Final = 600_000
"""A connected box that says nothing of a revision gets it again after a minute, then twice as long, at most this."""
ENVELOPE_BYTES: Final = 2048


class WantedError(Exception):
    """Settings that cannot be wanted; one line that says what was expected, what came and what to do."""


def newest(session: Session, box: str, *, to_change: bool = False) -> SettingsRow | None:
    """The revision that is wanted; None where nothing is known of the box's settings.

    Args:
        session: a transaction.
        box: its id.
        to_change: nobody else changes it meanwhile.
    """
    query = (
        select(SettingsRow)
        .where(SettingsRow.box_id == box, SettingsRow.revision.is_not(None))
        .order_by(SettingsRow.revision.desc())
        .limit(1)
    )
    return session.scalars(query.with_for_update() if to_change else query).first()


def history(session: Session, box: str) -> Sequence[SettingsRow]:
    """All revisions and conflicts, newest first."""
    return session.scalars(
        select(SettingsRow).where(SettingsRow.box_id == box).order_by(SettingsRow.number.desc())
    ).all()


def want(
    session: Session, box: str, document: CamerasDocument, *, by: str, now_ms: int, based_on: int | None = None
) -> SettingsRow:
    """Make a new revision of a box's settings; raises WantedError.

    Args:
        session: a transaction.
        box: a box that is known.
        document: what is wanted.
        by: who wants it.
        now_ms: milliseconds since the epoch.
        based_on: the revision that it was made from; refused where there is a newer one. None: whatever is newest.
    """
    lock(session, [f"settings {box}"])
    last = newest(session, box)
    last_revision = 0 if last is None or last.revision is None else last.revision
    if based_on is not None and based_on != last_revision:
        raise WantedError(
            f"box {box}: expected an edit of revision {last_revision}, the newest, got one of {based_on}; "
            "look at `settings diff` and make it again"
        )
    size = len(json.dumps(document.values()).encode())
    if size > MAX_SETTINGS_BYTES - ENVELOPE_BYTES:
        raise WantedError(f"box {box}: expected settings of at most {MAX_SETTINGS_BYTES} bytes, got {size}")
    return _add(session, box, document, based_on=last_revision, by=by, now_ms=now_ms, state="wanted", last=last)


def inherit(session: Session, old: str, new: str, *, by: str, now_ms: int) -> None:
    """Give a box that replaces another the settings of that one. Secrets were sealed to the old one: they do not go."""
    row = newest(session, old)
    if row is not None:
        want(session, new, read_document(json.loads(row.document)), by=by, now_ms=now_ms)


def _behind() -> Select[Any]:
    return select(SettingsRow.box_id).where(SettingsRow.revision.is_not(None), SettingsRow.sent_ms.is_(None))


def any_due(session: Session) -> bool:
    """Whether something is to be published."""
    return session.scalars(_behind().limit(1)).first() is not None


def due(session: Session, center: str) -> list[Outgoing]:
    """What is to be published: newest revisions that were not, or not since a box's edit was taken."""
    found = []
    for box, site in session.execute(select(Box.id, Box.site).where(Box.id.in_(_behind()))).all():
        row = newest(session, box, to_change=True)
        if row is not None and row.sent_ms is None:
            found.append(Outgoing(row.number, Topic(site, box, "settings/desired"), _event(row, center).to_json()))
    return found


def sent(session: Session, number: int, now_ms: int) -> None:
    """Note that a revision was published, and those before it need not be any more."""
    row = session.get_one(SettingsRow, number)
    session.execute(
        update(SettingsRow)
        .where(SettingsRow.box_id == row.box_id, SettingsRow.revision <= row.revision, SettingsRow.sent_ms.is_(None))
        .values(sent_ms=now_ms)
    )


def forget_unheard(session: Session, now_ms: int) -> None:
    """Have revisions published again that were lost on their way: their box is connected and does not speak of them.

    What it does not know when it connects it says by itself (`take_reported`); while it stays connected, nobody asks.
    """
    newest_revisions = (
        select(SettingsRow.box_id, func.max(SettingsRow.revision).label("revision"))
        .join(Box, Box.id == SettingsRow.box_id)
        .where(Box.state == "online", SettingsRow.revision.is_not(None))
        .group_by(SettingsRow.box_id)
        .subquery()
    )
    told = SettingsReport
    unheard = (
        select(SettingsRow)
        .join(
            newest_revisions,
            (SettingsRow.box_id == newest_revisions.c.box_id) & (SettingsRow.revision == newest_revisions.c.revision),
        )
        .outerjoin(told, told.box_id == SettingsRow.box_id)
        .where(SettingsRow.sent_ms <= now_ms - UNHEARD_MS)
        .where(told.box_id.is_(None) | (told.revision < SettingsRow.revision))
        .where(told.wanted.is_(None) | (told.wanted != SettingsRow.revision))
    )
    for row in session.scalars(unheard):
        sent_ms = row.sent_ms or 0
        # the time that it has been tried for doubles with each try
        if now_ms - sent_ms >= min(MAX_UNHEARD_MS, max(UNHEARD_MS, sent_ms - row.made_ms)):
            log.info(
                "box %s: it says nothing of revision %s of its settings; sending it again", row.box_id, row.revision
            )
            row.sent_ms = None
    session.flush()


def take_reported(session: Session, box: Box, reported: Reported, received_ms: int) -> None:
    """Take what a box says of its settings; raises MessageError for an edit that is no document."""
    report = session.get(SettingsReport, box.id) or SettingsReport(box_id=box.id)
    report.revision, report.digest, report.state = reported.revision, reported.digest, reported.state
    report.wanted, report.errors, report.received_ms = reported.wanted, json.dumps(reported.errors), received_ms
    session.add(report)
    if reported.edit is not None:
        _take_edit(session, box, reported.edit, received_ms)
    if reported.wanted is not None:
        session.execute(
            update(SettingsRow)
            .where(SettingsRow.box_id == box.id, SettingsRow.revision == reported.wanted)
            .values(state=reported.state, errors=json.dumps(reported.errors))
        )
    last = newest(session, box.id, to_change=True)
    if last is None:
        return
    unheard = (last.revision or 0) > reported.revision and last.revision != reported.wanted
    if unheard and last.sent_ms is not None and received_ms - last.sent_ms >= AGAIN_MS:
        last.sent_ms = None


def _take_edit(session: Session, box: Box, edit: Edit, received_ms: int) -> None:
    try:
        document = read_document(edit.document)
    except DocumentError as fault:
        raise MessageError("invalid", f"settings of the box: {fault.faults[0]}") from None
    last = newest(session, box.id, to_change=True)
    taken = session.scalars(
        select(SettingsRow).where(
            SettingsRow.box_id == box.id,
            SettingsRow.by == "box",
            SettingsRow.digest == edit.digest,
            SettingsRow.based_on == edit.based_on,
        )
    ).first()
    if taken is None:
        newest_revision = 0 if last is None or last.revision is None else last.revision
        state = "applied" if edit.based_on == newest_revision else "conflict"
        log.info("box %s: its settings were edited there, based on %d: %s", box.id, edit.based_on, state)
        taken = _add(
            session, box.id, document, based_on=edit.based_on, by="box", now_ms=received_ms, state=state, last=last
        )
        taken.digest = edit.digest
    last = newest(session, box.id, to_change=True)
    if last is not None:
        # the box tells of it until it hears this
        last.answers, last.sent_ms = edit.digest, None


def _add(
    session: Session,
    box: str,
    document: CamerasDocument,
    *,
    based_on: int,
    by: str,
    now_ms: int,
    state: str,
    last: SettingsRow | None,
) -> SettingsRow:
    # a box may be ahead of a center that was restored from a back-up
    seen = session.scalar(select(func.max(SettingsReport.revision)).where(SettingsReport.box_id == box)) or 0
    known = 0 if last is None or last.revision is None else last.revision
    row = SettingsRow(
        box_id=box,
        revision=None if state == "conflict" else max(seen, known) + 1,
        based_on=based_on,
        document=json.dumps(document.values()),
        digest=document.digest(),
        by=by,
        made_ms=now_ms,
        state=state,
        errors="[]",
        answers=None if last is None else last.answers,
    )
    session.add(row)
    session.flush()
    return row


def _event(row: SettingsRow, center: str) -> DesiredEvent:
    document: dict[str, Any] = json.loads(row.document)
    return DesiredEvent(
        id=f"{row.box_id}:settings:{row.revision}",
        source=source(CENTER, center),
        type=SETTINGS_DESIRED,
        time=from_epoch(row.made_ms / 1000),
        dataschema=dataschema("settings-desired"),
        data=Desired(revision=row.revision or 0, document=document, answers=row.answers),
    )
