"""Systems are rolled out as detectors are; a box says which one it has."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add two columns."""
    op.add_column("detector", sa.Column("kind", sa.Text(), nullable=False, server_default="detector"))
    op.add_column("box", sa.Column("system", sa.Text(), nullable=True))
