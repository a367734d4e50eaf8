"""The tables."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

if TYPE_CHECKING:
    from collector.store.exchange import ReportRow

Number = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up only plain integers by itself."""
Serial = Annotated[int, mapped_column(Number, primary_key=True, autoincrement=True)]
"""A primary key that counts up by itself."""
Key = Annotated[str, mapped_column(primary_key=True)]
"""A primary key, or a part of one, that is a text."""
Small = Annotated[int, mapped_column(Integer)]
"""A number of 32 bits."""


class Base(DeclarativeBase):
    """All tables; constraints have names, so that a migration can change them.

    A column has the type of its annotation where it names none: a `str` is any text, an `int` has 64 bits.
    """

    __table__: ClassVar[Table]

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text(), int: BigInteger(), float: Float()}
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Box(Base):
    """A box that was announced, or has written to this center; its id is unique here."""

    __tablename__ = "box"

    id: Mapped[Key]
    site: Mapped[str]
    public_key: Mapped[str | None]
    """Of the seal; the first one that came stays."""
    state: Mapped[str] = mapped_column(default="unknown")
    version: Mapped[str] = mapped_column(default="")
    boot_id: Mapped[str] = mapped_column(default="")
    state_since_ms: Mapped[int]
    seen_ms: Mapped[int]
    health: Mapped[str | None]
    """What it last said of how it is doing, JSON."""
    health_ms: Mapped[int | None]
    """When that came."""
    encryption_key: Mapped[str | None]
    """Secrets are sealed to it; the newest one that came."""
    listed: Mapped[str | None]
    """Ids of the incidents that went on as the box connected, JSON; null: not said, or dealt with."""
    listed_ms: Mapped[int | None]
    """When it made that list, by its own clock."""
    clock_boot: Mapped[str | None]
    started_ms: Mapped[int | None]
    """When the box started (`clock_boot`), by the center's clock."""
    standing: Mapped[str] = mapped_column(default="guest")
    """`guest` came by itself, `expected` has a claim code, then `enrolled`; `revoked` and `replaced` are out."""
    replaced_by: Mapped[str | None]
    system: Mapped[str | None]
    """`protocol.systems.SystemReported`, JSON; null: it has none that could be rolled out."""


class Claim(Base):
    """A claim code; only its hash is kept."""

    __tablename__ = "claim"

    id: Mapped[Serial]
    code_sha256: Mapped[str] = mapped_column(unique=True)
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), index=True)
    created_ms: Mapped[int]
    expires_ms: Mapped[int]
    attempts: Mapped[Small] = mapped_column(default=0)
    """That were refused."""
    key_sha256: Mapped[str | None]
    """Of the key that used it; the same key is answered again."""
    serial: Mapped[str | None]


class CertificateRow(Base):
    """A certificate that the center's CA signed, its own first."""

    __tablename__ = "certificate"

    serial: Mapped[Key]
    """Hexadecimal."""
    usage: Mapped[str]
    """`ca`, `server`, `collector` or `box`."""
    name: Mapped[str] = mapped_column(index=True)
    """CN; a box's id."""
    key_sha256: Mapped[str]
    issued_ms: Mapped[int]
    not_after_ms: Mapped[int]
    revoked_ms: Mapped[int | None]
    pem: Mapped[str]


class Secret(Base):
    """What all collectors of a center know and no box does."""

    __tablename__ = "secret"

    name: Mapped[Key]
    value: Mapped[str]


class CameraRow(Base):
    """What a camera last said of itself."""

    __tablename__ = "camera"

    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    camera: Mapped[Key]
    state: Mapped[str]
    since_ms: Mapped[int]
    text: Mapped[str] = mapped_column(default="")
    restarts: Mapped[Small] = mapped_column(default=0)
    learning: Mapped[str] = mapped_column(default="[]", server_default="[]")
    """Zones whose clear look is not known yet, JSON."""
    unavailable: Mapped[str] = mapped_column(default="[]", server_default="[]")
    """Zones that cannot be judged, JSON; `text` says why."""


class MessageRow(Base):
    """Every incident message that was taken, as it came; its id makes twice once."""

    __tablename__ = "message"

    id: Mapped[Key]
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"))
    incident: Mapped[str] = mapped_column(index=True)
    seq: Mapped[Small]
    type: Mapped[str]
    at_ms: Mapped[int | None]
    """When it was decided, by the center's clock; the payload has the box's."""
    received_ms: Mapped[int]
    payload: Mapped[str]


