"""Tickets that people report: the 12345 hotline, grid workers, shops, anybody.

A report becomes a ticket of the same machine, in review. What no camera and no grid worker has seen is looked at on the
spot before anything follows (`found`); from then on a person does what elsewhere a camera does. Who reported it is not
kept: the number that it has where it came from is enough to answer them there.
"""

import hashlib
import json
import math
import uuid
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.people.actor import Actor, Role
from collector.people.audit import record
from collector.places import grid, shops
from collector.places.codes import Codes
from collector.store import Box, GridCell, ReportRow, ShopRow, Ticket, TicketEvent, lock, next_numbers
from collector.tickets import facts
from collector.tickets.desk import AT_ONCE, MAX_TEXT
from collector.tickets.machine import SOURCES, State

REPORTED: Final = tuple(one for one in SOURCES if one != "video")
LONGEST: Final = 200
OLDEST_MS: Final = 30 * 86_400_000
AHEAD_MS: Final = 3_600_000
"""That the clock of whoever reports may be before the center's."""


class ReportError(Exception):
    """A report that is not taken: which field, and a line in English and Chinese."""

    def __init__(self, field: str, text: str, zh: str) -> None:
        super().__init__(f"{field}: {text}")
        self.field, self.text, self.zh = field, f"{field}: {text}", f"{field}：{zh}"


@dataclass(frozen=True)
class Report:
    """What a person reports; a place is needed: a shop, an address, a position or a cell.

    Args:
        source: one of REPORTED.
        code: of the event, 4 digits, by the table of codes.
        street: empty: that of the shop, or the only one that there is.
        lon: degrees, WGS84; `lat` likewise.
        cell: of the unit grid; empty: that of the position.
        reference: its number where it came from.
        seen_ms: when it was seen; None: now.
    """

    source: str
    code: str
    street: str = ""
    description: str = ""
    shop: str | None = None
    address: str = ""
    lon: float | None = None
    lat: float | None = None
    cell: str = ""
    reference: str | None = None
    seen_ms: int | None = None


def streets(session: Session) -> set[str]:
    """Those that this center has: of its boxes and shops."""
    return {*session.scalars(select(Box.site).distinct()), *session.scalars(select(ShopRow.street).distinct())}


def rule_of(codes: Codes, code: str) -> str:
    """The rule that an event is to policies: that of the boxes where they see such, else the code itself."""
    return next((rule for rule, of in codes.rules.items() if of == code), code)


def sources_of(actor: Actor, street: str) -> tuple[str, ...]:
    """As what somebody may report: who works in the street has seen it, the room enters what others say."""
    roles = actor.roles(street)
    if actor.kind == "public":
        return ("public",)
    return REPORTED if actor.kind == "system" or roles & {Role.ADMIN, Role.OPERATOR} else ("grid",)


def take(session: Session, actor: Actor, report: Report, codes: Codes, now_ms: int) -> tuple[Ticket, bool]:
    """Make a ticket of a report, and whether it is new; raises ReportError.

    Args:
        session: a transaction that writes.
        actor: who enters it.
        report: what they say.
        codes: of this center.
        now_ms: the center's clock.
    """
    author = str(actor)
    if report.reference is not None:
        lock(session, [f"report/{author}/{report.reference}"])
        same = ReportRow.author == author, ReportRow.reference == report.reference
        known = session.scalar(select(Ticket).join(ReportRow, ReportRow.ticket_number == Ticket.number).where(*same))
        if known is not None:
            return known, False
    street, cell = _street(session, report), _cell(session, report)
    _check(report, codes, sources_of(actor, street), now_ms)
    rule = rule_of(codes, report.code)
    ticket = Ticket(
        number=next_numbers(session, 1)[0],
        # of its own: whether two people speak of one thing is for a person to say
        key=f"{rule}/report/{uuid.uuid4()}",
        rule=rule,
        shop=report.shop,
        camera="",
        zone="",
        source=report.source,
        state=State.PENDING_REVIEW,
        open=1,
        opened_ms=report.seen_ms or now_ms,
        created_ms=now_ms,
        changed_ms=now_ms,
        street=street,
        since_ms=now_ms,
        look_ms=AT_ONCE,
        version=1,
    )
    session.add(ticket)
    session.flush()
    ticket.mark = facts.mark(ticket)
    kept = {"description": report.description.strip(), "address": report.address.strip(), "cell": cell}
    session.add(
        said := ReportRow(
            ticket_number=ticket.number,
            code=report.code,
            lon=report.lon,
            lat=report.lat,
            reference=report.reference,
            author=author,
            **kept,
        )
    )
    detail = {"source": report.source, "code": report.code}
    via = {"via": actor.via} if actor.via else {}
    session.add(
        TicketEvent(
            ticket_number=ticket.number,
            kind="reported",
            at_ms=now_ms,
            received_ms=now_ms,
            detail=json.dumps({**detail, **via}),
            author=author,
        )
    )
    record(session, actor, "ticket.reported", f"ticket/{ticket.number}", {**detail, "sha256": digest(said)}, now_ms)
    session.flush()
    return ticket, True


