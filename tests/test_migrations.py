"""What the migrations build is what tables.py says, on both databases, however many workers start at once."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from canonical.errors import MisconfiguredError, UnavailableError
from ironbridge.store import Store, Upkeep, open_store, schema
from ironbridge.store.schema import MIGRATIONS, SchemaState
from ironbridge.store.tables import metadata
from tests.agreement import World, supplier


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database, or a file that is not there yet, in a folder that is not there yet."""
    if request.param == "postgresql":
        async with request.getfixturevalue("postgres").database() as url:
            yield url
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
    store = await open_store(url, tables=Upkeep.LEAVE)
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
        await connection.execute(text("UPDATE suits SET schema_from = '0098'"))
    await store.close()
    with pytest.raises(MisconfiguredError) as error:
        await open_store(url)
    assert error.value.what == f"its tables are those of a newer release (schema 0099; this one knows up to {schema.known()[-1]})"
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


# -- the release after this one --------------------------------------------------------------------------------------

NEWEST = schema.known()[-1]
NEXT = f"{int(NEWEST) + 1:04}"
ADDS = """
    op.add_column("subjects", sa.Column("mood", sa.Text(), nullable=False, server_default="calm"))
    op.add_column("facts", sa.Column("weight", sa.Double(), nullable=True))
    op.add_column("hands", sa.Column("release", sa.Text(), nullable=True))
    op.create_table("moods", sa.Column("name", sa.Text(), primary_key=True, nullable=False))
    op.create_index("ix_subjects_mood", "subjects", ["mood"])
"""
TAKES = """
    op.drop_column("streams", "tail")
    op.add_column("subjects", sa.Column("mood", sa.Text(), nullable=False))
"""


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """The migrations of this release, to which a test adds those of the next one."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations", ignore=shutil.ignore_patterns("__pycache__")))


def made_up(migrations: Path, does: str, suits_from: str) -> Path:
    head = f'"""made up"""\nimport sqlalchemy as sa\nfrom alembic import op\n\nrevision = "{NEXT}"\ndown_revision = "{NEWEST}"\n'
    text = f'{head}suits_from = "{suits_from}"\n\n\ndef upgrade() -> None:{does}'
    (migrations / "versions" / f"{NEXT}_made_up.py").write_text(text, "utf-8")
    return migrations


async def columns(store: Store) -> dict[str, dict[str, Any]]:
    def look_at(connection: Connection) -> dict[str, dict[str, Any]]:
        looked = inspect(connection)
        tables = {name: looked.get_columns(name) for name in looked.get_table_names()}
        return {name: {c["name"]: {**c, "type": str(c["type"])} for c in found} for name, found in tables.items()}

    found: dict[str, dict[str, Any]] = await look(store, look_at)
    return found


def taken_away(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What a program that knows the tables as they were would miss, or would have to fill."""
    for table, had in before.items():
        has = after.get(table, {})
        yield from (f"{table}.{name}" for name in had if name not in has or has[name]["type"] != had[name]["type"])
        for name in has.keys() - had.keys():
            if not has[name]["nullable"] and has[name]["default"] is None:
                yield f"{table}.{name}"


async def test_a_process_works_on_the_tables_of_the_next_release_and_starts_on_them_until_it_is_replaced(
    url: str, migrations: Path
) -> None:
    store = await open_store(url)
    running = World(store)
    await running.arrive(supplier(1), supplier(2))
    await running.agree()
    newer = await open_store(url, tables=Upkeep.LEAVE)
    await newer.migrate(made_up(migrations, ADDS, NEWEST))
    await newer.close()
    before = await columns(store)
    await running.arrive(supplier(1, 2), supplier(3))
    await running.agree()
    for how in (Upkeep.BRING, Upkeep.NEED):
        started = await open_store(url, tables=how)
        again = World(started, target=running.target, inbox=running.inbox, trail=running.trail)
        await again.arrive(supplier(2, 3 if how is Upkeep.BRING else 4))
        await again.agree()
        await started.close()
    assert [running.name_of(number) for number in (1, 2, 3)] == [
        "Supplier 1 as of 2", "Supplier 2 as of 4", "Supplier 3 as of 1"
    ]  # fmt: skip
    assert await columns(store) == before
    assert "mood" in before["subjects"]
    await store.close()


async def test_tables_that_the_next_release_has_taken_something_out_of_are_refused(url: str, migrations: Path) -> None:
    store = await open_store(url)
    await store.migrate(made_up(migrations, ADDS, NEXT))
    await store.close()
    for how in (Upkeep.BRING, Upkeep.NEED):
        with pytest.raises(MisconfiguredError, match=rf"of a newer release \(schema {NEXT}; this one knows up to {NEWEST}\)"):
            await open_store(url, tables=how)


def promising() -> list[str]:
    """The migrations that promise that programs of an earlier release work on."""
    names = [file.stem for file in (MIGRATIONS / "versions").glob("[0-9]*.py")]
    modules = {name[:4]: import_module(f"ironbridge.store.migrations.versions.{name}") for name in names}
    return [number for number, module in sorted(modules.items()) if getattr(module, "suits_from", number) < number]


@pytest.mark.parametrize(
    ("number", "does", "wrong"),
    [*((number, "", set()) for number in promising()), (NEXT, ADDS, set()), (NEXT, TAKES, {"streams.tail", "subjects.mood"})],
)  # fmt: skip
async def test_a_migration_on_which_older_programs_work_on_only_adds(
    number: str, does: str, wrong: set[str], url: str, migrations: Path
) -> None:
    """Each of those that promise it; and two that are made up, of which one keeps its promise."""
    store = await open_store(url, tables=Upkeep.LEAVE)
    if does:
        made_up(migrations, does, NEWEST)
    later = [file for file in (migrations / "versions").glob("[0-9]*.py") if file.stem[:4] >= number]
    kept = {file: file.read_bytes() for file in later}
    for file in later:
        file.unlink()
    await store.migrate(migrations)
    before = await columns(store)
    for file, content in kept.items():
        file.write_bytes(content)
    await store.migrate(migrations)
    assert set(taken_away(before, await columns(store))) == wrong
    await store.close()


async def test_who_only_looks_never_makes_or_changes_a_table(url: str, migrations: Path) -> None:
    """An embedded state is not even made as an empty file."""
    with pytest.raises(MisconfiguredError, match=r"its tables are not ready: there are none yet\. To do: run"):
        await open_store(url, tables=Upkeep.NEED)
    store = await open_store(url, tables=Upkeep.LEAVE)
    assert await store.stands() is SchemaState.EMPTY
    if store.embedded:
        assert not Path(str(store.engine.url.database)).parent.exists()
    newest = next((migrations / "versions").glob(f"{NEWEST}_*.py"))
    newest.unlink()
    await store.migrate(migrations)
    before = await columns(store)
    with pytest.raises(MisconfiguredError, match="its tables are not ready: an older release made them"):
        await open_store(url, tables=Upkeep.NEED)
    assert await columns(store) == before
    await store.migrate()
    await (await open_store(url, tables=Upkeep.NEED)).close()
    await store.close()
