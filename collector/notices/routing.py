"""Whom a notice goes to, and at which address."""

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from collector.notices import seams
from collector.notices.channels.callback import Loudspeaker
from collector.notices.messages import ChannelBase
from collector.notices.seams import Recipient
from collector.notices.settings import RouteSection
from collector.store import NoticeRow, Ticket

PHONE: Final = re.compile(r"^\+?[0-9]{5,15}$")
MAIL: Final = re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$")


@dataclass(frozen=True)
class Reach:
    """How somebody is reached over one channel."""

    address: str = ""
    device: str = ""
    name: str = ""
    language: str | None = None


def tidy_phone(text: str) -> str:
    """A telephone number without what people write into it; empty where it is none."""
    digits = re.sub(r"[\s()-]", "", text)
    return digits if PHONE.match(digits) else ""


def recipient_of(session: Session, row: NoticeRow) -> Recipient:
    """Whom a notice names: a shop or a person of the registers, or an address itself."""
    if row.audience == "shop":
        return seams.shop(session, row.recipient) or Recipient()
    if MAIL.match(row.recipient):
        return Recipient(email=row.recipient)
    phone = tidy_phone(row.recipient)
    if phone:
        return Recipient(phone=phone)
    return (seams.person(session, row.recipient) if row.recipient else None) or Recipient()


def address_for(
    channel: ChannelBase, row: NoticeRow, recipient: Recipient, route: RouteSection, ticket: Ticket | None
) -> Reach | None:
    """The address that a channel wants; None where there is none."""
    needs = channel.address_kind()
    name, language = recipient.name, recipient.language
    if needs == "none":
        return Reach(name=name, language=language)
    if needs == "device":
        place = "" if ticket is None else f"{ticket.box_id}/{ticket.camera}/{ticket.zone}"
        device = channel.device_at(place) if isinstance(channel, Loudspeaker) else None
        return None if device is None else Reach(device=device, name=name, language=language)
    named = tidy_phone(recipient.phone) if needs == "phone" else recipient.email
    if named:
        return Reach(address=named, name=name, language=language)
    if row.audience == "shop":
        # what a route lists are no shops
        return None
    listed = [
        found for one in route.to if (found := tidy_phone(one) if needs == "phone" else one if MAIL.match(one) else "")
    ]
    return Reach(address=listed[0], name=name, language=language) if listed else None