class Ticket(Base):
    """What the center works on; at most one open per key."""

    __tablename__ = "ticket"
    __table_args__ = (
        Index(
            "ix_ticket_one_open", "key", unique=True, sqlite_where=text("open = 1"), postgresql_where=text("open = 1")
        ),
        Index("ix_ticket_list", "open", "number"),
        Index("ix_ticket_look_ms", "look_ms"),
        Index("ix_ticket_camera", "box_id", "camera", "number"),
        Index("ix_ticket_state", "state", "number"),
        Index("ix_ticket_street", "street", "number"),
        Index("ix_ticket_mark", "street", "opened_ms", "mark"),
    )

    number: Mapped[Serial]
    key: Mapped[str] = mapped_column(index=True)
    rule: Mapped[str]
    shop: Mapped[str | None]
    box_id: Mapped[str | None] = mapped_column(ForeignKey("box.id"))
    """None, as `camera` and `zone` are empty: no camera has seen it, a person has reported it (see `ReportRow`)."""
    camera: Mapped[str]
    zone: Mapped[str]
    source: Mapped[str] = mapped_column(server_default="video")
    """Who told of it: one of `tickets.machine.SOURCES`."""
    state: Mapped[str]
    """One of `tickets.machine.State`."""
    open: Mapped[Small]
    """1: its state is not a final one."""
    opened_ms: Mapped[int]
    """First instant of its first incident's presence."""
    created_ms: Mapped[int]
    changed_ms: Mapped[int] = mapped_column(index=True)
    cleared_ms: Mapped[int | None]
    repeat_of: Mapped[int | None] = mapped_column(Number, ForeignKey("ticket.number"), index=True)
    reopened: Mapped[Small] = mapped_column(default=0)
    late: Mapped[Small] = mapped_column(default=0)
    """1: all its incidents came late; deadlines count from what the shop is told, and nobody is alarmed for one that
    is over."""
    street: Mapped[str] = mapped_column(server_default="")
    """Site of the box that saw it first."""
    present: Mapped[Small] = mapped_column(server_default="0")
    """1: something still stands there, as far as is known."""
    look_ms: Mapped[int | None]
    """When the desk has to look at it; all timers are this."""
    version: Mapped[Small] = mapped_column(server_default="1")
    """Counts the steps: whoever acts says which one they saw."""
    since_ms: Mapped[int] = mapped_column(server_default="0")
    """When its present state began."""
    entered: Mapped[Small] = mapped_column(server_default="1")
    """The version with which that was: what belongs to this state alone is known by it."""
    news: Mapped[Small] = mapped_column(server_default="0")
    """1: something goes on there that came after the desk had closed it."""
    acted_ms: Mapped[int | None]
    """When the desk first did something with it; from then on it holds together what belongs to it."""
    closed_ms: Mapped[int | None]
    """When it came to a final state."""
    back: Mapped[str | None]
    """The state that a rejected appeal, or a return that lapses before review, leads back to."""
    mark: Mapped[int] = mapped_column(server_default="0")
    """Of all that indicators are made of, see `tickets.facts`; 0: not worked out yet."""

    # what follows is the desk's alone: the inbox neither reads nor writes it
    reviewer: Mapped[str | None]
    """The person who reviewed the picture, by `kind:id`; without one it is never registered."""
    reviewed_ms: Mapped[int | None]
    policy: Mapped[int | None] = mapped_column(Number)
    """Revision of the street's policy that its present step began with; None: the built-in one."""
    due_ms: Mapped[int | None]
    """Deadline of the present step."""
    due_kind: Mapped[str] = mapped_column(server_default="")
    """Which of the policy's deadlines that is, and in which time it counts."""
    due_entered: Mapped[int | None] = mapped_column(Integer)
    """`entered` of the state that the deadline belongs to."""
    level: Mapped[Small] = mapped_column(server_default="0")
    """How often it was escalated in the present step; 0: not overdue."""
    round: Mapped[Small] = mapped_column(server_default="1")
    """One more each time that it begins anew; people are told once in each."""
    told_ms: Mapped[int | None]
    """When the shop was told in this round."""
    shop_due_ms: Mapped[int | None]
    """End of the shop's minutes in this round; nobody enforces before it."""
    shop_asked_ms: Mapped[int | None]
    """When this round began with the shop: no enforcement until it was told. None: it did not."""
    ordered: Mapped[int | None] = mapped_column(Integer)
    """`entered` of the state for which people were last told; what waits for another one is withdrawn."""
    urgency: Mapped[str] = mapped_column(server_default="normal")
    offences: Mapped[Small] = mapped_column(server_default="0")
    """Earlier confirmed tickets of its key within the policy's days, as it was confirmed."""
    assignee: Mapped[str | None]
    """Whom it was dispatched to."""
    case_number: Mapped[str | None] = mapped_column(unique=True, index=True)
    """19 digits: region, date, serial; from registration on."""
    outcome: Mapped[str | None]
    """Of `closed`: `community`, `handled`, `withdrawn`, …; of `verifying`: what it will be."""
    permit: Mapped[str | None]
    """Number of the permit that makes it exempt."""
    duplicate_of: Mapped[int | None] = mapped_column(Number, index=True)
    found: Mapped[str | None]
    """Of one that a person reported: what somebody found who went there, one of `tickets.machine.FINDINGS`."""
    pause: Mapped[int | None] = mapped_column(Number)
    """The pause that keeps it quiet."""
    paused_until_ms: Mapped[int | None]
    left_ms: Mapped[int | None]
    """What was left of the deadline when an appeal stopped it."""
    verify: Mapped[int | None] = mapped_column(Integer)
    """Version whose commands `v-{number}-{version}-…` ask boxes to look; None: nobody is asked, or all was read."""
    verdict: Mapped[str] = mapped_column(default="", server_default="")
    """One of `tickets.facts.Verdict`: what was last judged of it."""
    first_told_ms: Mapped[int | None]
    """When the shop was told for the first time."""
    registered_ms: Mapped[int | None]
    """When it was registered for the first time, unless that was taken back."""
    fed_back: Mapped[Small] = mapped_column(default=0, server_default="0")
    """How often it was said to be handled; `reworked` likewise: to be done again."""
    reworked: Mapped[Small] = mapped_column(default=0, server_default="0")
    overdue: Mapped[Small] = mapped_column(default=0, server_default="0")
    """How many of its deadlines since registration were over before they were met or moved."""

    incidents: Mapped[list["IncidentRow"]] = relationship(order_by="IncidentRow.opened_ms", back_populates="ticket")
    events: Mapped[list["TicketEvent"]] = relationship(order_by="TicketEvent.id")
    report_row: Mapped["ReportRow | None"] = relationship(viewonly=True)

    @property
    def report(self) -> "ReportRow | None":
        """Of one that a person reported; of others nothing is asked of the database."""
        return self.report_row if self.box_id is None else None


