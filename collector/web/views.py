"""What the pages show, read from the database."""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from collector.places.standing import Spot, spot, standing
from collector.store import Box, CameraRow, IncidentRow, PictureRow, Ticket, TicketEvent
from collector.tickets.book import GOES_ON
from collector.web import words
from collector.web.words import Words
from protocol.instants import from_epoch, rfc3339
from protocol.messages import Incident
from protocol.pictures import PictureHeader
from protocol.seal import seal_fault

ROWS = 200
"""Tickets on the list."""
_SHA256 = re.compile("[0-9a-f]{64}")
ROLE_ORDER = ("clear", "at", "after")
VIEW_ORDER = ("wide", "close")


@dataclass(frozen=True)
class Clock:
    """Writes instants for people."""

    zone: ZoneInfo
    now: Callable[[], float] = time.time

    @property
    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return round(self.now() * 1000)

    def text(self, at_ms: int | None) -> str:
        """Date and time to the second; empty for None."""
        if at_ms is None:
            return ""
        try:
            return datetime.fromtimestamp(at_ms / 1000, self.zone).strftime("%Y-%m-%d %H:%M:%S")
        except (OverflowError, ValueError, OSError):
            return f"{at_ms} ms"  # of no year that there is


@dataclass(frozen=True)
class PictureView:
    """One picture on a page; not `here` while it is still on its way."""

    role: Words
    view: Words
    is_wide: bool
    sha256: str
    here: bool
    taken_at: str
    width: int
    height: int
    seal: Words
    seal_good: bool


@dataclass(frozen=True)
class IncidentView:
    """One incident of a ticket."""

    id: str
    camera: str
    zone: str
    box: str
    state: str
    seen: bool
    opened: str
    cleared: str
    duration: str
    place: tuple[float, float, float, float]
    labels: str
    count: str
    pictures: tuple[PictureView, ...]
    model: str


@dataclass(frozen=True)
class EventView:
    """One line of the time line."""

    at: str
    text: Words
    detail: Words
    author: str
    said: str


@dataclass(frozen=True)
class RowView:
    """One line of the list of tickets."""

    number: int
    rule: Words
    state: Words
    open: bool
    place: str
    shop: str
    opened: str
    cleared: str
    duration: str
    repeat_of: int | None
    thumbnail: str | None


@dataclass(frozen=True)
class TicketView(RowView):
    """One ticket with all that belongs to it."""

    shop_name: str
    """By the register; empty for none."""
    warning: Words | None
    """Of its shop: nobody is told by itself, or the register alone knows whose place it is."""
    spot: Spot
    incidents: tuple[IncidentView, ...]
    events: tuple[EventView, ...]
    due: str
    overdue: bool
    level: int
    told: str
    shop_due: str
    reviewer: str
    assignee: str
    case_number: str
    permit: str
    paused_until: str
    outcome: Words
    urgency: Words
    kept: tuple[str, ...]


@dataclass(frozen=True)
class CameraView:
    """A camera and the box that reads it."""

    box: str
    box_state: Words
    camera: str
    state: Words
    good: bool
    since: str
    text: str


def at_streets(streets: frozenset[str]) -> Select[str]:
    """Boxes at these streets, to limit rows to them."""
    return select(Box.id).where(Box.site.in_(streets))


def rows(
    session: Session,
    clock: Clock,
    since_ms: int | None = None,
    limit: int = ROWS,
    streets: frozenset[str] | None = None,
) -> list[RowView]:
    """Newest tickets, open ones first; of those that changed since then, or got a picture; None: of all streets.

    One query for the tickets and one for their pictures: this is asked for at every change, by every open page.
    """
    query = select(Ticket).order_by(Ticket.open.desc(), Ticket.number.desc()).limit(limit)
    if since_ms is not None:
        shown = select(PictureRow.incident).where(PictureRow.received_ms >= since_ms)
        pictured = select(IncidentRow.ticket_number).where(IncidentRow.id.in_(shown))
        query = query.where(or_(Ticket.changed_ms >= since_ms, Ticket.number.in_(pictured)))
    if streets is not None:
        query = query.where(Ticket.box_id.in_(at_streets(streets)))
    found = session.scalars(query).all()
    pictures = session.execute(
        select(IncidentRow.ticket_number, PictureRow.sha256)
        .join(PictureRow, PictureRow.incident == IncidentRow.id)
        .where(IncidentRow.ticket_number.in_([ticket.number for ticket in found]))
        .where(PictureRow.role == "at", PictureRow.view == "close")
        .order_by(IncidentRow.opened_ms, PictureRow.received_ms)
    )
    # the last one counts
    thumbnails = {row.ticket_number: row.sha256 for row in pictures}
    return [_row(ticket, clock, thumbnails.get(ticket.number)) for ticket in found]


