"""Tables of the life of tickets: what streets want, what is kept quiet, and serials of case numbers."""

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from collector.store.tables import Base, Key, Serial, Small


class PolicyRow(Base):
    """A revision of a street's policy; never changed, the newest one counts."""

    __tablename__ = "policy"
    __table_args__ = (UniqueConstraint("street", "revision", name="uq_policy_revision"),)

    number: Mapped[Serial]
    street: Mapped[str]
    """A site; `*` is the default of all."""
    revision: Mapped[Small]
    """From 1, for each street."""
    document: Mapped[str]
    """JSON of `tickets.policy.Policy`."""
    author: Mapped[str]
    made_ms: Mapped[int]
    reason: Mapped[str] = mapped_column(server_default="")


class PauseRow(Base):
    """A camera, or one of its zones, that is kept quiet for a while, and why."""

    __tablename__ = "pause"
    __table_args__ = (Index("ix_pause_place", "box_id", "camera", "until_ms"),)

    number: Mapped[Serial]
    street: Mapped[str]
    box_id: Mapped[str]
    camera: Mapped[str]
    zone: Mapped[str | None]
    """None: the whole camera."""
    from_ms: Mapped[int]
    until_ms: Mapped[int]
    """Moved to an earlier instant when somebody ends it."""
    reason: Mapped[str]
    author: Mapped[str]
    ended_by: Mapped[str | None]


class CaseSerial(Base):
    """The last serial of a day's case numbers in a region."""

    __tablename__ = "case_serial"

    region: Mapped[Key]
    day: Mapped[Key]
    """YYYYMMDD at the street."""
    last: Mapped[Small]
