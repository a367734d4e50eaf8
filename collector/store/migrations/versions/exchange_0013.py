"""Reports of people, tickets that no camera has seen, webhooks and their outbox, an index of what goes on."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_INTO = (
    "INSERT INTO webhook_delivery (webhook_id, event_id, state, tries, due_ms, said) "
    "SELECT w.id, NEW.id, 'waiting', 0, 0, '' FROM webhook w WHERE w.active = 1 AND "
    "CASE WHEN w.kinds = '' THEN NEW.kind NOT IN ('incident_updated', 'due', 'looked') "
    "ELSE ',' || w.kinds || ',' LIKE '%,' || NEW.kind || ',%' END "
    "AND (w.street = '' OR w.street = (SELECT t.street FROM ticket t WHERE t.number = NEW.ticket_number));"
)
"""What changes nothing a webhook hears only if it names it."""
_TRIGGERS = {
    "sqlite": (f"CREATE TRIGGER webhook_outbox AFTER INSERT ON ticket_event BEGIN {_INTO} END",),
    "postgresql": (
        f"CREATE FUNCTION webhook_outbox() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_INTO} RETURN NULL; END $$",
        "CREATE TRIGGER webhook_outbox AFTER INSERT ON ticket_event FOR EACH ROW EXECUTE FUNCTION webhook_outbox()",
    ),
}
"""In the database, as lines are written by many hands: whatever is committed is in the outbox, and nothing else is."""


def upgrade() -> None:
    """Add the columns, tables and the trigger."""
    for name in ("ticket", "picture"):
        with op.batch_alter_table(name) as table:
            if name == "ticket":
                table.add_column(sa.Column("source", sa.Text(), nullable=False, server_default="video"))
                table.add_column(sa.Column("found", sa.Text(), nullable=True))
            table.alter_column("box_id", existing_type=sa.Text(), nullable=True)
    op.create_table(
        "report",
        sa.Column("ticket_number", _NUMBER, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("code", "description", "address", "cell", "author")),
        sa.Column("lon", sa.Float(), nullable=True),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["ticket_number"], ["ticket.number"], name="fk_report_ticket_number"),
        sa.PrimaryKeyConstraint("ticket_number", name="pk_report"),
        sa.UniqueConstraint("author", "reference", name="uq_report_reference"),
    )
    op.create_table(
        "webhook",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "url", "street", "kinds", "secret")),
        sa.Column("active", sa.Integer(), nullable=False, server_default="1"),
        sa.Column("stopped", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook"),
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("webhook_id", sa.Text(), nullable=False),
        sa.Column("event_id", _NUMBER, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.Column("said", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name="fk_webhook_delivery_webhook_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["event_id"], ["ticket_event.id"], name="fk_webhook_delivery_event_id"),
        sa.PrimaryKeyConstraint("webhook_id", "event_id", name="pk_webhook_delivery"),
    )
    op.create_index("ix_webhook_delivery_due", "webhook_delivery", ["state", "due_ms"])
    op.create_index("ix_webhook_delivery_event_id", "webhook_delivery", ["event_id"])
    going = sa.text("state IN ('open', 'orphaned')")
    op.create_index("ix_incident_going", "incident", ["opened_ms"], sqlite_where=going, postgresql_where=going)
    for line in _TRIGGERS[op.get_bind().dialect.name]:
        op.execute(line)
