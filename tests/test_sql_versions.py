"""Row versions as tail cursors: what commits late is read, on a real PostgreSQL; what SQL Server is asked."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from random import Random
from typing import Any, NamedTuple

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy import literal, select, text
from sqlalchemy.dialects import mssql
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.kit.sql import SqlAdapter, SqlSettings, SqlStream, Tables, row_of
from adapters.kit.sql_versions import ROWVERSION, XMIN, Horizon, changed, insist_on_own_database, type_of
from adapters.port import Page, Position, Row, Sweep, Tail
from canonical.errors import MisconfiguredError
from canonical.housing import Property
from canonical.key import KeysOf, key_of

pytestmark = pytest.mark.servers


@row_of("kennels", key="kennel_no", of="home_no", version="tstamp")
class KennelRow(NamedTuple):
    dog: str | None


@row_of("homes", key="home_no", version="tstamp")
class HomeRow(NamedTuple):
    home_no: int
    street: str | None
    kennels: tuple[KennelRow, ...]


def home(source: str, row: HomeRow) -> Property:
    return Property(key=key_of(source, "property", row.home_no), number=str(row.home_no))


class Village:
    """Six homes, each with a kennel, in a database of its own; `person` is somebody who works in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.adapter = self.made()

    def made(self, **given: Any) -> SqlAdapter:
        return SqlAdapter("village", SqlSettings(url=SecretStr(self.url), **given), [SqlStream("homes", home)])

    async def again(self, **given: Any) -> None:
        """Open an adapter with other settings."""
        await self.adapter.close()
        self.adapter = self.made(**given)
        await self.adapter.open()

    async def person(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.url.replace("+asyncpg", ""))

    async def tail(self, cursor: Position | None = None) -> tuple[list[int], Position | None]:
        """The numbers of the homes that a tail gives, and its last cursor as the state keeps it."""
        pages = await self.pages(cursor)
        numbers = [record.position[0] for page in pages for record in page.records]
        return numbers, tuple(json.loads(json.dumps(pages[-1].cursor))) if pages else cursor

    async def pages(self, cursor: Position | None = None) -> list[Page]:
        reading = self.adapter.streams()[0].reading
        assert isinstance(reading, Tail)
        return [page async for page in reading.pages(cursor)]


@pytest.fixture
async def village(postgres_url: str) -> AsyncIterator[Village]:
    engine = create_async_engine(postgres_url)
    async with engine.begin() as connection:
        await connection.run_sync(Tables().stand_in(HomeRow, KennelRow).create_all)
        for n in range(1, 7):
            await connection.execute(text("INSERT INTO homes VALUES (:n, 'Wharfage')"), {"n": n})
            await connection.execute(text("INSERT INTO kennels VALUES (:k, :n, 'Rex')"), {"n": n, "k": 100 + n})
    await engine.dispose()
    village = Village(postgres_url)
    await village.adapter.open()
    yield village
    await village.adapter.close()


async def test_a_row_that_was_written_before_the_cursor_and_committed_after_it_is_read(village: Village) -> None:
    _, cursor = await village.tail()
    early, late = await village.person(), await village.person()
    open_transaction = early.transaction()
    await open_transaction.start()
    await early.execute("UPDATE homes SET street = 'Paradise' WHERE home_no = 2")
    async with early.transaction():  # a savepoint: it has a number of its own
        await early.execute("UPDATE kennels SET dog = 'Fly' WHERE kennel_no = 103")
    await late.execute("UPDATE homes SET street = 'Belmont' WHERE home_no = 5")
    found, cursor = await village.tail(cursor)
    assert found == [5]
    await late.execute("UPDATE homes SET street = 'Hodge Bower' WHERE home_no = 6")
    found, cursor = await village.tail(cursor)
    assert found == [5, 6]  # what lies beyond the horizon is read again: the first transaction is still open
    await open_transaction.commit()
    assert (await village.tail(cursor))[0] == [2, 3, 5, 6]
    for person in (early, late):
        await person.close()


