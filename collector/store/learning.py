"""Table of what was released for training."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Key, Number


class TrainingRelease(Base):
    """A picture of a false alarm that a named person released for training: retention leaves it alone."""

    __tablename__ = "training_release"

    sha256: Mapped[Key]
    ticket: Mapped[int] = mapped_column(Number, ForeignKey("ticket.number"), index=True)
    by: Mapped[str]
    """Who did it, `kind:id`."""
    at_ms: Mapped[int]
    why: Mapped[str]