class IncidentRow(Base):
    """An incident, as its newest message says."""

    __tablename__ = "incident"
    __table_args__ = (
        Index(
            "ix_incident_going",
            "opened_ms",
            sqlite_where=text("state IN ('open', 'orphaned')"),
            postgresql_where=text("state IN ('open', 'orphaned')"),
        ),
    )

    id: Mapped[Key]
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"))
    ticket_number: Mapped[int] = mapped_column(Number, ForeignKey("ticket.number"), index=True)
    state: Mapped[str]
    """`open`, `cleared`, `ended`, or `orphaned`: its box does not know it any more."""
    seq: Mapped[Small]
    opened_ms: Mapped[int]
    cleared_ms: Mapped[int | None]
    ended_ms: Mapped[int | None]
    received_ms: Mapped[int | None]
    """When its first message came."""
    late: Mapped[Small] = mapped_column(default=0)
    """1: the message that opened it came long after it was decided."""
    clock: Mapped[str] = mapped_column(default="told")
    """By what its times are known: `told`, `offset`, `uptime` or `received`."""
    visibility: Mapped[str]
    data: Mapped[str]
    """`data` of the newest message, JSON."""

    ticket: Mapped[Ticket] = relationship(back_populates="incidents")


class TicketEvent(Base):
    """One line of a ticket's time line."""

    __tablename__ = "ticket_event"

    id: Mapped[Serial]
    ticket_number: Mapped[int] = mapped_column(Number, ForeignKey("ticket.number"), index=True)
    kind: Mapped[str]
    at_ms: Mapped[int]
    """When it happened; picture time for what a camera saw."""
    received_ms: Mapped[int]
    message_id: Mapped[str | None]
    detail: Mapped[str] = mapped_column(default="{}")
    author: Mapped[str] = mapped_column(server_default="camera")
    """Who did it, by `kind:id`; `camera`: what a box told."""
    reason: Mapped[str] = mapped_column(server_default="")
    before: Mapped[str | None]
    """Of a step: what it changed, as it was before, JSON."""


