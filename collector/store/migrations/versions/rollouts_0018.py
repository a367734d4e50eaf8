"""Detectors and their roll-outs."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "detector",
        *_texts("sha256", "name", "signed"),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_detector")),
        sa.UniqueConstraint("name", name=op.f("uq_detector_name")),
    )
    op.create_table(
        "rollout",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        *_texts("sha256", "state", "why", "by"),
        sa.Column("group", sa.Integer(), nullable=False),
        sa.Column("most", sa.Float(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["sha256"], ["detector.sha256"], name=op.f("fk_rollout_sha256")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rollout")),
    )
    op.create_index(op.f("ix_rollout_sha256"), "rollout", ["sha256"])
    op.create_table(
        "rollout_box",
        sa.Column("number", _NUMBER, nullable=False),
        *_texts("box_id", "action", "state", "text", "compared"),
        sa.Column("group", sa.Integer(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["number"], ["rollout.number"], name=op.f("fk_rollout_box_number")),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"], name=op.f("fk_rollout_box_box_id")),
        sa.PrimaryKeyConstraint("number", "box_id", name=op.f("pk_rollout_box")),
    )
    op.create_index(op.f("ix_rollout_box_box_id"), "rollout_box", ["box_id"])
    op.create_index("ix_rollout_box_due", "rollout_box", ["sent_ms"])
    op.create_table(
        "detector_reported",
        *_texts("box_id", "name", "sha256", "board"),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"], name=op.f("fk_detector_reported_box_id")),
        sa.PrimaryKeyConstraint("box_id", name=op.f("pk_detector_reported")),
    )
