"""Where notices meet the other parts, each in one function."""

import json
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from collector.notices import orders
from collector.people.actor import Actor
from collector.places import cameras, shops, standing
from collector.store import PersonRow, Ticket, TicketEvent
from collector.tickets import desk

LANGUAGES: Final = ("zh", "en")


class NotTakenError(Exception):
    """The desk does not take what a shop said; its code, and a line that may be shown."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Recipient:
    """Somebody who is told.

    Args:
        name: as it stands in texts.
        language: `zh` or `en`; None: the center's.
    """

    name: str = ""
    phone: str = ""
    email: str = ""
    language: str | None = None


def look(session: Session, ticket: int) -> None:
    """Have the desk look at a ticket: what its shop was told has changed."""
    desk.look(session, ticket)


def shop(session: Session, shop_id: str) -> Recipient | None:
    """A shop of the register."""
    found = shops.find(session, shop_id)
    if found is None or found.state == "closed":
        return None
    language = found.language if found.language in LANGUAGES else None
    return Recipient(name=found.name, phone=found.phone or found.other_phone, email=found.email, language=language)


def place(session: Session, ticket: Ticket) -> tuple[str, str]:
    """Where a ticket is: the shop's address, empty where nobody has entered it, and the camera's name with the zone."""
    found = shops.find(session, ticket.shop) if ticket.shop else None
    address = "" if found is None else found.address
    if ticket.report is not None:
        return address or ticket.report.address, ticket.report.cell
    camera = cameras.find(session, ticket.box_id or "", ticket.camera)
    name = camera.name if camera is not None and camera.name else ticket.camera
    return address, f"{name} · {ticket.zone}"


def doubt(session: Session, ticket: Ticket) -> tuple[str, str] | None:
    """Why nobody is told by itself of a ticket: register and box do not agree on whose place it is; a code, a line."""
    found = standing.standing(session, ticket.shop, ticket.box_id, ticket.camera, ticket.zone)
    if found.tell is not None:
        return None
    return found.code or "no_shop", found.warning.en if found.warning is not None else "it is nobody's place"


def person(session: Session, person_id: str) -> Recipient | None:
    """A person who works here; None where there is none. Without an address of theirs a route's own count."""
    found = session.get(PersonRow, person_id.removeprefix("person:"))
    if found is None or found.disabled_ms is not None:
        return None
    return Recipient(name=found.name, phone=found.phone, email=found.mail)


def say(session: Session, shop_id: str, ticket: Ticket, verb: str, reason: str, at_ms: int) -> None:
    """Tell the desk what a shop said on its page; raises NotTakenError."""
    try:
        desk.act(session, Actor.shop(shop_id), ticket.number, verb, at_ms=at_ms, reason=reason)
    except desk.RefusedError as fault:
        raise NotTakenError(str(getattr(fault, "code", "refused")), str(fault)) from None


def keep(session: Session, shop_id: str, ticket: Ticket, verb: str, reason: str, code: str, at_ms: int) -> None:
    """Put what a shop said, and the desk did not take, on the ticket's time line; an objection goes to a person too."""
    line = TicketEvent(
        ticket_number=ticket.number,
        kind="said",
        at_ms=at_ms,
        received_ms=at_ms,
        detail=json.dumps({"verb": verb, "not_taken": code}),
        author=str(Actor.shop(shop_id)),
        reason=reason,
    )
    session.add(line)
    session.flush()
    if verb in ("appeal", "not_mine"):
        wanted = orders.NoticeOrder(
            key=f"{ticket.number}/said/{line.id}",
            ticket=ticket.number,
            kind=orders.OBJECTION,
            audience="operator",
            to="",
            street=ticket.street,
            due_ms=None,
            level=0,
            not_before_ms=at_ms,
            text=reason,
        )
        orders.order(session, wanted, now_ms=at_ms)