class PictureRow(Base):
    """A picture that was taken; it may come before its incident. The file lies under its SHA-256."""

    __tablename__ = "picture"
    __table_args__ = (UniqueConstraint("incident", "role", "view", "sha256", name="uq_picture_place"),)

    id: Mapped[Key]
    box_id: Mapped[str | None] = mapped_column(ForeignKey("box.id"))
    """None: of a ticket that no camera has seen."""
    incident: Mapped[str] = mapped_column(index=True)
    """Or `report-{number}`, of a ticket that a person reported."""
    role: Mapped[str]
    view: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    bytes: Mapped[Small]
    received_ms: Mapped[int] = mapped_column(index=True)
    author: Mapped[str] = mapped_column(default="", server_default="")
    """The person who took it, by `kind:id`; empty: its box."""
    masked: Mapped[Small] = mapped_column(default=1, server_default="1")
    """0: nobody has masked faces in it."""
    taken_ms: Mapped[int | None]
    """Of a person's: when, as their telephone says; a box's stands in its incident, like its size."""
    width: Mapped[int | None]
    height: Mapped[int | None]
    deleted_ms: Mapped[int | None]
    """When its file was deleted; the row stays."""
    deleted_why: Mapped[str] = mapped_column(default="", server_default="")
    deleted_line: Mapped[int | None]
    """Of the audit log, that says so."""


class Refused(Base):
    """What was not taken, and why; only the newest of each box are kept."""

    __tablename__ = "refused"

    id: Mapped[Serial]
    box: Mapped[str] = mapped_column(default="", index=True)
    """Empty for what came from no known box."""
    bytes: Mapped[Small] = mapped_column(default=0)
    """Of the whole payload."""
    topic: Mapped[str]
    message_id: Mapped[str | None]
    code: Mapped[str]
    text: Mapped[str]
    received_ms: Mapped[int]
    head: Mapped[str]
    """The first characters of the payload."""


class CommandRow(Base):
    """A command to a box, who asked for it, and what became of it."""

    __tablename__ = "command"

    id: Mapped[Key]
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), index=True)
    verb: Mapped[str]
    args: Mapped[str]
    """JSON; a sealed secret is taken out once it was answered."""
    by: Mapped[str]
    asked_ms: Mapped[int]
    expires_ms: Mapped[int]
    sent_ms: Mapped[int | None]
    """When it was last sent."""
    state: Mapped[str] = mapped_column(index=True)
    """`waiting`, `sent`, `accepted`; then `timed_out`, or the reply's outcome: `ok`, `failed`, `refused`, `expired`."""
    code: Mapped[str] = mapped_column(default="")
    text: Mapped[str] = mapped_column(default="")
    data: Mapped[str] = mapped_column(default="{}")
    replied_ms: Mapped[int | None]


class AcceptanceRow(Base):
    """An installation that was accepted as the report of its box's doctor says, which answers a command."""

    __tablename__ = "acceptance"

    command_id: Mapped[str] = mapped_column(ForeignKey("command.id"), primary_key=True)
    at_ms: Mapped[int]
    by: Mapped[str]
    handed_over_by: Mapped[str]
    note: Mapped[str]


class CommandPicture(Base):
    """A picture that a command asked for, kept for a day; here, where each collector finds it."""

    __tablename__ = "command_picture"

    command_id: Mapped[str] = mapped_column(ForeignKey("command.id"), primary_key=True)
    view: Mapped[Key]
    role: Mapped[str]
    sha256: Mapped[str]
    jpeg: Mapped[bytes]
    received_ms: Mapped[int] = mapped_column(index=True)


class SettingsRow(Base):
    """A revision of a box's settings, or an edit made on the box that has become none."""

    __tablename__ = "settings_wanted"
    __table_args__ = (UniqueConstraint("box_id", "revision", name="uq_settings_wanted_revision"),)

    number: Mapped[Serial]
    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), index=True)
    revision: Mapped[int | None]
    """None: an edit on the box that was based on an older revision than the newest."""
    based_on: Mapped[int]
    """The revision that was newest when it was made; of a box's edit: the one that was edited."""
    document: Mapped[str]
    digest: Mapped[str]
    by: Mapped[str]
    """Who made it; `box` for an edit there."""
    made_ms: Mapped[int]
    state: Mapped[str]
    """`wanted`, `conflict`, or what the box reports: `pending`, `applied`, `rejected`, `rolled_back`."""
    errors: Mapped[str] = mapped_column(default="[]")
    answers: Mapped[str | None]
    """Digest of the box's last edit, once it was taken."""
    sent_ms: Mapped[int | None] = mapped_column(index=True)
    """None: to be published."""


class SettingsReport(Base):
    """What a box last said of its settings."""

    __tablename__ = "settings_reported"

    box_id: Mapped[str] = mapped_column(ForeignKey("box.id"), primary_key=True)
    revision: Mapped[int]
    digest: Mapped[str]
    state: Mapped[str]
    wanted: Mapped[int | None]
    errors: Mapped[str] = mapped_column(default="[]")
    received_ms: Mapped[int]
