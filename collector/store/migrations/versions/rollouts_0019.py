"""Detectors and their roll-outs."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _columns(kind: Any, *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind(), nullable=False) for name in names]


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "detector",
        *_columns(sa.Text, "sha256", "name", "signed"),
        *_columns(sa.BigInteger, "added_ms"),
        *_columns(sa.LargeBinary, "content"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_detector")),
        sa.UniqueConstraint("name", name=op.f("uq_detector_name")),
    )
    op.create_table(
        "rollout",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        *_columns(sa.Text, "sha256", "state", "why", "by"),
        *_columns(sa.Integer, "group"),
        *_columns(sa.Float, "most"),
        *_columns(sa.BigInteger, "started_ms"),
        sa.ForeignKeyConstraint(["sha256"], ["detector.sha256"], name=op.f("fk_rollout_sha256")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rollout")),
    )
    op.create_table(
        "rollout_box",
        sa.Column("number", _NUMBER, nullable=False),
        *_columns(sa.Text, "box_id", "state", "text"),
        *_columns(sa.Integer, "group"),
        *_columns(sa.Boolean, "due"),
        *_columns(sa.BigInteger, "since_ms"),
        sa.ForeignKeyConstraint(["number"], ["rollout.number"], name=op.f("fk_rollout_box_number")),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"], name=op.f("fk_rollout_box_box_id")),
        sa.PrimaryKeyConstraint("number", "box_id", name=op.f("pk_rollout_box")),
    )
    op.create_index(op.f("ix_rollout_box_due"), "rollout_box", ["due"])
