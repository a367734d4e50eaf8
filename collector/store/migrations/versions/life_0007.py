"""The life of tickets: what the desk keeps of each, policies, pauses, serials of case numbers."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns and tables; what is open waits for its first look, what is over stays as it is."""
    with op.batch_alter_table("ticket") as table:
        for name, default in (("street", ""), ("due_kind", ""), ("urgency", "normal")):
            table.add_column(sa.Column(name, sa.Text(), nullable=False, server_default=default))
        for name, default in (
            ("present", "0"),
            ("version", "1"),
            ("level", "0"),
            ("round", "1"),
            ("offences", "0"),
            ("entered", "1"),
            ("news", "0"),
        ):
            table.add_column(sa.Column(name, sa.Integer(), nullable=False, server_default=default))
        table.add_column(sa.Column("since_ms", sa.BigInteger(), nullable=False, server_default="0"))
        for name in (
            *("look_ms", "acted_ms", "closed_ms", "reviewed_ms", "due_ms"),
            *("told_ms", "shop_due_ms", "paused_until_ms", "left_ms", "shop_asked_ms"),
        ):
            table.add_column(sa.Column(name, sa.BigInteger(), nullable=True))
        for name in ("back", "reviewer", "assignee", "case_number", "outcome", "permit"):
            table.add_column(sa.Column(name, sa.Text(), nullable=True))
        for name in ("policy", "duplicate_of", "pause"):
            table.add_column(sa.Column(name, _NUMBER, nullable=True))
        for name in ("verify", "due_entered", "ordered"):
            table.add_column(sa.Column(name, sa.Integer(), nullable=True))
    op.create_index("ix_ticket_case_number", "ticket", ["case_number"], unique=True)
    op.create_index("ix_ticket_look_ms", "ticket", ["look_ms"])
    # nobody asked for a review before: its time begins now, or all that is open would be overdue at the first start
    grown = sa.text(
        "UPDATE ticket SET present = open, since_ms = CASE WHEN open = 1 THEN :now_ms ELSE created_ms END, "
        "street = (SELECT site FROM box WHERE box.id = ticket.box_id), "
        "look_ms = CASE WHEN open = 1 THEN changed_ms END, "
        "closed_ms = CASE WHEN open = 0 THEN COALESCE(cleared_ms, changed_ms) END"
    )
    op.execute(grown.bindparams(sa.bindparam("now_ms", time.time_ns() // 1_000_000, sa.BigInteger())))
    with op.batch_alter_table("ticket_event") as table:
        table.add_column(sa.Column("author", sa.Text(), nullable=False, server_default="camera"))
        table.add_column(sa.Column("reason", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("before", sa.Text(), nullable=True))
    op.create_table(
        "policy",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("street", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("number", name="pk_policy"),
        sa.UniqueConstraint("street", "revision", name="uq_policy_revision"),
    )
    op.create_table(
        "pause",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("street", sa.Text(), nullable=False),
        sa.Column("box_id", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=True),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_pause"),
    )
    op.create_index("ix_pause_place", "pause", ["box_id", "camera", "until_ms"])
    op.create_table(
        "case_serial",
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("region", "day", name="pk_case_serial"),
    )
