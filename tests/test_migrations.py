"""What the migrations build is what tables.py says, on both databases, however many workers start at once."""

import asyncio
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from canonical.errors import MisconfiguredError, UnavailableError
from ironbridge.store import Store, open_store
from ironbridge.store.tables import metadata


@pytest.fixture
def url(state_url: str) -> str:
    return state_url


def differences(connection: Connection) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def keys(connection: Connection) -> dict[str, list[str]]:
    """Every table's primary key, which Alembic does not compare."""
    looked = inspect(connection)
    return {name: looked.get_pk_constraint(name)["constrained_columns"] for name in metadata.tables}


async def look(store: Store, what: Any) -> Any:
    async with store.read() as connection:
        return await connection.run_sync(what)


async def test_a_fresh_database_has_the_tables_of_the_code(url: str) -> None:
    store = await open_store(url)
    assert await look(store, differences) == []
    assert await look(store, keys) == {n: [c.name for c in t.primary_key] for n, t in metadata.tables.items()}
    await store.close()


async def test_opening_it_again_changes_nothing(url: str) -> None:
    store = await open_store(url)
    async with store.write() as connection:
        await connection.execute(text("INSERT INTO streams (adapter, name) VALUES ('legacy', 'people')"))
    await store.close()
    store = await open_store(url)
    assert await look(store, differences) == []
    async with store.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM streams"))).scalar_one() == 1
    await store.close()


async def test_workers_that_start_at_once_migrate_it_once(url: str) -> None:
    stores = await asyncio.gather(*(open_store(url) for _ in range(4)))
    assert await look(stores[0], differences) == []
    for store in stores:
        await store.close()


async def test_a_database_of_another_kind_is_named() -> None:
    with pytest.raises(MisconfiguredError) as error:
        await open_store("mysql+aiomysql://somebody@127.0.0.1/state")
    assert str(error.value) == "state: cannot be kept in mysql. To do: use PostgreSQL or SQLite in `state.url`"


async def test_a_migration_that_fails_halfway_leaves_nothing_behind(url: str) -> None:
    """A table that is in the way of a later one; without it the migration is done as if nothing had been."""
    store = await open_store(url, migrate=False)
    async with store.write() as connection:
        await connection.execute(text("CREATE TABLE subjects (flow text)"))
    with pytest.raises((MisconfiguredError, UnavailableError)):
        await store.migrate()
    assert await look(store, lambda connection: inspect(connection).get_table_names()) == ["subjects"]
    async with store.write() as connection:
        await connection.execute(text("DROP TABLE subjects"))
    await store.migrate()
    assert await look(store, differences) == []
    await store.close()


async def test_a_state_of_a_newer_release_is_left_alone_and_the_way_out_is_said(url: str) -> None:
    store = await open_store(url)
    async with store.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
    await store.close()
    with pytest.raises(MisconfiguredError) as error:
        await open_store(url)
    assert error.value.what == "its tables are those of a newer release (schema 0099; this one knows up to 0005)"
    assert "restore the copy from before the upgrade" in error.value.fix


@pytest.mark.parametrize("statement", ["UPDATE audit SET who = 'nobody'", "DELETE FROM audit", "TRUNCATE audit"])
async def test_the_audit_trail_can_only_be_added_to(url: str, statement: str) -> None:
    store = await open_store(url)
    if store.embedded and statement.startswith("TRUNCATE"):
        statement = "DELETE FROM audit WHERE who = 'jo'"
    row = "INSERT INTO audit (at, who, through, action, what, why) VALUES (1, 'jo', 'cli', 'pause', 'dfe_csc', 'calm')"
    async with store.write() as connection:
        await connection.execute(text(row))
    with pytest.raises(DBAPIError, match="the audit trail is append-only"):
        async with store.engine.begin() as connection:
            await connection.execute(text(statement))
    async with store.read() as connection:
        assert (await connection.execute(text("SELECT who, why FROM audit"))).one() == ("jo", "calm")
    await store.close()
