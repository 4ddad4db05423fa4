"""The tables of a source as its database describes them: the first draft of an adapter's row classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, MetaData, Table, func, inspect, select
from sqlalchemy.dialects.oracle import NUMBER

from adapters.kit.sql import SqlSettings
from adapters.kit.sql_session import SqlSession
from canonical.errors import MisconfiguredError


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """
    A column of a source's table, and the type that a row class declares it with. `pence`: no more than two decimal places.
    `form` is how a day is written in a file, in the words of `strptime`; empty if as in ISO 8601.
    """

    name: str
    kind: type
    optional: bool
    pence: bool = True
    form: str = ""


@dataclass(frozen=True, slots=True)
class FoundTable:
    """
    A table of a source. `key_guessed`: the database declares no key of it. `refers` gives the table that a column's values are
    keys of, as its foreign keys say. `rows` is how many it has. `exact`: its database finds it by this very name alone. `file` is
    the name of the file that it is, without its suffix.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[FoundColumn, ...]
    rows: int | None = None
    key_guessed: bool = False
    refers: tuple[tuple[str, str], ...] = ()
    exact: bool = False
    file: str = ""

    @property
    def declared(self) -> str:
        """The name as `row_of` takes it."""
        return f'"{self.name}"' if self.exact else self.name

    def column(self, name: str) -> FoundColumn:
        return next(each for each in self.columns if each.name == name)

    @property
    def others(self) -> tuple[FoundColumn, ...]:
        """The columns that are no part of the key."""
        return tuple(each for each in self.columns if each.name not in self.key)


EXAMPLE = FoundTable(
    "PEOPLE",
    ("PERSON_NO",),
    (
        FoundColumn("PERSON_NO", int, optional=False),
        FoundColumn("FORENAME", str, optional=True),
        FoundColumn("SURNAME", str, optional=True),
        FoundColumn("DATE_OF_BIRTH", date, optional=True),
        FoundColumn("NHS_NO", str, optional=True),
        FoundColumn("POSTCODE", str, optional=True),
    ),
)
"""The table of a package that is made without a look at a source."""


async def look(settings: SqlSettings, wanted: Sequence[str]) -> list[FoundTable]:
    """
    Ask the database for these tables, and count their rows. Nothing is written.

    :raises MisconfiguredError: it has no such table, or cannot be reached so.
    :raises UnavailableError: it does not answer.
    """
    session = SqlSession("source", settings)
    await session.open()
    try:
        async with session.connection() as connection:
            # SQLAlchemy takes a name in small letters for one in Oracle's own case.
            schema = settings.in_schema.lower() if settings.kind == "oracle" and settings.in_schema else settings.in_schema
            return await connection.run_sync(lambda c: list(_tables(c, schema, wanted)))
    finally:
        await session.close()


def _tables(connection: Connection, schema: str | None, wanted: Sequence[str]) -> Iterator[FoundTable]:
    there = inspect(connection)
    names = {name.lower(): name for name in [*there.get_table_names(schema), *there.get_view_names(schema)]}
    if unknown := [name for name in wanted if name.lower() not in names]:
        raise MisconfiguredError(
            "source", f"has no table or view {', '.join(unknown)}",
            fix=f"there are: {', '.join(sorted(names.values())[:40]) or 'none; name its schema with --schema'}",
        )  # fmt: skip
    for name in wanted:
        yield _table(connection, Table(names[name.lower()], MetaData(), schema=schema, autoload_with=connection))


def _table(connection: Connection, table: Table) -> FoundTable:
    declared = tuple(column.name for column in table.primary_key)
    key = declared or (table.columns[0].name,)
    ordered = [*(table.c[name] for name in key), *(each for each in table.columns if each.name not in key)]
    columns = tuple(
        FoundColumn(each.name, _kind(each), bool(each.nullable), pence=(getattr(each.type, "scale", None) or 9) <= 2)
        for each in ordered if _readable(each)
    )  # fmt: skip
    refers = tuple((each.parent.name, each.target_fullname.split(".")[-2]) for each in table.foreign_keys)
    rows = connection.execute(select(func.count()).select_from(table)).scalar_one()
    exact = connection.dialect.name in ("postgresql", "oracle") and not table.name.islower()
    return FoundTable(table.name, key, columns, rows, key_guessed=not declared, refers=refers, exact=exact)


def _readable(column: Any) -> bool:
    """Tell whether a row can hold it: no picture and no document is a part of a record."""
    try:
        return column.type.python_type not in (bytes, list, dict)
    except NotImplementedError:
        return True


def _kind(column: Any) -> type:
    """The type to declare: money in a float column is read as a Decimal, and Oracle's NUMBER without a fraction as an int."""
    if isinstance(column.type, NUMBER) and (column.type.scale == 0 or (column.primary_key and column.type.scale is None)):
        return int
    try:
        kind: type = column.type.python_type
    except NotImplementedError:
        return str
    if kind is float:
        return Decimal
    # Python's bool is an int, and its datetime a date.
    return next((each for each in (bool, int, Decimal, datetime, date) if issubclass(kind, each)), str)


