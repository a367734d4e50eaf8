"""Times by the center's clock, late and orphaned incidents, a quarantine bounded for each box."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what is there counts as told in time."""
    with op.batch_alter_table("box") as table:
        table.add_column(sa.Column("listed", sa.Text(), nullable=True))
        table.add_column(sa.Column("listed_ms", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("clock_boot", sa.Text(), nullable=True))
        table.add_column(sa.Column("started_ms", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("message") as table:
        table.add_column(sa.Column("at_ms", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("ticket") as table:
        table.add_column(sa.Column("late", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("incident") as table:
        table.add_column(sa.Column("ended_ms", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("received_ms", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("late", sa.Integer(), nullable=False, server_default="0"))
        table.add_column(sa.Column("clock", sa.Text(), nullable=False, server_default="told"))
    with op.batch_alter_table("refused") as table:
        table.add_column(sa.Column("box", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("bytes", sa.Integer(), nullable=False, server_default="0"))
        table.create_index(table.f("ix_refused_box"), ["box"], unique=False)
