"""Tables of detectors and their roll-outs."""

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, LargeBinary, Text
from sqlalchemy.orm import Mapped, deferred, mapped_column

from collector.store.tables import Base, Number


class DetectorRow(Base):
    """A detector that boxes may fetch, with its signed manifest; here, where each collector and a back-up have it."""

    __tablename__ = "detector"

    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    signed: Mapped[str] = mapped_column(Text)
    """`protocol.detectors.Signed`, JSON."""
    added_ms: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = deferred(mapped_column(LargeBinary))


class RolloutRow(Base):
    """A detector that goes to boxes, group after group."""

    __tablename__ = "rollout"

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("detector.sha256"), index=True)
    state: Mapped[str] = mapped_column(Text)
    """`running`, `done`, `stopped` or `back`."""
    why: Mapped[str] = mapped_column(Text, default="")
    """Why it was stopped by itself."""
    group: Mapped[int] = mapped_column(Integer)
    """The last one that has begun, from 1."""
    most: Mapped[float] = mapped_column(Float)
    """Share of a group's boxes that may refuse it or take it back."""
    by: Mapped[str] = mapped_column(Text)
    started_ms: Mapped[int] = mapped_column(BigInteger)
    ended_ms: Mapped[int | None] = mapped_column(BigInteger)


class RolloutBox(Base):
    """A box of a roll-out, what it is told, and what it says."""

    __tablename__ = "rollout_box"
    __table_args__ = (Index("ix_rollout_box_due", "sent_ms"),)

    number: Mapped[int] = mapped_column(Number, ForeignKey("rollout.number"), primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True, index=True)
    group: Mapped[int] = mapped_column(Integer)
    action: Mapped[str] = mapped_column(Text, default="")
    """`take`, `keep` or `back`; empty: its group has not begun."""
    sent_ms: Mapped[int | None] = mapped_column(BigInteger)
    """None: to be published, where there is an action."""
    state: Mapped[str] = mapped_column(Text)
    """`waiting`, or what the box says."""
    text: Mapped[str] = mapped_column(Text, default="")
    compared: Mapped[str] = mapped_column(Text, default="null")
    """What its shadow run has found, JSON."""
    since_ms: Mapped[int] = mapped_column(BigInteger)


class DetectorReport(Base):
    """What a box last said of its detector."""

    __tablename__ = "detector_reported"

    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    """Empty: it has none."""
    sha256: Mapped[str] = mapped_column(Text)
    board: Mapped[str] = mapped_column(Text)
    """What its processor and board are called."""
    received_ms: Mapped[int] = mapped_column(BigInteger)
