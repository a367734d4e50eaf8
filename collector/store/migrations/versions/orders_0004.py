"""Commands to boxes, and their settings as wanted and reported."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    with op.batch_alter_table("box", schema=None) as batch_op:
        batch_op.add_column(sa.Column("encryption_key", sa.Text(), nullable=True))
    op.create_table(
        "command",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("box_id", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("args", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("asked_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("replied_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"], name=op.f("fk_command_box_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_command")),
    )
    op.create_index(op.f("ix_command_box_id"), "command", ["box_id"])
    op.create_index(op.f("ix_command_state"), "command", ["state"])
    op.create_table(
        "command_picture",
        sa.Column("command_id", sa.Text(), nullable=False),
        sa.Column("view", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("jpeg", sa.LargeBinary(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["command_id"], ["command.id"], name=op.f("fk_command_picture_command_id")),
        sa.PrimaryKeyConstraint("command_id", "view", name=op.f("pk_command_picture")),
    )
    op.create_index(op.f("ix_command_picture_received_ms"), "command_picture", ["received_ms"])
    op.create_table(
        "settings_wanted",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("box_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=True),
        sa.Column("based_on", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("answers", sa.Text(), nullable=True),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"], name=op.f("fk_settings_wanted_box_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_settings_wanted")),
        sa.UniqueConstraint("box_id", "revision", name="uq_settings_wanted_revision"),
    )
    op.create_index(op.f("ix_settings_wanted_box_id"), "settings_wanted", ["box_id"])
    op.create_index(op.f("ix_settings_wanted_sent_ms"), "settings_wanted", ["sent_ms"])
    op.create_table(
        "settings_reported",
        sa.Column("box_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("wanted", sa.BigInteger(), nullable=True),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["box_id"], ["box.id"], name=op.f("fk_settings_reported_box_id")),
        sa.PrimaryKeyConstraint("box_id", name=op.f("pk_settings_reported")),
    )
