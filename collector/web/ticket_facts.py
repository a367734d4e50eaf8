"""What stands around a ticket on its page: its clock, its shop, permits, camera, and what was there before."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from collector.notices.secrets import masked
from collector.places import cameras, permits
from collector.places.fields import times_text
from collector.places.permits import Permit
from collector.places.standing import standing
from collector.store import Box, CameraRow, Ticket
from collector.tickets import policy
from collector.tickets.desk import days_before
from collector.tickets.machine import State
from collector.tickets.policy import Policy
from collector.web import story, words
from collector.web.language import Text
from collector.web.views import reviewed_via

MOST: Final = 5
"""Other tickets of a place that are named."""
SHORTEST_MS: Final = 1000


@dataclass(frozen=True)
class Clock:
    """The deadline of the present step.

    Args:
        left: of 100, how much of the step's time is left; 0 where it is overdue.
    """

    from_ms: int
    due_ms: int
    left: int
    overdue: bool


@dataclass(frozen=True)
class Brief:
    """Another ticket, named."""

    number: int
    state: Text
    open: bool
    opened_ms: int


@dataclass(frozen=True)
class ShopCard:
    """A shop of the register; its telephone number is masked."""

    id: str
    name: str
    address: str
    business: str
    phone: str
    closed: bool


@dataclass(frozen=True)
class PermitCard:
    """A permit: of the ticket, or one that its shop has today."""

    number: str
    issuer: str
    from_ms: int
    until_ms: int
    hours: str
    used: bool
    withdrawn: bool


@dataclass(frozen=True)
class CameraCard:
    """The camera that saw it, and how it is now."""

    box: str
    name: str
    state: Text
    good: bool


@dataclass(frozen=True)
class Facts:
    """All of it.

    Args:
        after: what follows the present step.
        reviewed_via: the token of the reviewer's program, where it was no person at a page.
        offences: earlier confirmed tickets of its key, within `days`.
        others: the newest others of its key.
        repeats: tickets that came of it: it was not for good.
        duplicates: tickets that were judged to be this one.
        until_ms: when it stops being exempt.
    """

    clock: Clock | None
    after: Text
    shop: ShopCard | None
    offences: int
    days: int
    others: tuple[Brief, ...]
    others_open: int
    repeats: tuple[Brief, ...]
    duplicates: tuple[Brief, ...]
    duplicate_of: int | None
    permits: tuple[PermitCard, ...]
    camera: CameraCard
    reviewer: Text
    reviewed_ms: int | None
    reviewed_via: str | None
    assignee: Text
    until_ms: int | None
    since_ms: int
    closed_ms: int | None


def facts(session: Session, ticket: Ticket, now_ms: int) -> Facts:
    """What stands around a ticket."""
    rules = policy.current(session, ticket.street).policy
    days = max((one.within_days for one in rules.offences), default=30)
    others = _briefs(session, Ticket.key == ticket.key, ticket.number)
    named = story.names(session, [ticket.reviewer])
    return Facts(
        clock=_clock(ticket, now_ms),
        after=_after(ticket),
        shop=_shop(session, ticket),
        offences=sum(before <= days for before in days_before(session, ticket)),
        days=days,
        others=others[:MOST],
        others_open=sum(one.open for one in others),
        repeats=_briefs(session, Ticket.repeat_of == ticket.number, ticket.number),
        duplicates=_briefs(session, Ticket.duplicate_of == ticket.number, ticket.number),
        duplicate_of=ticket.duplicate_of,
        permits=tuple(_permits(session, ticket, rules, now_ms)),
        camera=_camera(session, ticket),
        reviewer=named.get(ticket.reviewer or "", ""),
        reviewed_ms=ticket.reviewed_ms,
        reviewed_via=reviewed_via(ticket),
        assignee=story.person(session, ticket.assignee),
        until_ms=ticket.due_ms if ticket.state == State.EXEMPT else None,
        since_ms=ticket.since_ms,
        closed_ms=ticket.closed_ms,
    )


def _clock(ticket: Ticket, now_ms: int) -> Clock | None:
    if not ticket.open or ticket.due_ms is None:
        return None
    told = ticket.state == State.NOTICED and ticket.told_ms is not None
    from_ms = ticket.told_ms if told and ticket.told_ms is not None else ticket.since_ms
    whole_ms = max(SHORTEST_MS, ticket.due_ms - from_ms)
    left = max(0, min(100, round(100 * (ticket.due_ms - now_ms) / whole_ms)))
    return Clock(from_ms, ticket.due_ms, left, ticket.due_ms < now_ms)


def _after(ticket: Ticket) -> Text:
    if ticket.state == State.NOTICED and ticket.told_ms is None:
        return words.NOT_TOLD_YET
    return words.AFTERWARDS.get(ticket.state, "")


def _briefs(session: Session, which: ColumnElement[bool], but: int) -> tuple[Brief, ...]:
    query = select(Ticket.number, Ticket.state, Ticket.open, Ticket.opened_ms).where(which, Ticket.number != but)
    rows = session.execute(query.order_by(Ticket.number.desc()).limit(50))
    return tuple(Brief(row.number, words.words(words.STATES, row.state), bool(row.open), row.opened_ms) for row in rows)


def _shop(session: Session, ticket: Ticket) -> ShopCard | None:
    found = standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone)
    shop = found.shop or found.tell
    if shop is None:
        return None
    phone = masked(shop.phone or shop.other_phone)
    return ShopCard(shop.id, shop.name, shop.address, shop.business, phone, not shop.active)


def _permits(session: Session, ticket: Ticket, rules: Policy, now_ms: int) -> Iterable[PermitCard]:
    work = rules.working_time
    used = None if ticket.permit is None else permits.find(session, ticket.permit)

    def card(permit: Permit) -> PermitCard:
        def day_ms(day: date) -> int:
            return work.instant_ms(day, 12 * 60)

        return PermitCard(
            number=permit.number,
            issuer=permit.issuer,
            from_ms=day_ms(permit.from_day),
            until_ms=day_ms(permit.until_day),
            hours=times_text(permit.hours),
            used=permit.number == ticket.permit,
            withdrawn=permit.state == permits.WITHDRAWN,
        )

    if used is not None:
        yield card(used)
    if ticket.shop is not None:
        today = work.local(now_ms).date()
        for one in permits.listed(session, shop=ticket.shop, on=today, state=permits.ACTIVE, limit=MOST):
            if one.number != ticket.permit:
                yield card(one)


def _camera(session: Session, ticket: Ticket) -> CameraCard:
    place = cameras.find(session, ticket.box_id, ticket.camera)
    row = session.get(CameraRow, (ticket.box_id, ticket.camera))
    box = session.get(Box, ticket.box_id)
    away = box is None or box.state != "online"
    state = "lost" if row is None or away else row.state
    return CameraCard(
        box=ticket.box_id,
        name=(place.name if place is not None else "") or ticket.camera,
        state=words.words(words.CAMERAS, state),
        good=state in ("live", "learning"),
    )
