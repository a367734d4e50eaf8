"""Where notices meet the other parts, each in one function."""

import importlib
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from collector.people.actor import Actor
from collector.store import Ticket, TicketEvent

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


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as fault:
        # only the part itself may be missing
        if fault.name is not None and name.startswith(fault.name):
            return None
        raise


def look(session: Session, ticket: int) -> None:
    """Have the desk look at a ticket: what its shop was told has changed."""
    desk = _module("collector.tickets.desk")
    if desk is not None:
        desk.look(session, ticket)


def shop(session: Session, shop_id: str) -> Recipient | None:
    """A shop of the register."""
    shops = _module("collector.places.shops")
    found = None if shops is None else shops.find(session, shop_id)
    if found is None or getattr(found, "state", "active") == "closed":
        return None
    return _recipient(found)


def person(session: Session, person_id: str) -> Recipient | None:
    """A person who works here; None where there is none. Without an address of theirs a route's own count."""
    row_type = getattr(_module("collector.store"), "PersonRow", None)
    found = None if row_type is None else session.get(row_type, person_id.removeprefix("person:"))
    return None if found is None else _recipient(found)


def _recipient(found: Any) -> Recipient:
    language = getattr(found, "language", None)
    return Recipient(
        name=str(getattr(found, "name", "") or ""),
        phone=str(getattr(found, "phone", "") or getattr(found, "other_phone", "") or ""),
        email=str(getattr(found, "email", "") or ""),
        language=language if language in LANGUAGES else None,
    )


def say(session: Session, shop_id: str, ticket: Ticket, verb: str, reason: str, at_ms: int) -> None:
    """Tell the desk what a shop said on its page; raises NotTakenError."""
    desk = _module("collector.tickets.desk")
    if desk is None:
        detail = "{}"
        session.add(TicketEvent(ticket_number=ticket.number, kind=verb, at_ms=at_ms, received_ms=at_ms, detail=detail))
        ticket.changed_ms = at_ms
        return
    try:
        desk.act(session, Actor.shop(shop_id), ticket.number, verb, at_ms=at_ms, reason=reason)
    except desk.RefusedError as fault:
        raise NotTakenError(str(getattr(fault, "code", "refused")), str(fault)) from None
