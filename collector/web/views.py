"""What the pages show, read from the database."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.evidence import seals, uploads
from collector.places.standing import Spot, spot, standing
from collector.places.zones import outline
from collector.store import Box, IncidentRow, PictureRow, ReportRow, SealRow, Ticket
from collector.tickets.book import GOES_ON
from collector.tickets.machine import SEEN
from collector.web import story, words
from collector.web.language import Text, Words
from collector.web.story import EventView, detail_of
from protocol.geometry import Polygon
from protocol.instants import from_epoch, rfc3339
from protocol.messages import Incident
from protocol.pictures import PictureHeader
from protocol.seal import seal_fault

_SHA256 = re.compile("[0-9a-f]{64}")
ROLE_ORDER = ("clear", "at", "after", "worker_after")
COMPARED = ("clear", "at", "after")
ASKED = ":asked:"
"""In the ids of pictures that boxes took when they were asked to look, see `tickets.attend`."""


@dataclass(frozen=True)
class PictureView:
    """One picture on a page; not `here` while it is still on its way.

    Args:
        part: its role, as a box says it; `role` is it in words.
        is_wide: the camera's whole view, in which places of incidents are.
        by: the person who took it, `kind:id`; empty: its box.
    """

    part: str
    role: Text
    view: Text
    is_wide: bool
    sha256: str
    here: bool
    taken_ms: int
    width: int
    height: int
    seal: str
    seal_good: bool
    by: str = ""
    gone: str = ""
    """Why it was deleted."""

    @property
    def broken(self) -> bool:
        """Whether it is not what its box sealed."""
        return self.seal == words.SEAL_BROKEN


@dataclass(frozen=True)
class ItemView:
    """Something that stands there: a box in picture coordinates, and what is known of it."""

    box: tuple[float, float, float, float]
    label: str
    area_m2: float | None


@dataclass(frozen=True)
class IncidentView:
    """One incident of a ticket.

    Args:
        place: in picture coordinates, like the items and the outline of its zone; empty where that is not known.
    """

    id: str
    camera: str
    zone: str
    box: str
    state: str
    seen: bool
    opened_ms: int
    cleared_ms: int | None
    span_ms: int
    place: tuple[float, float, float, float]
    items: tuple[ItemView, ...]
    zone_outline: Polygon
    labels: str
    count: str
    pictures: tuple[PictureView, ...]
    model: str

    def shots(self, *, wide: bool) -> tuple[PictureView, ...]:
        """What can be laid upon each other: of one view, the newest of the camera's pictures for each of its roles."""
        found = {one.part: one for one in self.pictures if one.is_wide == wide and not one.by and one.part in COMPARED}
        return tuple(found[part] for part in COMPARED if part in found)

    @property
    def taken(self) -> tuple[PictureView, ...]:
        """What people took."""
        return tuple(one for one in self.pictures if one.by)

    @property
    def more(self) -> tuple[PictureView, ...]:
        """All others: older ones, and those of roles that are not known here."""
        shown = {*self.shots(wide=True), *self.shots(wide=False), *self.taken}
        return tuple(one for one in self.pictures if one not in shown)


@dataclass(frozen=True)
class RowView:
    """One line of the list of tickets."""

    number: int
    rule: Text
    state: Text
    open: bool
    place: str
    shop: str
    shop_name: str
    """By the register; empty for none."""
    opened_ms: int
    cleared_ms: int | None
    span_ms: int
    repeat_of: int | None
    watched: bool
    """A camera has seen it; else a person reported it."""
    thumbnail: str | None
    due_ms: int | None
    overdue: bool
    urgency: Text

    @property
    def look(self) -> str:
        """Of its state: only what cannot wait is red."""
        if not self.open:
            return "good"
        return "bad" if self.overdue or self.urgency != words.URGENCIES["normal"] else "calm"


@dataclass(frozen=True)
class TicketView(RowView):
    """One ticket with all that belongs to it."""

    warning: Text | None
    """Of its shop: nobody is told by itself, or the register alone knows whose place it is."""
    spot: Spot
    source: Text
    unseen: bool
    """Neither a camera nor anybody who works here has seen it."""
    found: Text
    """What somebody found who went there; empty: nobody did."""
    report: ReportRow | None
    reported: tuple[PictureView, ...]
    """What people took where no camera looks."""
    incidents: tuple[IncidentView, ...]
    events: tuple[EventView, ...]
    level: int
    told_ms: int | None
    shop_due_ms: int | None
    case_number: str
    permit: str
    paused_until_ms: int | None
    outcome: Text
    kept: tuple[str, ...]
    """Of verifications, by their SHA-256, that belong to none of its incidents."""


