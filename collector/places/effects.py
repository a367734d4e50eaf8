"""What a change here means for tickets: they are looked at again, and what follows is theirs to decide."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from collector.places.fields import Zone
from collector.store import Ticket
from collector.tickets import desk

MANY: Final = 200
"""Where more places than this are concerned, all tickets that go on are looked at: once more changes nothing."""
_GOING_ON: Final = or_(Ticket.open == 1, and_(Ticket.state == "exempt", Ticket.present == 1))
"""What is exempt is not open, and may still stand there."""


def concerned(
    session: Session, shops: Collection[str], zones: Collection[Zone], boxes: Collection[str] = ()
) -> dict[int, str]:
    """Tickets that go on and are of one of these shops, zones or boxes: key by number."""
    query = select(Ticket.number, Ticket.key).where(_GOING_ON).order_by(Ticket.number)
    if len(shops) + len(zones) + len(boxes) <= MANY:
        at = [_at(zone) for zone in zones]
        query = query.where(or_(Ticket.shop.in_(shops), Ticket.box_id.in_(boxes), *at))
    return {row.number: row.key for row in session.execute(query)}


def _at(zone: Zone) -> Any:
    return and_(Ticket.box_id == zone[0], Ticket.camera == zone[1], Ticket.zone == zone[2])


def look_again(session: Session, tickets: Mapping[int, str]) -> None:
    """Have these tickets looked at, in the caller's transaction."""
    desk.look_at_all(session, tickets)