async def test_what_was_read_is_not_read_again_once_no_transaction_is_open(village: Village) -> None:
    found, cursor = await village.tail()
    assert found == [1, 2, 3, 4, 5, 6]
    assert await village.tail(cursor) == ([], cursor)
    person = await village.person()
    await person.execute("INSERT INTO kennels VALUES (200, 4, 'Nell')")
    found, cursor = await village.tail(cursor)
    assert found == [4]
    assert (await village.tail(cursor))[0] == []
    await person.close()


async def test_a_reading_that_was_stopped_goes_on_and_misses_nothing_that_changed_before_its_place(village: Village) -> None:
    await village.again(page_size=2)
    stopped = tuple(json.loads(json.dumps((await village.pages())[0].cursor)))
    person = await village.person()
    await person.execute("UPDATE homes SET street = 'Paradise' WHERE home_no = 1")
    found, cursor = await village.tail(stopped)
    assert found == [3, 4, 5, 6, 1]
    assert (await village.tail(cursor))[0] == []
    await person.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_is_committed_in_any_order_arrives_by_the_tail_alone(village: Village, seed: int) -> None:
    await village.again(page_size=2)
    rng, seen, cursor = Random(seed), dict[int, Row](), None
    writers = [await village.person() for _ in range(3)]
    running: dict[int, Any] = {}

    async def read(pages: int) -> None:
        nonlocal cursor
        for page in (await village.pages(cursor))[:pages]:
            seen.update({int(record.position[0]): record.row for record in page.records})
            cursor = page.cursor

    for step in range(120):
        who = rng.randrange(3)
        if who not in running:
            running[who] = writers[who].transaction()
            await running[who].start()
        home = 1 + who + 3 * rng.randrange(2)  # nobody waits for a row that another one has changed
        await writers[who].execute("UPDATE homes SET street = $1 WHERE home_no = $2", f"street {step}", home)
        await writers[who].execute("UPDATE kennels SET dog = $1 WHERE kennel_no = $2", f"dog {step}", 100 + home)
        if rng.random() < 0.4:
            transaction = running.pop(who)
            await (transaction.commit() if rng.random() < 0.8 else transaction.rollback())
        if rng.random() < 0.5:
            await read(rng.choice((1, 2, 99)))
    for transaction in running.values():
        await transaction.commit()
    await read(99)
    rows = await writers[0].fetch("SELECT home_no, street, dog FROM homes JOIN kennels USING (home_no)")
    assert seen == {row["home_no"]: (row["home_no"], row["street"], ((row["dog"],),)) for row in rows}
    for writer in writers:
        await writer.close()


@pytest.mark.parametrize("cursor", [("xmin", 2**40), ("rowversion", 1), ("2026-05-31", 1), ("xmin", 7, 2**40, 3)])
async def test_a_cursor_of_another_database_or_of_a_later_state_begins_anew(village: Village, cursor: Position) -> None:
    assert (await village.tail(cursor))[0] == [1, 2, 3, 4, 5, 6]


async def test_a_column_of_64_bit_transaction_numbers_is_a_cursor_too(village: Village) -> None:
    person = await village.person()
    await person.execute("ALTER TABLE homes ADD COLUMN written_by xid8 DEFAULT pg_current_xact_id()")
    await village.again(tail={"homes": "written_by"})
    _, cursor = await village.tail()
    assert (await village.tail(cursor))[0] == []
    await person.execute("UPDATE homes SET written_by = pg_current_xact_id() WHERE home_no = 3")
    assert (await village.tail(cursor))[0] == [3]
    await person.close()


NUMBERS = [2**32 - 5, 2**32 - 1, 2**32, 2**32 + 7, 2**33 + 1]


@pytest.mark.parametrize("following", [2**32 + 8, 2**33 + 2])
async def test_a_32_bit_number_is_compared_as_the_64_bit_number_that_it_was(village: Village, following: int) -> None:
    near = [number for number in NUMBERS if number < following and following - number < 2**31]
    cases = [(written, since) for written in near for since in near]
    conditions = [XMIN.since(literal(str(w % 2**32)), since, Horizon(following, following)) for w, since in cases]
    async with village.adapter.database.session.connection() as connection:
        found = (await connection.execute(select(*[c.label(f"c{n}") for n, c in enumerate(conditions)]))).one()
    assert list(found) == [written >= since for written, since in cases]


