"""The ledger takes up what came before there was one: here, and not while the first batch after an upgrade waits."""

import time

from alembic import op
from sqlalchemy.orm import Session

from collector.evidence import ledger

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Write its first lines, unless it has some."""
    with Session(op.get_bind()) as session:
        ledger.begin(session, round(time.time() * 1000))
        session.flush()
