"""Pictures that people take, beside those of the boxes: role `worker_after`.

What comes from a telephone is decoded and written anew, so that its place, its maker and whatever else hides in it stay
behind; the instant and the size are kept. No face in it is masked: whoever shows it has to know.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.evidence import ledger
from collector.evidence.jpeg import taken_at
from collector.evidence.previews import decode, encode, one_at_a_time
from collector.people import audit
from collector.people.actor import Actor, Role
from collector.people.rights import may
from collector.store import IncidentRow, PictureRow, Ticket, TicketEvent
from collector.tickets.desk import RefusedError, hold, unknown
from collector.tickets.machine import FINAL, State

REPORTED: Final = "report-"
"""Before the number of a ticket that no camera has seen, in place of its incident."""
ROLE: Final = "worker_after"
FOUND: Final = "at"
MOST_BYTES: Final = 8 * 2**20
MOST_PICTURES: Final = 20
"""Of one ticket."""
QUALITY: Final = 88
OLDEST_MS: Final = 30 * 86_400_000
AFTER_MS: Final = 86_400_000
"""That pictures are still taken after a ticket is closed: a telephone may have had no network."""
AHEAD_MS: Final = 3_600_000
"""That a telephone's clock may be before the center's."""


@dataclass(frozen=True)
class Upload:
    """A picture as it is kept.

    Args:
        sha256: of `jpeg`.
        taken_ms: when, as the telephone says; None: it does not, or says what cannot be.
    """

    jpeg: bytes
    sha256: str
    width: int
    height: int
    taken_ms: int | None


def read_upload(content: bytes, zone: tzinfo, now_ms: int, said_ms: int | None = None) -> Upload:
    """Write anew what a telephone sent; raises ValueError for what is no picture, or too large a one.

    Args:
        content: JPEG.
        zone: of instants in its Exif that name none.
        now_ms: the center's clock.
        said_ms: when it was taken, as whoever sends it says; for one without Exif.
    """
    if len(content) > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} bytes, got {len(content)}")
    said = taken_at(content, zone)
    with one_at_a_time:
        picture = decode(content)
        jpeg = encode(picture, QUALITY)
    height, width = picture.shape[:2]
    taken_ms = said_ms if said is None else round(said.timestamp() * 1000)
    good = taken_ms is not None and now_ms - OLDEST_MS <= taken_ms <= now_ms + AHEAD_MS
    return Upload(jpeg, hashlib.sha256(jpeg).hexdigest(), width, height, taken_ms if good else None)


def report_key(number: int) -> str:
    """What stands in place of an incident with a picture of a ticket that no camera has seen."""
    return f"{REPORTED}{number}"


def reported_number(incident: str) -> int | None:
    """The ticket of such a key; None for an incident."""
    number = incident.removeprefix(REPORTED)
    return int(number) if number != incident and number.isdecimal() else None


def of_report(session: Session, ticket: Ticket) -> Sequence[PictureRow]:
    """Pictures of a ticket that no camera has seen, as they came."""
    if ticket.report is None:
        return []
    own = select(PictureRow).where(PictureRow.incident == report_key(ticket.number))
    return session.scalars(own.order_by(PictureRow.received_ms)).all()


def keep(session: Session, actor: Actor, number: int, key: str, taken: Upload, now_ms: int) -> tuple[PictureRow, bool]:
    """Put a picture to a ticket, and whether it is new: the same key again is the same picture. Raises RefusedError.

    Args:
        session: a transaction that writes; the file is there already, see `graves.written`.
        actor: whoever took it: the one whom the ticket is assigned to, an operator or an admin.
        number: the ticket's.
        key: made by the telephone, for this picture alone.
        taken: the picture.
        now_ms: the center's clock.
    """
    ticket = hold(session, number)
    _check(ticket, actor)
    name = f"worker:{number}:{actor.id}:{key}"
    known = session.get(PictureRow, name)
    if known is not None:
        if known.sha256 != taken.sha256:
            raise RefusedError(
                "used",
                f"key {key}: expected a new one for another picture, it was used before",
                "此编号已用于另一张图片",
            )
        return known, False
    of_ticket = select(IncidentRow.id).where(IncidentRow.ticket_number == number).order_by(IncidentRow.opened_ms)
    incidents = session.scalars(of_ticket).all() or [report_key(number)]
    # before anybody has confirmed it, a picture shows what was reported
    role = FOUND if ticket.box_id is None and ticket.state == State.PENDING_REVIEW else ROLE
    here = select(PictureRow).where(PictureRow.incident.in_(incidents), PictureRow.author != "")
    same = session.scalars(here.where(PictureRow.sha256 == taken.sha256)).first()
    if same is not None:
        return same, False
    if ticket.state in FINAL and now_ms - (ticket.closed_ms or 0) > AFTER_MS:
        raise RefusedError(
            "not_now",
            f"ticket {number}: expected one that is open, or closed within the last day, got {ticket.state}",
            "工单办结已超过一天，不再接收图片",
        )
    if (session.scalar(select(func.count()).select_from(here.subquery())) or 0) >= MOST_PICTURES:
        raise RefusedError(
            "enough",
            f"ticket {number}: expected at most {MOST_PICTURES} pictures of people",
            f"每张工单最多上传 {MOST_PICTURES} 张图片",
        )
    row = PictureRow(
        id=name,
        box_id=ticket.box_id,
        incident=incidents[-1],
        role=role,
        view="wide",
        sha256=taken.sha256,
        bytes=len(taken.jpeg),
        received_ms=now_ms,
        author=str(actor),
        masked=0,
        taken_ms=taken.taken_ms,
        width=taken.width,
        height=taken.height,
    )
    session.add(row)
    ledger.append_rows(session, [row], now_ms)
    detail = {"role": role, "sha256": taken.sha256, "width": taken.width, "height": taken.height, "masked": False}
    _write(session, ticket, actor, detail, now_ms)
    return row, True


def _check(ticket: Ticket, actor: Actor) -> None:
    if not may(actor, "tickets.act", ticket.street):
        raise unknown(ticket.number)
    roles = actor.roles(ticket.street)
    assigned = ticket.assignee in (actor.id, str(actor))
    free = ticket.assignee is None and bool(roles & {Role.GRID_WORKER, Role.OFFICER})
    if actor.kind == "person" and not (assigned or free or roles & {Role.OPERATOR, Role.ADMIN}):
        whose = ticket.assignee or "nobody"
        raise RefusedError("not_yours", f"ticket {ticket.number}: it is assigned to {whose}", "此工单不由您承办")


def _write(session: Session, ticket: Ticket, actor: Actor, detail: dict[str, Any], now_ms: int) -> None:
    """On the time line and in the log; no step of the ticket, so that it outdates nobody's `seen`."""
    via = {"via": actor.via} if actor.via else {}
    ticket.changed_ms = now_ms
    session.add(
        TicketEvent(
            ticket_number=ticket.number,
            kind="picture",
            at_ms=now_ms,
            received_ms=now_ms,
            detail=json.dumps({**detail, **via}),
            author=str(actor),
        )
    )
    audit.record(session, actor, "ticket.picture", f"ticket/{ticket.number}", detail, now_ms)