def digest(row: ReportRow) -> str:
    """SHA-256 of what was reported, for the audit log."""
    place = [None if one is None else float(one) for one in (row.lon, row.lat)]
    values = [row.ticket_number, row.code, row.description, row.address, *place, row.cell, row.reference, row.author]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _street(session: Session, report: Report) -> str:
    if report.shop is not None:
        shop = shops.find(session, report.shop)
        if shop is None or not shop.active:
            raise ReportError(
                "shop",
                f"expected an active shop of the register, got {report.shop!r:.80}",
                f"应为登记簿中在营的店铺，收到 {report.shop!r:.80}",
            )
        if report.street not in ("", shop.street):
            raise ReportError("shop", f"expected one of {report.street}, it is of {shop.street}", "店铺不属于该街道")
        return shop.street
    known = streets(session)
    if not report.street and len(known) == 1:
        return known.pop()
    if report.street not in known:
        raise ReportError(
            "street",
            f"expected a street of this center, got {report.street!r:.80}",
            f"应为本中心的街道，收到 {report.street!r:.80}",
        )
    return report.street


def _cell(session: Session, report: Report) -> str:
    if report.cell:
        row = session.get(GridCell, report.cell)
        if row is None or row.state != grid.ACTIVE:
            raise ReportError("cell", f"expected a cell of the grid, got {report.cell!r:.40}", "应为网格库中的单元网格")
        return report.cell
    if report.lon is None or report.lat is None:
        return ""
    return grid.cell_at(session, report.lon, report.lat) or ""


def _check(report: Report, codes: Codes, sources: tuple[str, ...], now_ms: int) -> None:
    if report.source not in sources:
        among = ", ".join(sources)
        raise ReportError(
            "source", f"expected one of {among}, got {report.source!r:.40}", f"应为 {among}，收到 {report.source!r:.40}"
        )
    if codes.event_of(report.code) is None:
        raise ReportError(
            "code",
            f"expected an event of the table of codes, got {report.code!r:.40}",
            f"应为代码表中的小类，收到 {report.code!r:.40}",
        )
    if (report.lon is None) != (report.lat is None):
        raise ReportError("lat", "expected lon and lat, both or none", "经度与纬度须同时给出")
    for name, value, most in (("lon", report.lon, 180), ("lat", report.lat, 90)):
        if value is not None and not (math.isfinite(value) and abs(value) <= most):
            raise ReportError(name, f"expected degrees from -{most} to {most}", f"应在 -{most} 到 {most} 度之间")
    if not (report.shop or report.address.strip() or report.cell or report.lon is not None):
        raise ReportError(
            "address", "expected a place: an address, a position, a shop or a cell", "缺少地点：地址、坐标、店铺或网格"
        )
    for name, text, longest in (
        ("description", report.description, MAX_TEXT),
        ("address", report.address, LONGEST),
        ("reference", report.reference or "", LONGEST),
    ):
        if len(text) > longest:
            raise ReportError(name, f"expected at most {longest} characters, got {len(text)}", f"最多 {longest} 字")
    if report.seen_ms is not None and not now_ms - OLDEST_MS <= report.seen_ms <= now_ms + AHEAD_MS:
        raise ReportError("seen_at", "expected an instant of the last 30 days", "应在最近 30 天之内")
