"""Tables of what is rolled out to boxes, detectors and systems, and of the roll-outs."""

from sqlalchemy import Boolean, ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Key, Number, Serial, Small


class ArtefactRow(Base):
    """A detector that boxes may fetch, here, where each collector and a back-up have it; or a system, in a file."""

    __tablename__ = "detector"
    """They were the first."""

    sha256: Mapped[Key]
    kind: Mapped[str] = mapped_column(default="detector")
    """`detector` or `system`."""
    name: Mapped[str] = mapped_column(unique=True)
    """Of a system: board and version."""
    signed: Mapped[str]
    """`protocol.detectors.Signed` or `protocol.systems.Bundle`, JSON."""
    added_ms: Mapped[int]
    content: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    """Of a system: where its file is in the data directory. Empty: it has made room for newer ones."""


class RolloutRow(Base):
    """A detector or a system that goes to boxes, group after group."""

    __tablename__ = "rollout"

    number: Mapped[Serial]
    sha256: Mapped[str] = mapped_column(ForeignKey("detector.sha256"))
    state: Mapped[str]
    """`running`, `done` or `stopped`."""
    why: Mapped[str] = mapped_column(default="")
    """It was stopped by itself."""
    group: Mapped[Small]
    """The last one that has begun, from 1."""
    most: Mapped[float]
    """Share of a group's boxes that may refuse it or take it back."""
    by: Mapped[str]
    started_ms: Mapped[int]


class RolloutBox(Base):
    """A box of a roll-out."""

    __tablename__ = "rollout_box"

    number: Mapped[int] = mapped_column(Number, ForeignKey("rollout.number"), primary_key=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    group: Mapped[Small]
    due: Mapped[bool] = mapped_column(Boolean, index=True)
    """Whether it is to be told of it, or of its end."""
    state: Mapped[str]
    """`waiting`, or what the box says."""
    text: Mapped[str] = mapped_column(default="")
    since_ms: Mapped[int]
