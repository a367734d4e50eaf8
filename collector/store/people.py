"""Tables of people and of what they did."""

from sqlalchemy import BigInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base


class AuditRow(Base):
    """One line of the audit log; never changed and never deleted, each names the hash of the one before."""

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """From 1, without gaps."""
    at_ms: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(Text)
    """`kind:id`."""
    action: Mapped[str] = mapped_column(Text)
    object: Mapped[str] = mapped_column(Text, index=True)
    """`kind/id` of what was changed or looked at."""
    detail: Mapped[str] = mapped_column(Text)
    """JSON."""
    before: Mapped[str] = mapped_column(Text)
    """Hash of the line before, hexadecimal; zeros before the first."""
    hash: Mapped[str] = mapped_column(Text)
