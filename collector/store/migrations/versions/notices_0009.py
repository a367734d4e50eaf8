"""Tables of notices."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "notice",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("ticket_number", _NUMBER, nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("kind", "audience", "recipient", "street", "level")),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=True),
        sa.Column("due_ms", sa.BigInteger(), nullable=True),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("doubt", sa.Integer(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=True),
        sa.Column("told_ms", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["ticket_number"], ["ticket.number"], name="fk_notice_ticket_number"),
        sa.PrimaryKeyConstraint("number", name="pk_notice"),
        sa.UniqueConstraint("key", name="uq_notice_key"),
    )
    op.create_index("ix_notice_ticket_number", "notice", ["ticket_number"])
    op.create_index("ix_notice_due", "notice", ["state", "next_ms"])
    op.create_index("ix_notice_shop", "notice", ["audience", "recipient", "day"])
    op.create_table(
        "notice_attempt",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("notice_number", _NUMBER, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("request", "channel", "address", "body")),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("outcome", "code", "text", "provider")),
        sa.Column("report_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["notice_number"], ["notice.number"], name="fk_notice_attempt_notice_number"),
        sa.PrimaryKeyConstraint("number", name="pk_notice_attempt"),
    )
    op.create_index("ix_notice_attempt_notice_number", "notice_attempt", ["notice_number"])
    op.create_index("ix_notice_attempt_channel", "notice_attempt", ["channel", "started_ms"])
    op.create_index("ix_notice_attempt_report", "notice_attempt", ["report_ms"])
    op.create_table(
        "notice_link",
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("attempt_number", _NUMBER, nullable=False),
        sa.Column("notice_number", _NUMBER, nullable=False),
        sa.Column("ticket_number", _NUMBER, nullable=False),
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["attempt_number"], ["notice_attempt.number"], name="fk_notice_link_attempt_number"),
        sa.ForeignKeyConstraint(["notice_number"], ["notice.number"], name="fk_notice_link_notice_number"),
        sa.ForeignKeyConstraint(["ticket_number"], ["ticket.number"], name="fk_notice_link_ticket_number"),
        sa.PrimaryKeyConstraint("token_sha256", name="pk_notice_link"),
    )
    op.create_index("ix_notice_link_attempt_number", "notice_link", ["attempt_number"])
    op.create_index("ix_notice_link_notice_number", "notice_link", ["notice_number"])
    op.create_index("ix_notice_link_expires_ms", "notice_link", ["expires_ms"])
    op.create_table(
        "notice_answer",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("notice_number", _NUMBER, nullable=False),
        sa.Column("ticket_number", _NUMBER, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("shop", "verb", "text")),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["notice_number"], ["notice.number"], name="fk_notice_answer_notice_number"),
        sa.ForeignKeyConstraint(["ticket_number"], ["ticket.number"], name="fk_notice_answer_ticket_number"),
        sa.PrimaryKeyConstraint("number", name="pk_notice_answer"),
    )
    op.create_index("ix_notice_answer_notice_number", "notice_answer", ["notice_number"])
    op.create_index("ix_notice_answer_ticket_number", "notice_answer", ["ticket_number"])
