"""Tables of indicators: a day's tickets packed, and how many people were counted."""

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Key, Small


class PackedDay(Base):
    """The facts of all tickets of a street that appeared on one day, packed; good where `marks` is their sum still."""

    __tablename__ = "packed_day"

    street: Mapped[Key]
    from_ms: Mapped[int] = mapped_column(primary_key=True)
    until_ms: Mapped[int] = mapped_column(primary_key=True)
    """Of the day in the center's time zone."""
    marks: Mapped[int]
    pack: Mapped[bytes]


class FootfallRow(Base):
    """People in a zone in a quarter of an hour, from what its box counted."""

    __tablename__ = "footfall"
    __table_args__ = (Index("ix_footfall_from_ms", "from_ms"),)

    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    camera: Mapped[Key]
    zone: Mapped[Key]
    from_ms: Mapped[int] = mapped_column(primary_key=True)
    """Its beginning; a multiple of a quarter."""
    looks: Mapped[Small]
    """How many counts the mean is of."""
    mean: Mapped[float]
    most: Mapped[Small]
    lower_bound: Mapped[Small]
    """1: the counter was full at least once, and more may have been there."""