def place_of(ticket: Ticket) -> str:
    """Where it is, as far as its own row says."""
    if ticket.report is None:
        return f"{ticket.box_id} / {ticket.camera} / {ticket.zone}"
    one = ticket.report
    position = "" if one.lon is None or one.lat is None else f"{one.lon:.5f}, {one.lat:.5f}"
    return one.address or one.cell or position or ticket.shop or ""


def seen_at(session: Session, sha256: str, streets: frozenset[str] | None) -> PictureRow | None:
    """A picture of these streets (None: of all), that of a box before one that a person took."""
    rows = session.scalars(
        select(PictureRow)
        .where(PictureRow.sha256 == sha256, PictureRow.deleted_ms.is_(None))
        .order_by(PictureRow.masked)
    )
    return next((row for row in rows if streets is None or _street_of(session, row) in streets), None)


def _street_of(session: Session, row: PictureRow) -> str | None:
    if row.box_id is not None:
        return session.scalar(select(Box.site).where(Box.id == row.box_id))
    return session.scalar(select(Ticket.street).where(Ticket.number == uploads.reported_number(row.incident)))


def row_view(ticket: Ticket, now_ms: int, thumbnail: str | None = None, shop_name: str = "") -> RowView:
    """One line of the list."""
    last_ms = now_ms if ticket.open else ticket.cleared_ms or ticket.changed_ms
    return RowView(
        number=ticket.number,
        rule=words.rule(ticket.rule),
        state=words.words(words.STATES, ticket.state),
        open=bool(ticket.open),
        place=place_of(ticket),
        shop=ticket.shop or "",
        shop_name=shop_name,
        opened_ms=ticket.opened_ms,
        cleared_ms=ticket.cleared_ms,
        span_ms=last_ms - ticket.opened_ms,
        repeat_of=ticket.repeat_of,
        watched=ticket.box_id is not None,
        thumbnail=thumbnail,
        due_ms=ticket.due_ms if ticket.open else None,
        overdue=bool(ticket.open and ticket.due_ms is not None and ticket.due_ms < now_ms),
        urgency=words.words(words.URGENCIES, ticket.urgency),
    )


def ticket_view(session: Session, ticket: Ticket, now_ms: int) -> TicketView:
    """One ticket with all that belongs to it."""
    whose = standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone)
    incidents = tuple(_incident(session, row, now_ms) for row in ticket.incidents)
    shown = {picture.sha256 for incident in incidents for picture in incident.pictures}
    return TicketView(
        **vars(row_view(ticket, now_ms, shop_name="" if whose.shop is None else whose.shop.name)),
        warning=None if whose.warning is None else Words(*whose.warning),
        spot=spot(session, whose.shop or whose.tell, ticket.box_id, ticket.camera, ticket.report),
        source=words.words(words.SOURCES, ticket.source),
        unseen=ticket.source not in SEEN,
        found=words.words(words.FINDINGS, ticket.found or ""),
        report=ticket.report,
        reported=tuple(_loose(one) for one in uploads.of_report(session, ticket)),
        incidents=incidents,
        events=story.events(session, ticket.events),
        level=ticket.level,
        told_ms=ticket.told_ms,
        shop_due_ms=ticket.shop_due_ms,
        case_number=ticket.case_number or "",
        permit=ticket.permit or "",
        paused_until_ms=ticket.paused_until_ms,
        outcome=words.words(words.OUTCOMES, ticket.outcome if ticket.outcome and not ticket.open else ""),
        kept=tuple(one for one in _kept(ticket) if one not in shown),
    )


def _kept(ticket: Ticket) -> tuple[str, ...]:
    """Pictures that boxes took when they were asked to verify, by their SHA-256; nobody else's word counts for one."""
    found = [detail_of(row).get("pictures") for row in ticket.events if (row.author or "").startswith("camera:")]
    named = [one.get("sha256") for kept in found if isinstance(kept, list) for one in kept if isinstance(one, dict)]
    return tuple(dict.fromkeys(one for one in named if isinstance(one, str) and _SHA256.fullmatch(one)))


