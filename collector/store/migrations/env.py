"""Alembic runs this; the connection is handed in by `engine.open_store`."""

from alembic import context

from collector.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite changes a table by copying it
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
