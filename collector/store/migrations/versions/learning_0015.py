"""Pictures of false alarms that were released for training."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "training_release",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("ticket", _NUMBER, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["ticket"], ["ticket.number"], name=op.f("fk_training_release_ticket")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_training_release")),
    )
    op.create_index(op.f("ix_training_release_ticket"), "training_release", ["ticket"])
