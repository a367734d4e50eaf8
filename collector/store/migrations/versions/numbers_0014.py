"""Indicators: what a ticket's history comes to, its days packed, footfall; and what a million tickets are found by."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, tables and indices; the collector works out the facts of what is there as it starts."""
    op.add_column("ticket", sa.Column("mark", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("ticket", sa.Column("verdict", sa.Text(), nullable=False, server_default=""))
    for name in ("first_told_ms", "registered_ms"):
        op.add_column("ticket", sa.Column(name, sa.BigInteger(), nullable=True))
    for name in ("fed_back", "reworked", "overdue"):
        op.add_column("ticket", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_ticket_mark", "ticket", ["street", "opened_ms", "mark"])
    op.create_index("ix_ticket_state", "ticket", ["state", "number"])
    op.create_index("ix_ticket_street", "ticket", ["street", "number"])
    op.create_index("ix_ticket_repeat_of", "ticket", ["repeat_of"])
    op.create_index("ix_ticket_duplicate_of", "ticket", ["duplicate_of"])
    op.create_table(
        "packed_day",
        sa.Column("street", sa.Text(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("marks", sa.BigInteger(), nullable=False),
        sa.Column("pack", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("street", "from_ms", "until_ms", name="pk_packed_day"),
    )
    op.create_table(
        "footfall",
        sa.Column("box_id", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("mean", sa.Float(), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.Column("lower_bound", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"], name="fk_footfall_box_id"),
        sa.PrimaryKeyConstraint("box_id", "camera", "zone", "from_ms", name="pk_footfall"),
    )
    op.create_index("ix_footfall_from_ms", "footfall", ["from_ms"])
