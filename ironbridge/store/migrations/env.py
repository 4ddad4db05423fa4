"""Alembic's entry: it runs inside the connection that `Store.migrate` hands it."""

from typing import Any

from alembic import context
from sqlalchemy import text

from ironbridge.store.tables import metadata

FIRST = "0005"
"""The migration that made the table `suits`."""


def note(*, step: Any, **_: Any) -> None:
    """Note from which schema on a program can work on the tables that the migration leaves; without its word none but its own."""
    revision = step.up_revision.revision
    if revision >= FIRST:
        since = getattr(step.up_revision.module, "suits_from", revision)
        context.get_bind().execute(text("DELETE FROM suits"))
        context.get_bind().execute(text("INSERT INTO suits (schema_from) VALUES (:since)"), {"since": since})


context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True,
    on_version_apply=note,  # type: ignore[arg-type]  # called by names alone, as its documentation says
)  # fmt: skip
with context.begin_transaction():
    context.run_migrations()
