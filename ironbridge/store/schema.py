"""
Tells of which release the state's tables are, and brings them up to date.

Each migration says from which schema on a program can work on the tables that it leaves (`suits_from`). By that a program of
the release before it works on, and starts, until it is replaced: a migration adds, and what nobody needs any more is taken
out a release later.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from sqlalchemy import Connection, inspect

from canonical.errors import MisconfiguredError
from ironbridge.store.statement import text

MIGRATIONS = Path(__file__).parent / "migrations"


class SchemaState(Enum):
    """How the tables stand, as a program of one release sees them."""

    EMPTY = "there are none yet"
    OLDER = "an older release made them"
    SUITS = "this release can work on them"


def known(migrations: Path = MIGRATIONS) -> list[str]:
    """The schemas that a release knows, the oldest first."""
    return sorted(file.stem.split("_")[0] for file in (migrations / "versions").glob("[0-9]*.py"))


def stands(connection: Connection, migrations: Path = MIGRATIONS) -> SchemaState:
    """:raises MisconfiguredError: a newer release has made the tables, and this one cannot work on them."""
    ours = known(migrations)
    if not inspect(connection).has_table("alembic_version"):
        return SchemaState.EMPTY
    there = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if there is None:
        return SchemaState.EMPTY
    if there in ours:
        return SchemaState.SUITS if there == ours[-1] else SchemaState.OLDER
    if _suits(connection, ours[-1]):
        return SchemaState.SUITS
    raise MisconfiguredError(
        "state", f"its tables are those of a newer release (schema {there}; this one knows up to {ours[-1]})",
        fix="run that release or a newer one; to go back, restore the copy from before the upgrade, or point "
        "`state.url` at an empty database, which is filled again from Kafka",
    )  # fmt: skip


def _suits(connection: Connection, newest: str) -> bool:
    if not inspect(connection).has_table("suits"):
        return False
    oldest = connection.execute(text("SELECT schema_from FROM suits")).scalar_one_or_none()
    return oldest is not None and oldest <= newest


def insist(stands: SchemaState) -> None:
    """:raises MisconfiguredError: this release cannot work on the tables before they were brought up to date."""
    if stands is not SchemaState.SUITS:
        raise MisconfiguredError(
            "state", f"its tables are not ready: {stands.value}",
            fix="run `ironbridge migrate` with this release (`ironbridge run` does so, too, and then begins to work)",
        )  # fmt: skip


def upgrade(connection: Connection, migrations: Path = MIGRATIONS) -> None:
    """Bring the tables up to date, unless another worker was faster."""
    if stands(connection, migrations) is SchemaState.SUITS:
        return
    from alembic import command  # half a second, and seldom needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
