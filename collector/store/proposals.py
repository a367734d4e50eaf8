"""Table of what residents and shops propose for their street, and what they say of a proposal."""

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Number, Serial


class ProposalRow(Base):
    """A proposal, or a comment on one. Nothing in it says who wrote it."""

    __tablename__ = "proposal"
    __table_args__ = (Index("ix_proposal_street", "street", "state"),)

    number: Mapped[Serial]
    street: Mapped[str]
    of: Mapped[int | None] = mapped_column(Number, ForeignKey("proposal.number"), index=True)
    """The proposal that it comments on; None: it is one itself."""
    text: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    """Of the form that it came in: the same again is the same proposal."""
    state: Mapped[str]
    """`waiting`, `shown` or `refused`."""
    answer: Mapped[str]
    """The center's; empty: none yet."""
    received_ms: Mapped[int]
    decided_ms: Mapped[int | None]
    decided_by: Mapped[str]
    """Who did, `kind:id`; empty: nobody has looked at it."""
