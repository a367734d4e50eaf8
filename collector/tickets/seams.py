"""What the desk asks of other rooms, as values and functions that are handed in.

`Office` has a real stand-in for each: a center without notices tells nobody, and without a register of places knows
neither permits nor grids.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from sqlalchemy.orm import Session

from collector.tickets.policy import Policy

ToldState = Literal["none", "waiting", "sent", "delivered", "unsure", "failed"]


@dataclass(frozen=True)
class Order:
    """Somebody is to be told something; fields as `collector.notices.orders.NoticeOrder` has them.

    Args:
        key: the same order twice is once.
        ticket: its number.
        kind: `alert`, `shop_notice`, `shop_reminder`, `appeal_upheld`, `appeal_rejected`, `task`, `undelivered`,
            `overdue`, `escalated`, …
        audience: `shop`, `community`, `officer`, `operator` or `room`.
        to: a person or shop; empty: all of the audience.
        due_ms: the deadline to name; None: there is none.
        level: of an escalation.
        not_before_ms: nobody is told earlier (quiet hours).
        minutes: that the shop has from when it is told.
        text: what it says beyond its template.
    """

    key: str
    ticket: int
    kind: str
    audience: str
    to: str
    street: str
    due_ms: int | None
    level: int
    not_before_ms: int
    minutes: int | None = None
    text: str = ""


@dataclass(frozen=True)
class Told:
    """What became of the notice to the shop in the present round.

    Args:
        state: `sent` and `delivered` mean told; `unsure` and `failed` are for a person, never for enforcement.
        at_ms: when the shop can be taken to have been told.
        count: of notices that may have reached the shop for this ticket.
    """

    state: ToldState = "none"
    at_ms: int | None = None
    count: int = 0


@dataclass(frozen=True)
class Cover:
    """A permit that covers a place now.

    Args:
        until_ms: when it no longer does, as far as its hours and dates say.
    """

    permit_id: int
    number: str
    until_ms: int


@dataclass(frozen=True)
class Place:
    """Where an incident is, for the register of permits."""

    shop: str | None
    street: str
    box: str
    camera: str
    zone: str


UNTOLD: Final = Told()


class Covering(Protocol):
    """Finds the permit that covers a place at an instant."""

    def __call__(self, session: Session, place: Place, at_ms: int, timezone: str, /) -> Cover | None:
        """One, or None."""


class Ordering(Protocol):
    """Has somebody told, in the caller's transaction."""

    def __call__(self, session: Session, order: Order, policy: Policy, now_ms: int, /) -> bool:
        """False where that was ordered before, or is more than the policy allows."""


def _nobody(_session: Session, _order: Order, _policy: Policy, _now_ms: int) -> bool:
    return False


def _untold(_session: Session, _number: int, _since_ms: int) -> Told:
    return UNTOLD


def _nothing(_session: Session, _number: int, _now_ms: int, _reason: str) -> int:
    return 0


def _no_permit(_session: Session, _place: Place, _at_ms: int, _timezone: str) -> Cover | None:
    return None


@dataclass(frozen=True)
class Office:
    """The other rooms, as the desk sees them.

    Args:
        order: has somebody told.
        told: what became of a ticket's notices to its shop that were ordered since an instant.
        withdraw: takes back what has not gone out for a ticket; the last one says why.
        covering: finds a permit.
    """

    order: Ordering = _nobody
    told: Callable[[Session, int, int], Told] = _untold
    withdraw: Callable[[Session, int, int, str], int] = _nothing
    covering: Covering = _no_permit


ALONE: Final = Office()
