"""What residents and shops propose for their street."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "proposal",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("street", sa.Text(), nullable=False),
        sa.Column("of", _NUMBER, nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("text", "key", "state", "answer")),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["of"], ["proposal.number"], name=op.f("fk_proposal_of")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_proposal")),
        sa.UniqueConstraint("key", name=op.f("uq_proposal_key")),
    )
    op.create_index("ix_proposal_street", "proposal", ["street", "state"])
    op.create_index(op.f("ix_proposal_of"), "proposal", ["of"])
