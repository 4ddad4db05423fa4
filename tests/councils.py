"""Shared by the tests of SQL adapters: a source of every kind, and an adapter with what it has published and quarantined."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.engine.pump import Pump
from adapters.kit.sql import SqlAdapter, SqlSettings, SqlStream
from adapters.testing import Log, MemoryJournal, MemoryMemory, MemoryState
from tests.servers import MariaDB, Postgres


class Server(NamedTuple):
    """A database of one kind, and how to reach it."""

    kind: str
    url: str

    async def run(self, *statements: str) -> None:
        engine = create_async_engine(self.url)
        async with engine.connect() as connection:
            for statement in statements:
                await connection.exec_driver_sql(statement)
            await connection.commit()
        await engine.dispose()

    def adapter(self, *streams: SqlStream, page: int = 10, **more: object) -> SqlAdapter:
        given = {"url": SecretStr(self.url), "page_size": page, **more}
        return SqlAdapter("homes", SqlSettings.model_validate(given), streams)


class Council:
    """An adapter with what it has published and quarantined, read as often as a test likes."""

    def __init__(self, adapter: SqlAdapter) -> None:
        self.adapter, self.log, self.state = adapter, Log(), MemoryState()
        entities = [entity for stream in adapter.streams() for entity in stream.entities]
        memory = MemoryMemory(self.state)
        self.pump = Pump(adapter, MemoryJournal(self.log, "homes", entities), memory, edition="1", mean_region=8)

    async def read(self) -> None:
        for stream in self.adapter.streams():
            await self.pump.ready()
            await self.pump.read(stream)

    @property
    def published(self) -> set[str]:
        return set(self.log.state())

    @property
    def problems(self) -> dict[str, str]:
        return {key: each.what for found in self.state.streams.values() for key, each in found.problems.items()}


DRIVERS = ("sqlite", *(pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")))


@pytest.fixture(params=DRIVERS)
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """An empty database for every driver."""
    async with _server(request, tmp_path) as found:
        yield found


@pytest.fixture(params=[*DRIVERS, pytest.param("ascii", marks=pytest.mark.servers)])
async def any_server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """The same, and a database of PostgreSQL that looks at no encoding."""
    async with _server(request, tmp_path) as found:
        yield found


@asynccontextmanager
async def _server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    if request.param == "sqlite":
        (tmp_path / "homes.db").touch()
        yield Server("sqlite", f"sqlite+aiosqlite:///{tmp_path / 'homes.db'}")
        return
    kind = "postgres" if request.param == "ascii" else request.param
    running: Postgres | MariaDB = request.getfixturevalue(kind)
    async with running.database() as url:
        yield Server(kind, await _ascii(url) if request.param == "ascii" else url)


async def _ascii(url: str) -> str:
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text("DROP DATABASE IF EXISTS homes_ascii"))
        settings = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        await connection.execute(text(f"CREATE DATABASE homes_ascii {settings}"))
    await engine.dispose()
    return url.rpartition("/")[0] + "/homes_ascii"
