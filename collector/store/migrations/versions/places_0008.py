"""Shops, permits, grid cells, and where cameras are."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "shop",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        *_texts("name", "street", "address", "business", "owner", "phone", "other_phone", "email", "language"),
        sa.Column("lon", sa.Float(), nullable=True),
        sa.Column("lat", sa.Float(), nullable=True),
        *_texts("zones", "note", "state"),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shop")),
    )
    op.create_index(op.f("ix_shop_street"), "shop", ["street"])
    op.create_table(
        "shop_zone",
        *_texts("box_id", "camera", "zone", "shop_id"),
        sa.ForeignKeyConstraint(["shop_id"], ["shop.id"], name=op.f("fk_shop_zone_shop_id")),
        sa.PrimaryKeyConstraint("box_id", "camera", "zone", name=op.f("pk_shop_zone")),
    )
    op.create_index(op.f("ix_shop_zone_shop_id"), "shop_zone", ["shop_id"])
    op.create_table(
        "permit",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False),
        *_texts("number"),
        sa.Column("revision", sa.Integer(), nullable=False),
        *_texts("issuer", "business", "street"),
        sa.Column("shop_id", sa.Text(), nullable=True),
        *_texts("zones", "area", "from_day", "until_day", "weekdays", "hours", "excluded", "note", "state"),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["shop_id"], ["shop.id"], name=op.f("fk_permit_shop_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_permit")),
        sa.UniqueConstraint("number", name=op.f("uq_permit_number")),
    )
    op.create_index("ix_permit_days", "permit", ["until_day", "from_day"])
    op.create_index(op.f("ix_permit_street"), "permit", ["street"])
    op.create_index(op.f("ix_permit_shop_id"), "permit", ["shop_id"])
    op.create_table(
        "grid_cell",
        *_texts("code"),
        sa.Column("revision", sa.Integer(), nullable=False),
        *_texts("name", "rings"),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("west", "south", "east", "north", "area_m2")),
        *_texts("state"),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_grid_cell")),
    )
    op.create_index("ix_grid_cell_box", "grid_cell", ["state", "west", "east"])
    op.create_table(
        "camera_place",
        *_texts("box_id", "camera"),
        sa.Column("revision", sa.Integer(), nullable=False),
        *_texts("street", "name"),
        sa.Column("gb28181", sa.Text(), nullable=True),
        *(sa.Column(name, sa.Float(), nullable=True) for name in ("lon", "lat", "height_m")),
        *_texts("cell", "note"),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("box_id", "camera", name=op.f("pk_camera_place")),
        sa.UniqueConstraint("gb28181", name=op.f("uq_camera_place_gb28181")),
    )
    op.create_index(op.f("ix_camera_place_street"), "camera_place", ["street"])
    op.create_table(
        "place_revision",
        *_texts("kind", "of"),
        sa.Column("revision", sa.Integer(), nullable=False),
        *_texts("action", "document", "by", "by_name", "reason", "source"),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "of", "revision", name=op.f("pk_place_revision")),
    )
    op.create_index(op.f("ix_place_revision_at_ms"), "place_revision", ["at_ms"])