def _row(ticket: Ticket, clock: Clock, thumbnail: str | None) -> RowView:
    return RowView(
        number=ticket.number,
        rule=words.words(words.RULES, ticket.rule),
        state=words.words(words.STATES, ticket.state),
        open=bool(ticket.open),
        place=f"{ticket.box_id} / {ticket.camera} / {ticket.zone}",
        shop=ticket.shop or "",
        opened=clock.text(ticket.opened_ms),
        cleared=clock.text(ticket.cleared_ms),
        duration=_elapsed(ticket, clock),
        repeat_of=ticket.repeat_of,
        thumbnail=thumbnail,
    )


def _elapsed(ticket: Ticket, clock: Clock) -> str:
    last_ms = clock.now_ms if ticket.open else ticket.cleared_ms or ticket.changed_ms
    return _duration(last_ms - ticket.opened_ms)


def ticket_view(session: Session, ticket: Ticket, clock: Clock) -> TicketView:
    """One ticket with all that belongs to it."""
    whose = standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone)
    return TicketView(
        **vars(_row(ticket, clock, thumbnail=None)),
        shop_name="" if whose.shop is None else whose.shop.name,
        warning=None if whose.warning is None else Words(*whose.warning),
        spot=spot(session, whose.shop or whose.tell, ticket.box_id, ticket.camera),
        incidents=tuple(_incident(session, row, clock) for row in ticket.incidents),
        events=tuple(_event(row, clock) for row in ticket.events),
        due=clock.text(ticket.due_ms) if ticket.open else "",
        overdue=bool(ticket.open and ticket.due_ms is not None and ticket.due_ms < clock.now_ms),
        level=ticket.level,
        told=clock.text(ticket.told_ms),
        shop_due=clock.text(ticket.shop_due_ms),
        reviewer=" ".join(filter(None, (ticket.reviewer, (via := _reviewed_via(ticket)) and f"({via})"))),
        assignee=ticket.assignee or "",
        case_number=ticket.case_number or "",
        permit=ticket.permit or "",
        paused_until=clock.text(ticket.paused_until_ms),
        outcome=words.words(words.OUTCOMES, ticket.outcome if ticket.outcome and not ticket.open else ""),
        urgency=words.words(words.URGENCIES, ticket.urgency),
        kept=_kept(ticket),
    )


def _kept(ticket: Ticket) -> tuple[str, ...]:
    """Pictures that boxes took when they were asked to verify, by their SHA-256; nobody else's word counts for one."""
    found = [_detail(row).get("pictures") for row in ticket.events if (row.author or "").startswith("camera:")]
    named = [one.get("sha256") for kept in found if isinstance(kept, list) for one in kept if isinstance(one, dict)]
    return tuple(dict.fromkeys(one for one in named if isinstance(one, str) and _SHA256.fullmatch(one)))


def _detail(row: TicketEvent) -> dict[str, Any]:
    """What a line of the time line says; whatever stands in it, the page is shown."""
    found = json.loads(row.detail)
    return found if isinstance(found, dict) else {}