async def test_a_check_names_the_table_that_has_no_row_versions(village: Village) -> None:
    assert [finding for finding in await village.adapter.check() if not finding.well] == []
    person = await village.person()
    await person.execute("ALTER TABLE kennels RENAME TO k; CREATE VIEW kennels AS SELECT * FROM k")
    fix = "set `row_versions = false` in the adapter's section: the stream is then read by sweeps alone"
    wrong = [(finding.what, finding.fix) for finding in await village.adapter.check() if not finding.well]
    assert wrong == [("kennels.xmin: there is no such column", fix)]
    with pytest.raises(MisconfiguredError, match=r"kennels\.xmin: there is no such column"):
        await village.tail()
    await village.again(row_versions=False)
    assert [finding for finding in await village.adapter.check() if not finding.well] == []
    assert isinstance(village.adapter.streams()[0].reading, Sweep)
    await person.close()


@pytest.mark.parametrize("url", ["sqlite:///none.db", "mariadb://reader@host/village"])
def test_where_a_database_has_no_row_versions_a_stream_is_swept(url: str) -> None:
    adapter = SqlAdapter("village", SqlSettings(url=SecretStr(url)), [SqlStream("homes", home)])
    assert isinstance(adapter.streams()[0].reading, Sweep)


# -- SQL Server: compiled, never run -------------------------------------------------------------------------------


def written(statement: Any) -> str:
    compiled = statement.compile(dialect=mssql.dialect())
    return re.sub(r":\w+", lambda name: repr(compiled.params[name[0][1:]]), " ".join(str(compiled).split()))


def test_sql_server_is_asked_for_the_lowest_number_of_an_open_transaction() -> None:
    assert written(ROWVERSION.horizon).startswith("SELECT CAST(MIN_ACTIVE_ROWVERSION() AS BIGINT) AS ")
    assert "CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS NVARCHAR(60))" in written(ROWVERSION.horizon)


def test_sql_server_finds_changed_records_by_the_indexes_of_the_row_versions() -> None:
    reading = Tables("dbo", "mssql").reading(HomeRow, KeysOf("village", "property"))
    new = changed(reading, lambda version: ROWVERSION.since(version, 2001, Horizon(3000, 3000)))
    assert written(select(*reading.key).where(new)) == (
        "SELECT dbo.homes.home_no FROM dbo.homes WHERE EXISTS (SELECT * FROM (SELECT dbo.homes.home_no AS home_no "
        "FROM dbo.homes WHERE dbo.homes.tstamp >= CAST(CAST(2001 AS BIGINT) AS BINARY(8)) UNION ALL "
        "SELECT dbo.kennels.home_no AS home_no FROM dbo.kennels WHERE dbo.kennels.tstamp >= "
        "CAST(CAST(2001 AS BIGINT) AS BINARY(8))) AS changed WHERE dbo.homes.home_no = changed.home_no)"
    )


def test_sql_server_tells_a_row_version_from_a_copy_of_one() -> None:
    [version, _] = Tables("dbo", "mssql").reading(HomeRow, KeysOf("village", "property")).versions
    assert written(type_of(version)) == (
        "SELECT [INFORMATION_SCHEMA].COLUMNS.DATA_TYPE FROM [INFORMATION_SCHEMA].COLUMNS WHERE "
        "[INFORMATION_SCHEMA].COLUMNS.TABLE_SCHEMA = 'dbo' AND [INFORMATION_SCHEMA].COLUMNS.TABLE_NAME = 'homes' AND "
        "[INFORMATION_SCHEMA].COLUMNS.COLUMN_NAME = 'tstamp'"
    )


def test_the_horizon_of_another_database_is_not_taken_for_that_of_the_tables() -> None:
    settings = SqlSettings.model_validate({"url": SecretStr("mssql://reader@host/reports"), "schema": "village.dbo"})
    [version, _] = Tables("village.dbo", "mssql").reading(HomeRow, KeysOf("village", "property")).versions
    with pytest.raises(MisconfiguredError, match="its row versions are another database's"):
        insist_on_own_database("village", settings, version)
    insist_on_own_database("village", settings.model_copy(update={"url": SecretStr("mssql://r@host/Village")}), version)
