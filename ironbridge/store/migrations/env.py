"""Alembic's entry: it runs inside the connection that `Store.migrate` hands it."""

from alembic import context

from ironbridge.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
