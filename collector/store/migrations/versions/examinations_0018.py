"""What boxes' doctors have found, and installations that were accepted."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    texts = ("box_id", "command_id", "by", "report", "accepted_by", "handed_over_by", "note")
    op.create_table(
        "examination",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("accepted_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"], name=op.f("fk_examination_box_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_examination")),
        sa.UniqueConstraint("command_id", name=op.f("uq_examination_command_id")),
    )
    op.create_index(op.f("ix_examination_box_id"), "examination", ["box_id"])
