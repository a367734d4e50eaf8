"""Proof: a ledger of what arrived, seals as they came, legal holds, and what became of pictures."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and columns."""
    op.add_column("person", sa.Column("unit", sa.Text(), nullable=False, server_default=""))
    for name in ("deleted_ms", "deleted_line"):
        op.add_column("picture", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("picture", sa.Column("deleted_why", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "ledger",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("items", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_ledger"),
    )
    op.create_table(
        "seal",
        sa.Column("picture_id", sa.Text(), nullable=False),
        sa.Column("box_id", sa.Text(), nullable=False),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("prev", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"], name="fk_seal_box_id"),
        sa.PrimaryKeyConstraint("picture_id", name="pk_seal"),
    )
    for name in ("box_id", "incident", "link", "prev"):
        op.create_index(f"ix_seal_{name}", "seal", [name])
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "legal_hold",
        sa.Column("number", number, autoincrement=True, nullable=False),
        sa.Column("ticket_number", number, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("lifted_ms", sa.BigInteger(), nullable=True),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["ticket_number"], ["ticket.number"], name="fk_legal_hold_ticket_number"),
        sa.PrimaryKeyConstraint("number", name="pk_legal_hold"),
    )
    op.create_index("ix_legal_hold_ticket_number", "legal_hold", ["ticket_number"])
