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
        kinds = tuple((column, _ARRAYS[type(table.c[column].type)]) for column in columns)
        alike, bound = bind(rows)
        statement = _unnest(table, kinds, alike, tuple((update or {}).items()), update is None, where)
        await connection.execute(statement, bound)
    else:
        statement = _insert(table, tuple(columns), tuple((update or {}).items()), update is None, where)
        await connection.exec_driver_sql(str(statement.text), [tuple(row) for row in rows])


def bind(rows: Sequence[Sequence[Any]]) -> tuple[tuple[bool, ...], dict[str, Any]]:
    """
    Rows as parameters for `selected`: which columns hold the same value in all of them, and the parameters.

    Such a value is bound once: the driver looks at every item of an array, and that takes longer than all else here.
    """
    columns = list(zip(*rows, strict=True))
    alike = [column.count(column[0]) == len(rows) for column in columns]
    if all(alike):
        alike[0] = False  # an array says how many rows there are
    bound = {f"c{i}": column[0] if alike[i] else list(column) for i, column in enumerate(columns)}
    return tuple(alike), bound


@cache
def selected(kinds: tuple[tuple[str, str], ...], alike: tuple[bool, ...]) -> str:
    """A SELECT of the rows that `bind` bound, for PostgreSQL; `kinds` are the names and types of their columns."""
    parts = [(f"c{i}", *kind, same) for i, (kind, same) in enumerate(zip(kinds, alike, strict=True))]
    chosen = ", ".join(f'CAST(:{c} AS {kind}) AS "{name}"' if same else f'r."{name}"' for c, name, kind, same in parts)
    arrays = ", ".join(f"CAST(:{c} AS {kind}[])" for c, _, kind, same in parts if not same)
    names = ", ".join(f'"{name}"' for _, name, _, same in parts if not same)
    return f"SELECT {chosen} FROM unnest({arrays}) AS r ({names})"  # noqa: S608 (our own names)


@cache
def _unnest(
    table: Table,
    kinds: tuple[tuple[str, str], ...],
    alike: tuple[bool, ...],
    update: tuple[tuple[str, str], ...],
    every: bool,
    where: str,
) -> TextClause:
    columns = tuple(name for name, _ in kinds)
    return text(
        f"INSERT INTO {table.name} ({_quoted(columns)}) {selected(kinds, alike)}"
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
