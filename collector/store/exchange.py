"""Tables of what is exchanged with other systems: reports of people, webhooks and what waits to be sent to them."""

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Key, Number, Small


class ReportRow(Base):
    """What a person reported: the ticket that was made of it has the same number. Nothing in it names them."""

    __tablename__ = "report"
    __table_args__ = (UniqueConstraint("author", "reference", name="uq_report_reference"),)

    ticket_number: Mapped[int] = mapped_column(Number, ForeignKey("ticket.number"), primary_key=True)
    code: Mapped[str]
    """Of the event, by the table of codes."""
    description: Mapped[str]
    address: Mapped[str]
    lon: Mapped[float | None]
    """Degrees, WGS84; `lat` likewise."""
    lat: Mapped[float | None]
    cell: Mapped[str]
    """Of the unit grid; empty: not known."""
    reference: Mapped[str | None]
    """Its number where it came from; the same of one author again is the same report."""
    author: Mapped[str]
    """Who entered it, by `kind:id`; `public`: nobody who is known."""


class WebhookRow(Base):
    """A program elsewhere that is told of what happens to tickets."""

    __tablename__ = "webhook"

    id: Mapped[Key]
    url: Mapped[str]
    street: Mapped[str]
    """Empty: of all."""
    kinds: Mapped[str]
    """Of events, separated by commas; empty: all but those that change nothing (see the trigger of 0013)."""
    secret: Mapped[str]
    """Sealed, see `people.vault`."""
    active: Mapped[Small] = mapped_column(server_default="1")
    stopped: Mapped[str] = mapped_column(server_default="")
    """Why it is not active any more."""
    created_ms: Mapped[int]


class DeliveryRow(Base):
    """The outbox: one line of a time line that one webhook is to be told of. A trigger writes it with the line."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index("ix_webhook_delivery_due", "state", "due_ms"),
        Index("ix_webhook_delivery_event_id", "event_id"),
    )

    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"), primary_key=True)
    event_id: Mapped[int] = mapped_column(Number, ForeignKey("ticket_event.id"), primary_key=True)
    state: Mapped[str]
    """`waiting`, `sent`, or `parked`: given up until it is replayed."""
    tries: Mapped[Small]
    due_ms: Mapped[int]
    """When it is tried next; while it is tried, when others may think that whoever did died."""
    done_ms: Mapped[int | None]
    said: Mapped[str]
    """How the last try ended."""
