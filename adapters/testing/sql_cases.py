"""
Cases for adapters that read SQL: a TOML file says which rows lie in the tables, and what a stream makes of them.

A case has a `title`, a `stream`, the `settings` that it needs, `rows` by table, the `entities` that come out, `bad` with the
key and the reason of each record that is quarantined, and `left_out` with the column of each soft value that is.
"""
# ruff: noqa: S101 (these are tests)

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema

from adapters.kit.sql_session import SqlSettings
from adapters.kit.sql_world import fill
from adapters.port import Adapter, PurgedRow, Record, Stream, Sweep, Tail
from canonical.entity import Entity, bad_record
from canonical.errors import BadRecordError


@dataclass(slots=True)
class MappedRows:
    """The rows of a stream become these: entities, the records that are quarantined, and the soft values that are left out."""

    entities: list[Entity] = field(default_factory=list)
    bad: list[dict[str, str]] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)

    def take(self, stream: Stream, record: Record) -> None:
        entity = self._mapped(stream, record)
        if entity is not None:
            assert entity.key == record.key
            self.entities.append(entity)

    def _mapped(self, stream: Stream, record: Record) -> Entity | None:
        try:
            return stream.map(record.row)
        except BadRecordError as error:
            return self._softened(stream, record, error)
        except ValidationError as error:
            return self._softened(stream, record, bad_record("", error))

    def _softened(self, stream: Stream, record: Record, error: BadRecordError) -> Entity | None:
        softened = stream.softly(record.row) if stream.softly else None
        if softened is None:
            self.bad.append({"key": record.key, "says": f"{error.field}: {error.rule}"})
            return None
        self.left_out += [{"key": record.key, "says": f"{each.field}: {each.rule}"} for each in softened.left_out]
        return softened.entity


async def mapped_rows(stream: Stream) -> MappedRows:
    """Sweep a stream, and map all that is read."""
    assert isinstance(stream.reading, Sweep | Tail)
    sweep, found = stream.reading.sweep if isinstance(stream.reading, Tail) else stream.reading, MappedRows()
    async for page in sweep.pages(None):
        for record in page.records:
            if type(record.row) is not PurgedRow:
                found.take(stream, record)
    return found


@dataclass(slots=True)
class EmptySystem:
    """A legacy system with empty tables, to be filled with the rows of a case. `settings` says how it is read."""

    settings: SqlSettings
    tables: MetaData
    _filled: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of its own: a system that several tests fill has no connection that outlives a test's loop."""
        engine = create_async_engine(self.settings.parsed_url, poolclass=NullPool)
        async with engine.begin() as connection:
            yield connection
        await engine.dispose()

    async def make(self) -> None:
        """Make the tables, in their schema."""
        async with self.connection() as connection:
            if self.settings.in_schema:
                await connection.execute(CreateSchema(self.settings.in_schema.lower(), if_not_exists=True))
            await connection.run_sync(self.tables.create_all)

    async def fill(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Exactly these rows, and no others."""
        there = {str(table.name): table for table in self.tables.sorted_tables}
        for name, wanted in rows.items():
            strange = {column for row in wanted for column in row} - {str(each.name) for each in there[name].c}
            assert not strange, f"{name} has no {strange}"
        async with self.connection() as connection:
            for name in self._filled:
                await connection.execute(there[name].delete())
            for name, wanted in rows.items():
                await fill(connection, there[name], wanted)
        self._filled = set(rows)

    async def run(self, statement: str) -> None:
        """Run a statement, in which `{schema}` stands before each table."""
        schema = f"{self.settings.in_schema}." if self.settings.in_schema else ""
        async with self.connection() as connection:
            await connection.execute(text(statement.replace("{schema}", schema)))

    async def holds(self, case: Mapping[str, Any], build: Callable[[str, Any], Adapter], name: str) -> None:
        """Read the rows of a case, and compare what comes out with what the case says."""
        await self.fill(case["rows"])
        asked = self.settings.model_dump(by_alias=True) | {"url": self.settings.url} | case.get("settings", {})
        adapter = build(name, type(self.settings).model_validate(asked))
        await adapter.open()
        try:
            stream = next(each for each in adapter.streams() if each.name == case["stream"])
            found = await mapped_rows(stream)
        finally:
            await adapter.close()
        written = [json.dumps(each, default=date.isoformat).encode() for each in case.get("entities", [])]
        assert found.entities == [stream.entities[0].from_bytes(each) for each in written], case["title"]
        assert found.bad == case.get("bad", []), case["title"]
        assert found.left_out == case.get("left_out", []), case["title"]


@contextmanager
def empty_system(
    server: Callable[[], AbstractAsyncContextManager[str]] | None, folder: Path,
    settings: Callable[[str], SqlSettings], tables: Callable[[str | None], MetaData],
) -> Iterator[EmptySystem]:  # fmt: skip
    """
    Make a system with empty tables, for all tests of a module: in a database that a server gives (`postgres.database` and
    `mariadb.database` of the fixtures do), without a server in SQLite, in the folder.
    """
    with asyncio.Runner() as runner:
        database = server() if server is not None else nullcontext(f"sqlite+aiosqlite:///{folder / 'system.db'}")
        chosen = settings(runner.run(_entered(database)))
        try:
            made = EmptySystem(chosen, tables(chosen.in_schema))
            runner.run(made.make())
            yield made
        finally:
            runner.run(_left(database))


async def _entered(database: AbstractAsyncContextManager[str]) -> str:
    return await database.__aenter__()


async def _left(database: AbstractAsyncContextManager[str]) -> None:
    await database.__aexit__(None, None, None)
