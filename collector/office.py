"""The desk's office: the rooms of notices and places, as the desk of tickets asks them."""

from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from collector.notices import orders, seams
from collector.places import permits
from collector.store import Ticket
from collector.tickets.policy import Policy
from collector.tickets.seams import Cover, Office, Order, Place, Told


def make_office() -> Office:
    """All rooms."""
    return Office(order=_order, told=_told, withdraw=orders.withdraw, covering=_covering)


def _order(session: Session, wanted: Order, policy: Policy, now_ms: int) -> bool:
    zone = ZoneInfo(policy.timezone)
    allowed = policy.shop.notices_a_day
    # of one ticket as many as of one day: each time that it comes back the shop is told anew
    limits = orders.Limits(per_day=allowed, per_ticket=allowed, zone=zone)
    given = orders.NoticeOrder(**vars(wanted))
    if wanted.audience != "shop":
        return orders.order(session, given, now_ms=now_ms, limits=limits)
    ticket = session.get_one(Ticket, wanted.ticket)
    # a collector whose clock is behind the one that asked for it orders it no earlier; and what may be another one's is
    # kept as one that did not go out, so that a person is asked instead
    return orders.order(
        session, given, now_ms=now_ms, asked_ms=ticket.shop_asked_ms, limits=limits, doubt=seams.doubt(session, ticket)
    )


def _told(session: Session, number: int, since_ms: int) -> Told:
    return orders.told(session, number, since_ms=since_ms)


def _covering(session: Session, place: Place, at_ms: int, timezone: str) -> Cover | None:
    return permits.covering(
        session, place.shop, place.street, place.box, place.camera, place.zone, at_ms, ZoneInfo(timezone)
    )
