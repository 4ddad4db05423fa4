"""What the migrations build is what tables.py says, on both databases, however many workers start at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from canonical.errors import MisconfiguredError, UnavailableError
from ironbridge.store import Store, open_store
from ironbridge.store.tables import metadata


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        if request.param == "postgresql":
            yield await stack.enter_async_context(request.getfixturevalue("postgres").database())
        else:
            yield f"sqlite+aiosqlite:///{tmp_path / 'deep' / 'state.sqlite3'}"


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
