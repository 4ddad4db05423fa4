"""
An invented SQL system for demonstrations and tests, in SQLite, PostgreSQL or MariaDB.

It only ever touches a database that it made itself, which it knows by a marker table. An adapter says which rows there are
and what a day's work in them is; the tables follow from the rows that its streams declare.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any, Generic, TypeVar

from sqlalchemy import BigInteger, Column, ColumnElement, MetaData, Table, func, insert, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.schema import CreateSchema
from sqlalchemy.sql.elements import quoted_name

from adapters.kit.sql import SqlStream, Tables
from adapters.kit.sql_session import SqlSettings
from adapters.port import World
from canonical.errors import MisconfiguredError

S = TypeVar("S", bound=SqlSettings)
Rows = dict[str, list[dict[str, Any]]]
"""The rows of each table, by column."""

_MARKER = "IRONBRIDGE_WORLD"


class DaysWork:
    """Somebody works in an invented system: its tables, a seeded die, and today."""

    def __init__(self, connection: AsyncConnection, tables: MetaData, seed: int) -> None:
        self.connection = connection
        self.rng = Random(seed)  # noqa: S311 (a story, not a secret)
        self.today = datetime.now(UTC).date()
        self._tables = tables

    def table(self, name: str) -> Table:
        return self._tables.tables[_full(self._tables, name)]

    async def pick(self, table: Table, *conditions: ColumnElement[bool]) -> int | None:
        """The first column of one of the rows that these conditions leave; None if they leave none."""
        numbers = select(table.c[0]).where(*conditions).order_by(table.c[0])
        found = (await self.connection.execute(numbers)).scalars().all()
        return int(self.rng.choice(found)) if found else None

    async def next_number(self, table: Table) -> int:
        return int((await self.connection.execute(select(func.max(table.c[0])))).scalar_one() or 1000) + 1


@dataclass(frozen=True, slots=True)
class SqlWorld(Generic[S]):
    """
    The invented systems of one kind.

    `settings` makes the settings of one at a URL, with all that its `streams` may read. `story` makes up the rows of so many
    records, of a seed, as they stand on a day; it says how many records are spoilt on purpose. Each of `steps` is one thing of
    a day's work, and says in a sentence what it did, None if it found nothing to do. `more` are tables that no stream reads.
    The marker holds the number of records in a column called `sized`.
    """

    name: str
    unit: str
    size: int
    streams: Sequence[SqlStream]
    settings: Callable[[str], S]
    story: Callable[[int, int, date], tuple[Rows, int]]
    steps: Sequence[Callable[[DaysWork], Awaitable[str | None]]]
    section: Callable[[Path], Mapping[str, Any]]
    more: Sequence[type] = field(default=())
    edition: int = 1
    in_demonstration: bool = True
    sized: str = "SIZE"

    @property
    def _marked(self) -> tuple[str, ...]:
        return "EDITION", self.sized, "SEED", "BAD"

    def tables(self, schema: str | None) -> MetaData:
        """The tables of such a system as far as they are declared, and the marker."""
        tables, everything = Tables(schema), self.settings("sqlite://")
        for stream in self.streams:
            stream.reading(self.name, tables, everything)
        metadata = tables.stand_in(*self.more)
        Table(_unquoted(_MARKER), metadata, *[Column(_unquoted(each), BigInteger) for each in self._marked])
        return metadata

    async def create(self, url: str, size: int, seed: int = 893, today: date | None = None) -> int:
        """
        Make a system of so many records, as it would stand on `today`; leave one that is there already as it is.

        Says how many of its records are spoilt on purpose.

        :raises MisconfiguredError: the database holds something that this did not make.
        """
        settings = self.settings(url)
        if settings.kind == "sqlite":
            Path(settings.parsed_url.database or "").parent.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(settings.parsed_url)
        try:
            async with engine.begin() as connection:
                return await self._created(connection, settings.in_schema, (self.edition, size, seed), today)
        finally:
            await engine.dispose()

    async def change(self, url: str, seed: int) -> list[str]:
        """
        Do a day's work in a system, and say in plain sentences what was done, by the records' numbers.

        :raises MisconfiguredError: the database was not made by `create`.
        """
        engine = create_async_engine(self.settings(url).parsed_url)
        try:
            async with engine.begin() as connection:
                return await self.work_in(connection, seed)
        finally:
            await engine.dispose()

    async def work_in(self, connection: AsyncConnection, seed: int) -> list[str]:
        """Do the same over a connection; the caller commits."""
        kind = connection.dialect.name
        schema = self.settings(f"{kind}://").in_schema
        if _MARKER.lower() not in await connection.run_sync(_names, schema):
            fix = f"make the invented system first: python -m adapters.{self.name}.world URL"
            raise MisconfiguredError(f"{self.name} world", "the database was not made by it", fix=fix)
        work = DaysWork(connection, self.tables(schema), seed)
        return [sentence for step in self.steps if (sentence := await step(work)) is not None]

    def world(self) -> World[S]:
        how = self.in_demonstration
        return World(self.unit, self.size, self.section, self._made, self._changed, in_demonstration=how)

    def main(self) -> None:
        """`python -m adapters.NAME.world URL --size 300` makes a system; `--change 1` does a day's work in it."""
        parser = argparse.ArgumentParser(description=f"Make or change an invented system for the adapter {self.name}.")
        parser.add_argument("url", help=f"e.g. sqlite:///{self.name}.db")
        parser.add_argument("--size", f"--{self.unit}", dest="size", type=int, default=self.size, help=self.unit)
        parser.add_argument("--seed", type=int, default=893)
        parser.add_argument("--change", type=int, metavar="SEED", help="do a day's work in the one that is there")
        asked = parser.parse_args()
        if asked.change is None:
            print(asyncio.run(self._made(self.settings(asked.url), asked.size, asked.seed)))
        else:
            print("\n".join(asyncio.run(self.change(asked.url, asked.change))))

    async def _made(self, settings: S, size: int, seed: int) -> str:
        bad = await self.create(settings.url.get_secret_value(), size, seed)
        return f"{size} {self.unit} in {settings.parsed_url.database}, {bad} records spoilt on purpose"

    async def _changed(self, settings: S, seed: int) -> list[str]:
        return await self.change(settings.url.get_secret_value(), seed)

    async def _created(
        self, connection: AsyncConnection, schema: str | None, wanted: tuple[int, int, int], today: date | None
    ) -> int:
        metadata = self.tables(schema)
        marker = metadata.tables[_full(metadata, _MARKER)]
        there = await connection.run_sync(_names, schema)
        if _MARKER.lower() in there:
            marked = (await connection.execute(select(*marker.c))).one_or_none()  # without a row somebody was killed at it
            if marked is not None and tuple(marked[:-1]) == wanted:
                return int(marked[-1])
        elif there:
            fix = "name an empty database in `url`: this one will never be written to"
            raise MisconfiguredError(f"{self.name} world", "the database holds tables that it did not make", fix=fix)
        if schema is not None:
            await connection.execute(CreateSchema(_unquoted(schema), if_not_exists=True))
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        _, size, seed = wanted
        rows, bad = self.story(size, seed, today or datetime.now(UTC).date())
        for table in metadata.sorted_tables:
            await fill(connection, table, rows.get(str(table.name), []))
        await connection.execute(insert(marker).values(dict(zip(self._marked, (*wanted, bad), strict=True))))
        return bad


async def fill(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put rows into a table; a column that a row does not name is empty."""
    names = [str(column.name) for column in table.c]
    whole = [{name: row.get(name) for name in names} for row in rows]
    for start in range(0, len(whole), 2000):
        await connection.execute(insert(table), whole[start : start + 2000])


def _names(sync: Any, schema: str | None) -> set[str]:
    return {each.lower() for each in inspect(sync).get_table_names(schema=schema.lower() if schema else None)}


def _full(metadata: MetaData, name: str) -> str:
    return f"{metadata.schema}.{name}" if metadata.schema else name


def _unquoted(name: str) -> quoted_name:
    return quoted_name(name, quote=False)
