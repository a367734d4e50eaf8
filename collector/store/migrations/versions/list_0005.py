"""What the list of tickets is asked for by: order, last change, new pictures."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indices."""
    op.create_index("ix_ticket_list", "ticket", ["open", "number"])
    op.create_index("ix_ticket_changed_ms", "ticket", ["changed_ms"])
    op.create_index("ix_picture_received_ms", "picture", ["received_ms"])
