"""Many rows at once, on PostgreSQL (arrays) and on SQLite (executemany and JSON): one place for both dialects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, Integer, LargeBinary, Table, Text, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause

_ARRAYS = {
    Text: "text",
    Integer: "bigint",
    BigInteger: "bigint",
    Double: "float8",
    LargeBinary: "bytea",
    Boolean: "bool",
}


def postgres(connection: AsyncConnection) -> bool:
    return connection.dialect.name == "postgresql"


def among(connection: AsyncConnection, column: str, name: str) -> str:
    """`column` is one of the values bound as `name`; bind them with `values`."""
    if postgres(connection):
        return f"{column} = ANY(CAST(:{name} AS text[]))"
    return f"{column} IN (SELECT value FROM json_each(:{name}))"  # noqa: S608 (our own names)


def values(connection: AsyncConnection, items: Sequence[str]) -> Any:
    """Values to bind for `among`."""
    return list(items) if postgres(connection) else json.dumps(list(items))


async def put(
    connection: AsyncConnection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    update: Mapping[str, str] | None = None,
    where: str = "",
) -> None:
    """
    Insert rows; where the key is there already, set `update`'s columns (None: every column that is no key).

    `update` maps a column to SQL in which `excluded` is the new row; `where` may hold an update back.
    """
    if not rows:
        return
    if postgres(connection):
        statement = _unnest(table, tuple(columns), tuple((update or {}).items()), update is None, where)
        await connection.execute(statement, {f"c{i}": list(column) for i, column in enumerate(zip(*rows, strict=True))})
    else:
        statement = _insert(table, tuple(columns), tuple((update or {}).items()), update is None, where)
        await connection.exec_driver_sql(str(statement.text), [tuple(row) for row in rows])


@cache
def _unnest(
    table: Table, columns: tuple[str, ...], update: tuple[tuple[str, str], ...], every: bool, where: str
) -> TextClause:
    arrays = ", ".join(f"CAST(:c{i} AS {_ARRAYS[type(table.c[column].type)]}[])" for i, column in enumerate(columns))
    return text(
        f"INSERT INTO {table.name} ({_quoted(columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608 (our own names)
        + _conflict(table, columns, update, every, where)
    )


@cache
def _insert(
    table: Table, columns: tuple[str, ...], update: tuple[tuple[str, str], ...], every: bool, where: str
) -> TextClause:
    marks = ", ".join("?" for _ in columns)
    return text(
        f"INSERT INTO {table.name} ({_quoted(columns)}) VALUES ({marks})"  # noqa: S608 (our own names)
        + _conflict(table, columns, update, every, where)
    )


def _conflict(
    table: Table, columns: tuple[str, ...], update: tuple[tuple[str, str], ...], every: bool, where: str
) -> str:
    keys = [column.name for column in table.primary_key]
    if every:
        update = tuple((column, f'excluded."{column}"') for column in columns if column not in keys)
    sets = ", ".join(f'"{column}" = {value}' for column, value in update)
    action = f"UPDATE SET {sets}{' WHERE ' + where if where else ''}" if sets else "NOTHING"
    return f" ON CONFLICT ({_quoted(keys)}) DO {action}"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
