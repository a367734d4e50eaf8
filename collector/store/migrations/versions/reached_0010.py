"""Addresses of people, pictures that people took, and notices that go to several of a route's list."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns."""
    for name in ("phone", "mail"):
        op.add_column("person", sa.Column(name, sa.Text(), nullable=False, server_default=""))
    op.add_column("picture", sa.Column("author", sa.Text(), nullable=False, server_default=""))
    op.add_column("picture", sa.Column("masked", sa.Integer(), nullable=False, server_default="1"))
    for name in ("taken_ms", "width", "height"):
        op.add_column("picture", sa.Column(name, sa.BigInteger(), nullable=True))
    # SQLite adds no constraint to a table that there is; numbers of notices are never given twice
    op.add_column("notice", sa.Column("copy_of", _NUMBER, nullable=True))
    op.create_index("ix_notice_copy_of", "notice", ["copy_of"])
