"""What pages of cameras and boxes show: when a box last told how it is, zones not judged, last pictures."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the index."""
    op.add_column("box", sa.Column("health_ms", sa.BigInteger(), nullable=True))
    for name in ("learning", "unavailable"):
        op.add_column("camera", sa.Column(name, sa.Text(), nullable=False, server_default="[]"))
    op.create_index("ix_ticket_camera", "ticket", ["box_id", "camera", "number"])