def _incident(session: Session, row: IncidentRow, now_ms: int) -> IncidentView:
    data = Incident.model_validate_json(row.data)
    box = session.get(Box, row.box_id)
    kept = session.scalars(select(PictureRow).where(PictureRow.incident == row.id).order_by(PictureRow.received_ms))
    known = kept.all()
    sealed = seals.of(session, [row.id])
    labels = sorted({item.label for item in data.items if item.label is not None})
    count = "" if data.people is None else f"{'≥ ' if data.people.lower_bound else ''}{data.people.count}"
    return IncidentView(
        id=row.id,
        camera=data.camera,
        zone=data.zone,
        box=row.box_id,
        state=row.state,
        seen=row.visibility == "seen",
        opened_ms=row.opened_ms,
        cleared_ms=row.cleared_ms,
        span_ms=(now_ms if row.state in GOES_ON else row.cleared_ms or _ms(data)) - row.opened_ms,
        place=data.place,
        items=tuple(ItemView(one.box, one.label or "", one.area_m2) for one in data.items),
        zone_outline=outline(session, row.box_id, data.camera, data.zone, data.settings_digest),
        labels=", ".join(labels),
        count=count,
        pictures=(
            *_pictures(data, {one.id: one for one in known}, None if box is None else box.public_key, sealed),
            *(_loose(one) for one in known if one.author or ASKED in one.id),
        ),
        model=f"{data.model.name} {data.model.sha256[:12]}" if data.model else "",
    )


def _ms(data: Incident) -> int:
    return round(data.at.timestamp() * 1000)


def _pictures(
    data: Incident, known: Mapping[str, PictureRow], public_key: str | None, sealed: Mapping[str, SealRow]
) -> tuple[PictureView, ...]:
    views = []
    for entry in data.evidence:
        header = PictureHeader(incident=data.incident, role=entry.role, view=entry.view, sha256=entry.sha256)
        fault = None if public_key is None else seal_fault(data.incident, entry, public_key)
        kept, row = sealed.get(header.id), known.get(header.id)
        if kept is not None and kept.state == seals.BROKEN:
            fault = kept.why  # as it came, whatever its row says now
        seal = words.SEAL_BROKEN if fault else words.SEAL_UNKNOWN if public_key is None else words.SEAL_GOOD
        views.append(
            PictureView(
                part=entry.role,
                role=words.words(words.ROLES, entry.role),
                view=words.words(words.VIEWS, entry.view),
                is_wide=entry.view == "wide",
                sha256=entry.sha256,
                here=row is not None and row.deleted_ms is None,
                gone="" if row is None else row.deleted_why,
                taken_ms=round(entry.taken_at.timestamp() * 1000),
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


def _loose(row: PictureRow) -> PictureView:
    """What stands in no incident: what a person took, or a box when it was asked to look."""
    asked = ASKED in row.id
    return PictureView(
        part=row.role,
        role=words.words(words.ROLES, row.role),
        view=words.words(words.VIEWS, row.view),
        is_wide=asked and row.view == "wide",  # a person's is no camera's view: nothing is at the same place in it
        sha256=row.sha256,
        here=row.deleted_ms is None,
        gone=row.deleted_why,
        taken_ms=row.taken_ms or row.received_ms,
        width=row.width or 0,
        height=row.height or 0,
        seal=words.SEAL_ASKED if asked else words.SEAL_NONE,
        seal_good=False,
        by=row.author,
    )


def picture_json(row: PictureRow) -> dict[str, Any]:
    """One picture for the API."""
    found = {"role": row.role, "view": row.view, "sha256": row.sha256, "url": f"/evidence/{row.sha256}.jpg"}
    if not row.author:
        return found
    size = {"width": row.width, "height": row.height}
    return found | {"author": row.author, "taken_at": iso(row.taken_ms), **size, "masked": bool(row.masked)}


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
                "pictures": [picture_json(one) for one in pictures],
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
        "source": ticket.source,
        "found": ticket.found,
        "report": None if ticket.report is None else report_json(session, ticket, ticket.report),
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
        "reviewed_via": reviewed_via(ticket),
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
                **detail_of(row),
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


def report_json(session: Session, ticket: Ticket, report: ReportRow) -> dict[str, Any]:
    """What a person reported, for the API."""
    names = ("code", "description", "address", "lon", "lat", "cell", "reference", "author")
    pictures = [picture_json(one) for one in uploads.of_report(session, ticket)]
    return {name: getattr(report, name) for name in names} | {"pictures": pictures}


def reviewed_via(ticket: Ticket) -> str | None:
    """The token of the reviewer's program, where it was no person at a page."""
    lines = [row for row in ticket.events if row.kind in ("confirm", "review")]
    via = detail_of(lines[-1]).get("via") if lines and ticket.reviewer is not None else None
    return str(via) if via else None


def iso(at_ms: int | None) -> str | None:
    """An instant for the API."""
    if at_ms is None:
        return None
    try:
        return rfc3339(from_epoch(at_ms / 1000))
    except (OverflowError, ValueError, OSError):
        return None  # of no year that there is
