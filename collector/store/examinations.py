"""Table of what boxes' doctors have found, and of installations that were accepted."""

from sqlalchemy import BigInteger, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Number


class ExaminationRow(Base):
    """A report of a box's doctor; accepted, it is the record of the installation."""

    __tablename__ = "examination"

    number: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), index=True)
    command_id: Mapped[str] = mapped_column(Text, unique=True)
    by: Mapped[str] = mapped_column(Text)
    """Who asked for it, as in the command."""
    received_ms: Mapped[int] = mapped_column(BigInteger)
    report: Mapped[str] = mapped_column(Text)
    """JSON of `protocol.commands.Examined`."""
    accepted_ms: Mapped[int | None] = mapped_column(BigInteger)
    accepted_by: Mapped[str] = mapped_column(Text)
    """`kind:id`; empty: nobody yet."""
    handed_over_by: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
