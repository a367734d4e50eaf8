"""Whom a notice goes to, and at which address."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector.notices import seams
from collector.notices.addresses import MAIL, tidy_phone
from collector.notices.channels.callback import Loudspeaker
from collector.notices.messages import ChannelBase
from collector.notices.seams import Recipient
from collector.notices.secrets import masked
from collector.notices.settings import RouteSection
from collector.store import NoticeRow, Ticket


@dataclass(frozen=True)
class Reach:
    """How somebody is reached over one channel."""

    address: str = ""
    device: str = ""
    name: str = ""
    language: str | None = None


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


def named(row: NoticeRow) -> str:
    """Whom a notice names, as it may be shown: ids as they are, addresses masked."""
    is_address = row.audience != "shop" and (MAIL.match(row.recipient) or tidy_phone(row.recipient))
    return masked(row.recipient) if is_address else row.recipient


def address_for(channel: ChannelBase, recipient: Recipient, ticket: Ticket | None) -> Reach | None:
    """The address of the recipient's own that a channel wants; None where there is none."""
    needs = channel.address_kind()
    name, language = recipient.name, recipient.language
    if needs == "none":
        return Reach(name=name, language=language)
    if needs == "device":
        place = "" if ticket is None else f"{ticket.box_id}/{ticket.camera}/{ticket.zone}"
        device = channel.device_at(place) if isinstance(channel, Loudspeaker) else None
        return None if device is None else Reach(device=device, name=name, language=language)
    address = suiting(channel, recipient.phone) or suiting(channel, recipient.email)
    return Reach(address=address, name=name, language=language) if address else None


def suiting(channel: ChannelBase, address: str) -> str:
    """An address as a channel takes it; empty where it is none for it."""
    needs = channel.address_kind()
    if needs == "phone":
        return tidy_phone(address)
    return address if needs == "email" and MAIL.match(address) else ""


def listed(
    session: Session, row: NoticeRow, channel: ChannelBase, later: Sequence[ChannelBase], recipient: Recipient,
    route: RouteSection,
) -> list[str]:  # fmt: skip
    """What a route lists for somebody whom this channel does not reach, the first of it one that the channel takes.

    Empty where nothing is for them: for a shop (what a route lists are no shops), for a copy, while a channel to come
    has an address of their own, and where the channel takes none of it. What has a copy of this notice is left out.
    """
    own = any(suiting(one, recipient.phone) or suiting(one, recipient.email) for one in later)
    if row.audience == "shop" or row.copy_of is not None or own:
        return []
    told = set(session.scalars(select(NoticeRow.recipient).where(NoticeRow.copy_of == row.number)))
    left = [one for one in dict.fromkeys(tidy_phone(one) or one for one in route.to) if one not in told]
    first = next((one for one in left if suiting(channel, one)), None)
    return [] if first is None else [first, *(one for one in left if one != first)]
