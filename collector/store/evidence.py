"""Tables of proof: what arrived and when, what the seals say, and what is held for the law."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Key, Number, Serial


class LedgerRow(Base):
    """What arrived together, one line for each commit; each names the hash of the one before."""

    __tablename__ = "ledger"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 1, without gaps."""
    at_ms: Mapped[int]
    items: Mapped[str]
    """JSON: [[kind, id, SHA-256 of its row], …]."""
    before: Mapped[str]
    hash: Mapped[str]


class SealRow(Base):
    """What a box said of a picture that it sealed, and whether that was good as it came."""

    __tablename__ = "seal"

    picture_id: Mapped[Key]
    """Of `picture`, which may come later, or never."""
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), index=True)
    incident: Mapped[str] = mapped_column(index=True)
    link: Mapped[str] = mapped_column(index=True)
    """Its place in the box's chain, see `protocol.seal`."""
    prev: Mapped[str | None] = mapped_column(index=True)
    state: Mapped[str]
    """`good`, `broken`, or `unknown` until the box has told its key."""
    why: Mapped[str]
    at_ms: Mapped[int]


class HoldRow(Base):
    """A legal hold: nothing of this ticket is deleted until it is lifted."""

    __tablename__ = "legal_hold"

    number: Mapped[Serial]
    ticket_number: Mapped[int] = mapped_column(Number, ForeignKey("ticket.number"), index=True)
    by: Mapped[str]
    why: Mapped[str]
    since_ms: Mapped[int]
    lifted_ms: Mapped[int | None]
    lifted_by: Mapped[str | None]
