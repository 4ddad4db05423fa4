"""
Cases for adapters that read SQL: a TOML file says which rows lie in the tables, and what a stream makes of them.

A case has a `title`, a `stream`, the `settings` that it needs, `rows` by table, the `entities` that come out, `bad` with the
key and the reason of each record that is quarantined, and `left_out` with the column of each soft value that is.
"""
# ruff: noqa: S101 (these are tests)

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateSchema

from adapters.kit.sql_session import SqlSettings
from adapters.kit.sql_world import fill
from adapters.port import Adapter, Record, Stream, Sweep
from canonical.entity import Entity, bad_record
from canonical.errors import BadRecordError


@dataclass(slots=True)
class MappedRows:
    """What the rows of a stream become: entities, the records that are quarantined, and the soft values that are left out."""

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
    assert isinstance(stream.reading, Sweep)
    found = MappedRows()
    async for page in stream.reading.pages(None):
        for record in page.records:
            found.take(stream, record)
    return found


@dataclass(frozen=True, slots=True)
class EmptySystem:
    """A legacy system with empty tables, to be filled with the rows of a case. `settings` says how it is read."""

    settings: SqlSettings
    tables: MetaData
    engine: AsyncEngine

    async def fill(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Exactly these rows, and no others."""
        known = {str(table.name): {str(each.name) for each in table.c} for table in self.tables.sorted_tables}
        for name, wanted in rows.items():
            strange = {column for row in wanted for column in row} - known[name]
            assert not strange, f"{name} has no {strange}"
        async with self.engine.begin() as connection:
            for table in self.tables.sorted_tables:
                await connection.execute(table.delete())
                await fill(connection, table, rows.get(str(table.name), []))

    async def run(self, statement: str) -> None:
        """Run a statement, in which `{schema}` stands before each table."""
        schema = f"{self.settings.in_schema}." if self.settings.in_schema else ""
        async with self.engine.begin() as connection:
            await connection.execute(text(statement.replace("{schema}", schema)))

    async def holds(self, case: Mapping[str, Any], build: Callable[[str, SqlSettings], Adapter], name: str) -> None:
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


@asynccontextmanager
async def empty_system(
    kind: str, server: Callable[[str], Any], folder: Path,
    settings: Callable[[str], SqlSettings], tables: Callable[[str | None], MetaData],
) -> AsyncIterator[EmptySystem]:  # fmt: skip
    """
    Make a system with empty tables on a database of this kind: `sqlite`, in the folder, or one that `server` gives by its kind:
    `request.getfixturevalue` does.
    """
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{folder / 'system.db'}"
        if kind != "sqlite":
            url = await stack.enter_async_context(server(kind).database())
        chosen = settings(url)
        made = EmptySystem(chosen, tables(chosen.in_schema), create_async_engine(url))
        stack.push_async_callback(made.engine.dispose)
        async with made.engine.begin() as connection:
            if chosen.in_schema:
                await connection.execute(CreateSchema(chosen.in_schema.lower(), if_not_exists=True))
            await connection.run_sync(made.tables.create_all)
        yield made
