"""The door for other rooms: ordering a notice, and asking whether a shop was told."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from collector.store import NoticeRow, lock
from collector.tickets.seams import Told

USELESS_AFTER_MS: Final = 24 * 3600 * 1000
"""A notice without a deadline ahead of it is not sent any later than this."""
GONE: Final = ("expired", "withdrawn", "limited")
"""States of notices that were never sent, and never will be."""
MAY_HAVE_REACHED: Final = ("sending", "accepted", "sent", "delivered", "unsure")

OBJECTION: Final = "objection"
"""What a shop said and the desk did not take; a person reads it however the ticket goes on."""
DECIDED: Final = ("appeal_upheld", "appeal_rejected")
"""What became of a shop's objection: told however the ticket goes on, and no notice that begins its minutes."""
UNDELIVERED: Final = "undelivered"
"""The shop was not surely told; an operator hears of it once in a round, so no step takes it back."""
TAKEN_OVER: Final = "taken_over"
"""Whoever had a task hears that it is another's, whatever that one does with it."""
LASTING: Final = (OBJECTION, UNDELIVERED, TAKEN_OVER, *DECIDED)


@dataclass(frozen=True)
class NoticeOrder:
    """A notice that somebody is to get.

    Args:
        key: the same key twice is one notice, for ever.
        ticket: its number; None for what belongs to none.
        kind: `shop_notice`, `shop_reminder`, `task`, `overdue`, `escalated`, `alert`, …
        audience: `shop`, `community`, `officer`, `operator` or `room`.
        to: id of the shop or person, a telephone number or mail address, or empty: whoever the route names.
        street: site of the box.
        due_ms: the deadline that it tells of. Where it lies ahead, the notice is not sent after it.
        level: urgency.
        not_before_ms: not sent before; quiet hours are this.
        minutes: that the shop has from when it was told; then `due_ms` may be None.
        expires_ms: not sent any more from then on, whatever `due_ms` says.
        text: what it says beyond its template, for alerts.
    """

    key: str
    ticket: int | None
    kind: str
    audience: str
    to: str
    street: str
    due_ms: int | None
    level: str | int
    not_before_ms: int
    minutes: int | None = None
    expires_ms: int | None = None
    text: str = ""


@dataclass(frozen=True)
class Limits:
    """What a street's policy allows for one shop.

    Args:
        per_day: notices on one day of the street.
        per_ticket: notices for one ticket.
    """

    per_day: int = 6
    per_ticket: int = 3
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))


def order(
    session: Session,
    wanted: NoticeOrder,
    *,
    now_ms: int | None = None,
    asked_ms: int | None = None,
    limits: Limits | None = None,
    doubt: tuple[str, str] | None = None,
) -> bool:
    """Order a notice in the caller's transaction; False where it is ordered already, or beyond what a shop may get.

    One beyond the limit is kept as `limited`, so that it is on record, and `told` says `failed` where nothing else
    went out. Notices count on the day on which they may go out first, from the moment of the order, whatever becomes
    of their sending, so that nothing that is tried again makes them more.

    Args:
        session: the caller's.
        wanted: the notice.
        now_ms: the caller's clock.
        asked_ms: when the round began of which it tells: by `told` it was ordered no earlier, whatever the clock says.
        limits: what the policy allows.
        doubt: a code and a line of why nobody may be told, though it is within the limits; kept as `limited` as well.
    """
    allowed = limits or Limits()
    to_shop = wanted.audience == "shop"
    names = [f"notices/key/{wanted.key}"]
    if to_shop:
        names.append(f"notices/shop/{wanted.to}")
    lock(session, names)
    if session.scalar(select(NoticeRow.number).where(NoticeRow.key == wanted.key)) is not None:
        return False
    created_ms = wanted.not_before_ms if now_ms is None else now_ms
    first_ms = max(created_ms, wanted.not_before_ms)
    day = datetime.fromtimestamp(first_ms / 1000, allowed.zone).date().isoformat()
    code = _beyond(session, wanted, day, allowed) if to_shop else ""
    reason = "the policy allows this shop no more" if code else ""
    if doubt is not None:
        code, reason = doubt
    ordered_ms = max(created_ms, asked_ms or 0)
    session.add(
        NoticeRow(
            key=wanted.key,
            ticket_number=wanted.ticket,
            kind=wanted.kind,
            audience=wanted.audience,
            recipient=wanted.to,
            street=wanted.street,
            level=str(wanted.level),
            text=wanted.text,
            minutes=wanted.minutes,
            due_ms=wanted.due_ms,
            not_before_ms=wanted.not_before_ms,
            expires_ms=_expiry(wanted, first_ms),
            day=day,
            created_ms=ordered_ms,
            changed_ms=ordered_ms,
            state="limited" if code else "waiting",
            step=0,
            tries=0,
            doubt=0,
            next_ms=first_ms,
            code=code,
            reason=reason,
        )
    )
    session.flush()
    return not code


def told(session: Session, number: int, *, since_ms: int = 0) -> Told:
    """Whether the shop of a ticket was told, by the notices that were ordered since then."""
    rows = session.execute(
        select(NoticeRow.state, NoticeRow.told_ms, NoticeRow.doubt).where(
            NoticeRow.ticket_number == number,
            NoticeRow.audience == "shop",
            NoticeRow.kind.not_in(DECIDED),
            NoticeRow.created_ms >= since_ms,
        )
    ).all()
    states = [row.state for row in rows if row.state != "withdrawn"]
    count = sum(row.state in MAY_HAVE_REACHED or bool(row.doubt) for row in rows)
    instants = [row.told_ms for row in rows if row.told_ms is not None]
    if instants:
        return Told("delivered" if "delivered" in states else "sent", min(instants), count)
    if not states:
        return Told("none", None, count)
    if {"waiting", "sending", "accepted"} & set(states):
        return Told("waiting", None, count)
    return Told("unsure" if "unsure" in states else "failed", None, count)


def withdraw(session: Session, number: int, now_ms: int, reason: str) -> int:
    """Take back what has not gone out for a ticket; says how many. One that is just being sent goes on."""
    waiting = select(NoticeRow).where(NoticeRow.ticket_number == number, NoticeRow.state == "waiting")
    rows = session.scalars(waiting.where(NoticeRow.kind.not_in(LASTING)))
    count = 0
    for row in rows:
        row.state, row.code, row.reason, row.changed_ms = "withdrawn", "withdrawn", reason, now_ms
        count += 1
    return count


def _expiry(wanted: NoticeOrder, first_ms: int) -> int:
    if wanted.expires_ms is not None:
        return wanted.expires_ms
    if wanted.due_ms is not None and wanted.due_ms > first_ms:
        return wanted.due_ms
    # it tells of a deadline that has passed, or that a quiet night outlasts
    return first_ms + USELESS_AFTER_MS


def _beyond(session: Session, wanted: NoticeOrder, day: str, limits: Limits) -> str:
    of_shop = select(func.count()).where(
        NoticeRow.audience == "shop", NoticeRow.recipient == wanted.to, NoticeRow.state.not_in(GONE)
    )
    if (session.scalar(of_shop.where(NoticeRow.day == day)) or 0) >= limits.per_day:
        return "per_day"
    if wanted.ticket is None:
        return ""
    for_ticket = session.scalar(of_shop.where(NoticeRow.ticket_number == wanted.ticket)) or 0
    return "per_ticket" if for_ticket >= limits.per_ticket else ""
