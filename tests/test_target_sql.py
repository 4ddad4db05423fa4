"""A target that is a table: what was done, what was not, and what is in doubt, on SQLite and on real servers."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, make_url, select, update
from sqlalchemy.ext.asyncio import create_async_engine

from canonical.connect.sql import SqlLogin
from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.engine.claims import Claim
from flows.kit.requests import LocalBudget, Requests
from flows.kit.resources import Resources
from flows.kit.sql import TargetDatabase
from flows.port import Limits, NotDone, Refused, Unknown, Untold
from ironbridge.kafka.process import HOST

GONE = Claim([], -math.inf, lambda: 0.0)
HOMES = Table("homes", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False), Column("name", String(20)))


SERVERS = [pytest.param(name, marks=pytest.mark.servers) for name in ("postgres", "mariadb")]


@pytest.fixture(params=["sqlite", *SERVERS])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database of each kind with an empty table of homes."""
    if request.param == "sqlite":
        made = f"sqlite+aiosqlite:///{tmp_path / 'homes.sqlite3'}"
        await with_table(made)
        yield made
    else:
        async with request.getfixturevalue(request.param).database() as made:
            await with_table(made)
            yield made


async def with_table(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(HOMES.metadata.create_all)
    await engine.dispose()


@pytest.fixture
async def database(url: str) -> AsyncIterator[TargetDatabase]:
    async with Resources("homes", LocalBudget.of) as resources:
        yield resources.sql(Limits(concurrency=2), SecretStr(url))


async def names(database: TargetDatabase) -> list[Any]:
    found = await database.rows("SELECT homes", select(HOMES.c.name).order_by(HOMES.c.id))
    assert not isinstance(found, Untold)
    return [name for (name,) in found]


async def test_a_change_is_done_whole_and_shown(database: TargetDatabase, spans: InMemorySpanExporter) -> None:
    add = [insert(HOMES).values(id=n, name=f"home {n}") for n in (1, 2)]
    assert await database.change("INSERT homes", *add) == [1, 1]
    assert await database.change("UPDATE homes", update(HOMES).where(HOMES.c.id == 2).values(name="other")) == [1]
    assert await database.change("DELETE homes", delete(HOMES).where(HOMES.c.id == 7)) == [0]
    assert await names(database) == ["home 1", "other"]
    assert [span.name for span in spans.get_finished_spans()] == ["INSERT homes", "UPDATE homes", "DELETE homes", "SELECT homes"]
    assert await database.check(select(HOMES).limit(0)) == [Finding("homes: the database answers", True)]


async def test_a_row_that_a_rule_forbids_is_refused_and_nothing_of_its_change_is_done(database: TargetDatabase) -> None:
    await database.change("INSERT homes", insert(HOMES).values(id=1, name="one"))
    twice = [insert(HOMES).values(id=n, name="the name of a child") for n in (2, 1)]
    assert await database.change("INSERT homes", *twice) == Refused("a rule of the table refuses it")
    assert await names(database) == ["one"]


async def test_a_table_that_is_not_there_stops_everything(database: TargetDatabase) -> None:
    other = Table("elsewhere", MetaData(), Column("id", Integer))
    with pytest.raises(MisconfiguredError, match="homes: there is no such table or column"):
        await database.change("DELETE elsewhere", delete(other))
    [finding] = await database.check(select(other))
    assert (finding.what, finding.well) == ("homes: there is no such table or column", False)


async def test_without_the_claim_nothing_in_a_database_changes(database: TargetDatabase) -> None:
    add, times = insert(HOMES).values(id=1, name="one"), [0.0, 1000.0]
    with GONE.at_work():
        assert await database.change("INSERT homes", add) == NotDone("not sent: this worker's claim on its subjects ran out")
    with Claim([], 0.0, lambda: times.pop(0)).at_work():
        assert await database.change("INSERT homes", add) == NotDone("not done: this worker's claim on its subjects ran out")
    assert await names(database) == []


async def test_a_lock_of_another_program_is_nothing_done(tmp_path: Path) -> None:
    file = tmp_path / "homes.sqlite3"
    await with_table(f"sqlite+aiosqlite:///{file}")
    url = SecretStr(f"sqlite:///{file}")
    login = SqlLogin("homes", url, 1, statement_timeout=timedelta(seconds=0.1))
    database = TargetDatabase(login, Requests("homes", LocalBudget.of(Limits())))
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert isinstance(await database.change("INSERT homes", insert(HOMES).values(id=1)), NotDone)
    assert await database.change("INSERT homes", insert(HOMES).values(id=1)) == [1]
    await database.close()


async def test_a_database_that_is_away_is_nothing_done_and_nothing_told(tmp_path: Path) -> None:
    async with Resources("homes", LocalBudget.of) as resources:
        away = resources.sql(Limits(), SecretStr(f"postgresql://ironbridge@{HOST}:1/homes"))
        assert await away.change("DELETE homes", delete(HOMES)) == NotDone("cannot be reached, or hung up")
        assert await away.rows("SELECT homes", select(HOMES)) == Untold("cannot be reached, or hung up")
        nowhere = resources.sql(Limits(), SecretStr(f"sqlite:///{tmp_path / 'none'}"))
        with pytest.raises(MisconfiguredError, match="its SQLite file does not exist"):
            await nowhere.rows("SELECT homes", select(HOMES))


@dataclass
class Cutting:
    """A door to a server that, once, closes when a word comes through: before it is passed on, or after it."""

    word: bytes = b""
    passed_on: bool = False
    port: int = 0
    _ways: set[asyncio.StreamWriter] = field(default_factory=set)

    @asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[None]:
        async def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_connection(HOST, port)
            self._ways |= {writer, there[1]}
            back = asyncio.create_task(self._pipe(there[0], writer))
            await self._pipe(reader, there[1], watched=True)
            writer.close()
            await back

        server = await asyncio.start_server(opened, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for way in self._ways:
                way.close()
            await asyncio.sleep(0)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, watched: bool = False) -> None:
        while data := await reader.read(65536):
            cut = watched and self.word and self.word in data
            if not cut or self.passed_on:
                writer.write(data)
                await writer.drain()
            if cut:
                self.word = b""
                break
        writer.close()


@pytest.mark.parametrize("passed_on", [True, False])
async def test_a_commit_that_is_not_answered_is_in_doubt_whether_it_was_done_or_not(postgres_url: str, passed_on: bool) -> None:
    await with_table(postgres_url)
    at, door = make_url(postgres_url), Cutting(passed_on=passed_on)
    async with door.to(at.port or 0), Resources("homes", LocalBudget.of) as resources:
        through = SecretStr(at.set(port=door.port).render_as_string(hide_password=False))
        database, direct = resources.sql(Limits(), through), resources.sql(Limits(), SecretStr(postgres_url))
        await database.change("INSERT homes", insert(HOMES).values(id=1, name="before"))
        door.word = b"COMMIT"
        outcome = await database.change("INSERT homes", insert(HOMES).values(id=2, name="in doubt"))
        assert outcome == Unknown("the commit was not answered: cannot be reached, or hung up")
        while passed_on and await names(direct) == ["before"]:
            await asyncio.sleep(0)
        assert await names(direct) == (["before", "in doubt"] if passed_on else ["before"])
        door.word, door.passed_on = b"INSERT", False
        again = await database.change("INSERT homes", insert(HOMES).values(id=3, name="not sent"))
        assert again == NotDone("cannot be reached, or hung up")
