"""What was there before there was a ledger: taken up into it part by part, while the center works."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and say in it which rows no line of the ledger names yet."""
    op.create_table(
        "ledger_history",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_ledger_history"),
    )
    for kind in ("message", "picture"):
        op.execute(
            f"INSERT INTO ledger_history SELECT '{kind}', '', last.ms FROM (SELECT max(received_ms) AS ms FROM {kind})"  # noqa: S608 - our own names
            " AS last WHERE last.ms IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ledger)"
        )
