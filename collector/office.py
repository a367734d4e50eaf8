"""The desk's office: the rooms of notices and places, as the desk of tickets asks them."""

from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from collector.notices import orders
from collector.places import permits, standing
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
    if wanted.audience == "shop" and not _may_be_told(session, wanted):
        # kept as one that did not go out, so that a person is asked instead
        limits = orders.Limits(per_day=0, per_ticket=0, zone=zone)
    return orders.order(session, orders.NoticeOrder(**vars(wanted)), now_ms=now_ms, limits=limits)


def _may_be_told(session: Session, wanted: Order) -> bool:
    """Whether register and box agree on whose place it is: nobody is told of another one's goods."""
    ticket = session.get_one(Ticket, wanted.ticket)
    return standing.standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone).tell is not None


def _told(session: Session, number: int, since_ms: int) -> Told:
    found = orders.told(session, number, since_ms=since_ms)
    return Told(found.state, found.at_ms, found.count)


def _covering(session: Session, place: Place, at_ms: int, timezone: str) -> Cover | None:
    found = permits.covering(
        session, place.shop, place.street, place.box, place.camera, place.zone, at_ms, ZoneInfo(timezone)
    )
    return None if found is None else Cover(found.permit_id, found.number, found.until_ms)
