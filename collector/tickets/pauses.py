"""Keeping a zone or a camera quiet for a while, with a reason: against floods.

A ticket that opens in a paused place is kept quiet and counted; it comes up when the pause ends and it still stands.
"""

from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.people.audit import record
from collector.people.rights import may
from collector.store import Box, PauseRow, Ticket
from collector.tickets.advance import Quiet
from collector.tickets.desk import RefusedError, look_at_all
from collector.tickets.machine import State
from collector.tickets.seams import Place

LONGEST_MS = 90 * 24 * 3600 * 1000
"""What has to be quiet for longer needs other settings."""


def begin(
    session: Session, actor: Actor, box: str, camera: str, zone: str | None, *, until_ms: int, reason: str, at_ms: int
) -> PauseRow:
    """Keep a camera, or one of its zones, quiet until an instant; raises RefusedError."""
    known = session.get(Box, box)
    if known is None or not may(actor, "pauses.write", known.site):
        # what is elsewhere looks as what is not there: nobody learns of other streets
        text = f"box: expected one where you may pause, got {box!r:.80}"
        raise RefusedError("invalid", text, f"box：应为您可暂停的设备，收到 {box!r:.80}")
    if not reason.strip():
        raise RefusedError("missing", "reason: expected why it is paused, got none", "reason：请写明暂停原因")
    if not at_ms < until_ms <= at_ms + LONGEST_MS:
        text = f"until: expected an instant within the next 90 days, got {until_ms}"
        raise RefusedError("invalid", text, f"until：应在今后 90 天之内，收到 {until_ms}")
    row = PauseRow(
        street=known.site,
        box_id=box,
        camera=camera,
        zone=zone,
        from_ms=at_ms,
        until_ms=until_ms,
        reason=reason.strip(),
        author=str(actor),
    )
    session.add(row)
    session.flush()
    look_at_all(session, _waiting(session, box, camera, zone))
    detail = {"box": box, "camera": camera, "zone": zone, "until_ms": until_ms, "reason": row.reason}
    record(session, actor, "pause.begin", f"pause/{row.number}", detail, at_ms)
    return row


def end(session: Session, actor: Actor, number: int, *, at_ms: int) -> PauseRow:
    """End a pause now; what it kept quiet comes up. Raises RefusedError."""
    row = session.get(PauseRow, number, populate_existing=True)
    if row is None or row.until_ms <= at_ms or not may(actor, "pauses.write", row.street):
        text = f"expected a pause that goes on where you may end it, got {number}"
        raise RefusedError("unknown", text, f"没有您可结束的暂停 {number}")
    row.until_ms, row.ended_by = at_ms, str(actor)
    session.flush()
    held = select(Ticket.number, Ticket.key).where(Ticket.pause == number, Ticket.paused_until_ms.is_not(None))
    look_at_all(session, {one.number: one.key for one in session.execute(held)})
    record(session, actor, "pause.end", f"pause/{number}", {}, at_ms)
    return row


def covering(session: Session, places: Sequence[Place], at_ms: int) -> Quiet | None:
    """The pause that keeps all of these places quiet now; the one that ends first."""
    found = []
    for place in places:
        row = session.scalars(
            select(PauseRow)
            .where(
                PauseRow.box_id == place.box,
                PauseRow.camera == place.camera,
                or_(PauseRow.zone.is_(None), PauseRow.zone == place.zone),
                PauseRow.from_ms <= at_ms,
                PauseRow.until_ms > at_ms,
            )
            .order_by(PauseRow.until_ms.desc())
            .limit(1)
        ).first()
        if row is None:
            return None
        found.append(Quiet(row.number, row.until_ms))
    return min(found, key=lambda one: one.until_ms, default=None)


def listed(session: Session, at_ms: int, *, ended: bool = False) -> list[tuple[PauseRow, int]]:
    """Pauses and how many tickets each has kept quiet, newest first."""
    query = select(PauseRow).order_by(PauseRow.number.desc()).limit(500)
    if not ended:
        query = query.where(PauseRow.until_ms > at_ms)
    counted = dict(
        session.execute(
            select(Ticket.pause, func.count()).where(Ticket.pause.is_not(None)).group_by(Ticket.pause)
        ).all()
    )
    return [(row, counted.get(row.number, 0)) for row in session.scalars(query)]


def _waiting(session: Session, box: str, camera: str, zone: str | None) -> dict[int, str]:
    """Tickets that wait for review there, and their keys."""
    query = select(Ticket.number, Ticket.key).where(
        Ticket.open == 1, Ticket.state == State.PENDING_REVIEW, Ticket.box_id == box, Ticket.camera == camera
    )
    if zone is not None:
        query = query.where(Ticket.zone == zone)
    return {one.number: one.key for one in session.execute(query)}
