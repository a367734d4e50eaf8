"""Tables of what is rolled out to boxes, detectors and systems, and of the roll-outs."""

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Integer, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Number


class ArtefactRow(Base):
    """A detector that boxes may fetch, here, where each collector and a back-up have it; or a system, in a file."""

    __tablename__ = "detector"
    """They were the first."""

    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text, default="detector")
    """`detector` or `system`."""
    name: Mapped[str] = mapped_column(Text, unique=True)
    """Of a system: board and version."""
    signed: Mapped[str] = mapped_column(Text)
    """`protocol.detectors.Signed` or `protocol.systems.Bundle`, JSON."""
    added_ms: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    """Of a system: where its file is in the data directory. Empty: it has made room for newer ones."""


class RolloutRow(Base):
    """A detector or a system that goes to boxes, group after group."""

    __tablename__ = "rollout"

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("detector.sha256"))
    state: Mapped[str] = mapped_column(Text)
    """`running`, `done` or `stopped`."""
    why: Mapped[str] = mapped_column(Text, default="")
    """It was stopped by itself."""
    group: Mapped[int] = mapped_column(Integer)
    """The last one that has begun, from 1."""
    most: Mapped[float] = mapped_column(Float)
    """Share of a group's boxes that may refuse it or take it back."""
    by: Mapped[str] = mapped_column(Text)
    started_ms: Mapped[int] = mapped_column(BigInteger)


class RolloutBox(Base):
    """A box of a roll-out."""

    __tablename__ = "rollout_box"

    number: Mapped[int] = mapped_column(Number, ForeignKey("rollout.number"), primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    group: Mapped[int] = mapped_column(Integer)
    due: Mapped[bool] = mapped_column(Boolean, index=True)
    """Whether it is to be told of it, or of its end."""
    state: Mapped[str] = mapped_column(Text)
    """`waiting`, or what the box says."""
    text: Mapped[str] = mapped_column(Text, default="")
    since_ms: Mapped[int] = mapped_column(BigInteger)