def _incident(session: Session, row: IncidentRow, clock: Clock) -> IncidentView:
    data = Incident.model_validate_json(row.data)
    box = session.get(Box, row.box_id)
    here = set(session.scalars(select(PictureRow.id).where(PictureRow.incident == row.id)))
    labels = sorted({item.label for item in data.items if item.label is not None})
    count = "" if data.people is None else f"{'≥ ' if data.people.lower_bound else ''}{data.people.count}"
    return IncidentView(
        id=row.id,
        camera=data.camera,
        zone=data.zone,
        box=row.box_id,
        state=row.state,
        seen=row.visibility == "seen",
        opened=clock.text(row.opened_ms),
        cleared=clock.text(row.cleared_ms),
        duration=_duration((clock.now_ms if row.state in GOES_ON else row.cleared_ms or _ms(data)) - row.opened_ms),
        place=data.place,
        labels=", ".join(labels),
        count=count,
        pictures=_pictures(data, here, None if box is None else box.public_key, clock),
        model=f"{data.model.name} {data.model.sha256[:12]}" if data.model else "",
    )


def _ms(data: Incident) -> int:
    return round(data.at.timestamp() * 1000)


def _pictures(data: Incident, here: set[str], public_key: str | None, clock: Clock) -> tuple[PictureView, ...]:
    views = []
    for entry in data.evidence:
        header = PictureHeader(incident=data.incident, role=entry.role, view=entry.view, sha256=entry.sha256)
        fault = None if public_key is None else seal_fault(data.incident, entry, public_key)
        seal = words.SEAL_UNKNOWN if public_key is None else words.SEAL_GOOD if fault is None else words.SEAL_BROKEN
        views.append(
            PictureView(
                role=words.words(words.ROLES, entry.role),
                view=words.words(words.VIEWS, entry.view),
                is_wide=entry.view == "wide",
                sha256=entry.sha256,
                here=header.id in here,
                taken_at=clock.text(round(entry.taken_at.timestamp() * 1000)),
                width=entry.width,
                height=entry.height,
                seal=seal,
                seal_good=seal is words.SEAL_GOOD,
            )
        )
    order = [words.ROLES[role] for role in ROLE_ORDER]
    return tuple(
        sorted(views, key=lambda one: (order.index(one.role) if one.role in order else len(order), not one.is_wide))
    )


def _event(row: TicketEvent, clock: Clock) -> EventView:
    detail = _detail(row)
    parts: list[Words] = []
    if detail.get("visibility") == "not_seen":
        parts.append(Words("暂时看不到", "not seen for now"))
    if detail.get("count") is not None:
        parts.append(Words(f"{detail['count']} 人", f"{detail['count']} people"))
    if row.before is not None and detail.get("state"):
        parts.append(words.words(words.STATES, str(detail["state"])))
    if str(detail.get("seen")) in words.SIGHTS:
        parts.append(words.SIGHTS[str(detail["seen"])])
    for name, text in (("due_ms", words.DUE), ("shop_due_ms", words.SHOP_DUE)):
        if isinstance(detail.get(name), int) and detail[name]:
            at = clock.text(detail[name])
            parts.append(Words(f"{text.zh} {at}", f"{text.en} {at}"))
    if detail.get("permit"):
        parts.append(Words(str(detail["permit"]), str(detail["permit"])))
    if detail.get("reason"):
        parts.append(words.words(words.REASONS, str(detail["reason"])))
    if detail.get("clock"):
        parts.append(words.words(words.CLOCKS, str(detail["clock"])))
    joined = Words("；".join(part.zh for part in parts), "; ".join(part.en for part in parts))
    # what a person's program did is theirs, and still not what they did at a page
    author = f"{row.author} ({detail['via']})" if detail.get("via") else row.author
    return EventView(clock.text(row.at_ms), words.words(words.EVENTS, row.kind), joined, author, row.reason)


