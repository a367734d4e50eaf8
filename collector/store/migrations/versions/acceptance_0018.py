"""Installations that were accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "acceptance",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("command_id", "by", "handed_over_by", "note")),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["command_id"], ["command.id"], name=op.f("fk_acceptance_command_id")),
        sa.PrimaryKeyConstraint("command_id", name=op.f("pk_acceptance")),
    )
