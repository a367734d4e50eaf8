"""Tables of notices."""

from sqlalchemy import ForeignKey, Index, Integer
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Key, Number, Serial, Small


class NoticeRow(Base):
    """A notice that was ordered, and where it stands."""

    __tablename__ = "notice"
    __table_args__ = (
        Index("ix_notice_due", "state", "next_ms"),
        Index("ix_notice_shop", "audience", "recipient", "day"),
    )

    number: Mapped[Serial]
    key: Mapped[str] = mapped_column(unique=True)
    """Given by whoever ordered it: the same order twice is once."""
    ticket_number: Mapped[int | None] = mapped_column(Number, ForeignKey("ticket.number"), index=True)
    kind: Mapped[str]
    audience: Mapped[str]
    recipient: Mapped[str]
    """Id of a shop or a person, an address, or empty."""
    street: Mapped[str]
    level: Mapped[str]
    text: Mapped[str] = mapped_column(default="")
    """What it says beyond its template."""
    minutes: Mapped[int | None] = mapped_column(Integer)
    """That a shop has, from when it was told."""
    due_ms: Mapped[int | None]
    """The deadline that it tells of."""
    not_before_ms: Mapped[int]
    expires_ms: Mapped[int]
    """Not sent any more from then on."""
    day: Mapped[str]
    """The street's date on which it may go out first; shops' notices are counted by it."""
    created_ms: Mapped[int]
    changed_ms: Mapped[int]
    state: Mapped[str]
    """`waiting`, `sending`, `accepted` (its delivery report is waited for), `sent`, `delivered`, `unsure`, `failed`,
    `expired`, `withdrawn`, `limited`."""
    step: Mapped[Small] = mapped_column(default=0)
    """Which channel of the chain it is at."""
    tries: Mapped[Small] = mapped_column(default=0)
    """On this channel."""
    doubt: Mapped[Small] = mapped_column(default=0)
    """1: an earlier try may have reached somebody."""
    next_ms: Mapped[int]
    """When it is to be tried; of one that is being sent: when it is given up."""
    attempt: Mapped[int | None]
    """Number of the newest try."""
    told_ms: Mapped[int | None]
    """When its recipient can be taken to have been told; set once."""
    code: Mapped[str] = mapped_column(default="")
    reason: Mapped[str] = mapped_column(default="")
    copy_of: Mapped[int | None] = mapped_column(Number, index=True)
    """The notice for whose recipient a route lists several addresses; this one goes to the address that it names."""


class NoticeAttempt(Base):
    """One try to send a notice over one channel; written before anything leaves."""

    __tablename__ = "notice_attempt"
    __table_args__ = (
        Index("ix_notice_attempt_channel", "channel", "started_ms"),
        Index("ix_notice_attempt_report", "report_ms"),
    )

    number: Mapped[Serial]
    notice_number: Mapped[int] = mapped_column(Number, ForeignKey("notice.number"), index=True)
    request: Mapped[str]
    """Id of the message; the notices of a digest have the same."""
    channel: Mapped[str]
    address: Mapped[str] = mapped_column(default="")
    """In full only while a delivery report is asked for."""
    body: Mapped[str] = mapped_column(default="")
    """What was sent, without the link."""
    started_ms: Mapped[int]
    ended_ms: Mapped[int | None]
    outcome: Mapped[str]
    """`sending`, then an outcome of `collector.notices.outcomes`."""
    code: Mapped[str] = mapped_column(default="")
    text: Mapped[str] = mapped_column(default="")
    provider: Mapped[str] = mapped_column(default="")
    """The carrier's id of the message."""
    report_ms: Mapped[int | None]
    """When to ask for its delivery report next."""


class NoticeLink(Base):
    """A link to a shop's page; only the hash of its last part is kept."""

    __tablename__ = "notice_link"

    token_sha256: Mapped[Key]
    attempt_number: Mapped[int] = mapped_column(Number, ForeignKey("notice_attempt.number"), index=True)
    notice_number: Mapped[int] = mapped_column(Number, ForeignKey("notice.number"), index=True)
    ticket_number: Mapped[int] = mapped_column(Number, ForeignKey("ticket.number"))
    shop: Mapped[str]
    language: Mapped[str]
    created_ms: Mapped[int]
    expires_ms: Mapped[int] = mapped_column(index=True)


class NoticeAnswer(Base):
    """What a shop said on its page, kept even where the ticket took it no more."""

    __tablename__ = "notice_answer"

    number: Mapped[Serial]
    notice_number: Mapped[int] = mapped_column(Number, ForeignKey("notice.number"), index=True)
    ticket_number: Mapped[int] = mapped_column(Number, ForeignKey("ticket.number"), index=True)
    shop: Mapped[str]
    verb: Mapped[str]
    """`shop_done`, `appeal` or `not_mine`."""
    text: Mapped[str]
    at_ms: Mapped[int]
    code: Mapped[str] = mapped_column(default="")
    """Why the ticket did not take it; empty: it did."""