def cameras(session: Session, clock: Clock, streets: frozenset[str] | None = None) -> list[CameraView]:
    """All cameras, or those of some streets, with the state of their boxes."""
    query = select(Box, CameraRow).outerjoin(CameraRow, CameraRow.box_id == Box.id).order_by(Box.id, CameraRow.camera)
    if streets is not None:
        query = query.where(Box.site.in_(streets))
    rows: Sequence[Any] = session.execute(query).all()
    return [
        CameraView(
            box=box.id,
            box_state=words.words(words.BOXES, box.state),
            camera="" if camera is None else camera.camera,
            # what a camera said before its box went away is no longer true
            state=words.words(words.CAMERAS, "lost" if camera is None or box.state == "offline" else camera.state),
            good=camera is not None and box.state == "online" and camera.state in ("live", "learning"),
            since=clock.text(box.state_since_ms if camera is None else camera.since_ms),
            text="" if camera is None else camera.text,
        )
        for box, camera in rows
    ]


def ticket_json(session: Session, ticket: Ticket) -> dict[str, Any]:
    """One ticket for the API."""
    incidents = []
    for row in ticket.incidents:
        pictures = session.scalars(select(PictureRow).where(PictureRow.incident == row.id).order_by(PictureRow.id))
        incidents.append(
            {
                "incident": row.id,
                "state": row.state,
                "seq": row.seq,
                "opened_at": iso(row.opened_ms),
                "cleared_at": iso(row.cleared_ms),
                "received_at": iso(row.received_ms),
                "late": bool(row.late),
                "clock": row.clock,
                "data": json.loads(row.data),
                "pictures": [
                    {"role": one.role, "view": one.view, "sha256": one.sha256, "url": f"/evidence/{one.sha256}.jpg"}
                    for one in pictures
                ],
            }
        )
    return {
        "number": ticket.number,
        "key": ticket.key,
        "rule": ticket.rule,
        "shop": ticket.shop,
        "box": ticket.box_id,
        "camera": ticket.camera,
        "zone": ticket.zone,
        "state": ticket.state,
        "open": bool(ticket.open),
        "opened_at": iso(ticket.opened_ms),
        "created_at": iso(ticket.created_ms),
        "cleared_at": iso(ticket.cleared_ms),
        "repeat_of": ticket.repeat_of,
        "reopened": ticket.reopened,
        "late": bool(ticket.late),
        "street": ticket.street,
        "version": ticket.version,
        "present": bool(ticket.present),
        "since": iso(ticket.since_ms),
        "closed_at": iso(ticket.closed_ms),
        "outcome": ticket.outcome,
        "due_at": iso(ticket.due_ms) if ticket.open else None,
        "due_kind": ticket.due_kind if ticket.open else "",
        "level": ticket.level,
        "urgency": ticket.urgency,
        "offences": ticket.offences,
        "reviewer": ticket.reviewer,
        "reviewed_at": iso(ticket.reviewed_ms),
        "reviewed_via": _reviewed_via(ticket),
        "told_at": iso(ticket.told_ms),
        "shop_due_at": iso(ticket.shop_due_ms),
        "assignee": ticket.assignee,
        "case_number": ticket.case_number,
        "permit": ticket.permit,
        "duplicate_of": ticket.duplicate_of,
        "paused_until": iso(ticket.paused_until_ms),
        "policy": ticket.policy,
        "incidents": incidents,
        "events": [
            {
                **_detail(row),
                "at": iso(row.at_ms),
                "kind": row.kind,
                "message": row.message_id,
                "author": row.author,
                **({"reason": row.reason} if row.reason else {}),
                **({"before": json.loads(row.before)} if row.before else {}),
            }
            for row in ticket.events
        ],
    }


def _reviewed_via(ticket: Ticket) -> str | None:
    """The token of the reviewer's program, where it was no person at a page."""
    lines = [row for row in ticket.events if row.kind in ("confirm", "review")]
    via = _detail(lines[-1]).get("via") if lines and ticket.reviewer is not None else None
    return str(via) if via else None


def iso(at_ms: int | None) -> str | None:
    """An instant for the API."""
    if at_ms is None:
        return None
    try:
        return rfc3339(from_epoch(at_ms / 1000))
    except (OverflowError, ValueError, OSError):
        return None  # of no year that there is


def _duration(span_ms: int) -> str:
    seconds = max(0, span_ms // 1000)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds % 60:02d} s" if minutes else f"{seconds} s"
