"""Many rows at once, on PostgreSQL (arrays) and on SQLite (executemany and JSON): one place for both dialects."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, Integer, LargeBinary, Table, Text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import TextClause

from ironbridge.store.statement import text

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
        forms, bound = bind(rows, kinds)
        statement = _unnest(table, kinds, forms, tuple((update or {}).items()), update is None, where)
        await connection.execute(statement, bound)
    else:
        statement = _insert(table, tuple(columns), tuple((update or {}).items()), update is None, where)
        await connection.exec_driver_sql(str(statement.text), [tuple(row) for row in rows])


def bind(rows: Sequence[Sequence[Any]], kinds: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """
    Bind rows as parameters for `selected`; `kinds` are the names and types of their columns. Returns each column's form, too.

    A column with one value in all rows is bound as that value. Any other column is bound as one text if its values can be joined:
    of an array the driver looks at every item, and that takes longer than all else here.
    """
    columns = [_bound(kind, column) for (_, kind), column in zip(kinds, zip(*rows, strict=True), strict=True)]
    if all(form == _SAME for form, _ in columns):
        columns[0] = _ARRAY, [row[0] for row in rows]  # an array says how many rows there are
    return tuple(form for form, _ in columns), {f"c{i}": value for i, (_, value) in enumerate(columns)}


_SAME, _ARRAY, _TEXT = "same", "array", "text"
_WRITTEN: dict[str, Callable[[Any], str]] = {"bigint": int.__repr__, "bytea": bytes.hex}
_SHORT = 64  # bytes of a digest or so: hexadecimal digits are twice as long, which pays for these alone
_BETWEEN = "\x1f"  # the separator of a text's units: no key, name or JSON holds it


def _bound(kind: str, column: Sequence[Any]) -> tuple[str, Any]:
    """A column's form, and its value in that form."""
    if column.count(column[0]) == len(column):
        return _SAME, column[0]
    joined = _joined(kind, column)
    return (_ARRAY, list(column)) if joined is None else (_TEXT, joined)


def _joined(kind: str, column: Sequence[Any]) -> str | None:
    """The column as one text; None if it holds anything that a text cannot tell."""
    if kind not in ("text", *_WRITTEN):
        return None
    try:
        if kind == "bytea" and sum(map(len, column)) > _SHORT * len(column):
            return None
        joined = _BETWEEN.join(column if kind == "text" else map(_WRITTEN[kind], column))
    except TypeError:  # there is a NULL
        return None
    return joined if joined and joined.count(_BETWEEN) == len(column) - 1 else None


@cache
def selected(kinds: tuple[tuple[str, str], ...], forms: tuple[str, ...]) -> str:
    """A SELECT of the rows that `bind` bound, for PostgreSQL."""
    parts = [(f"c{i}", *kind, form) for i, (kind, form) in enumerate(zip(kinds, forms, strict=True))]
    chosen = ", ".join(f'{_value(*part)} AS "{part[1]}"' for part in parts)
    arrays = ", ".join(_items(c, kind, form) for c, _, kind, form in parts if form != _SAME)
    names = ", ".join(f'"{name}"' for _, name, _, form in parts if form != _SAME)
    return f"SELECT {chosen} FROM unnest({arrays}) AS r ({names})"  # noqa: S608 (our own names)


def _value(bound: str, name: str, kind: str, form: str) -> str:
    if form == _SAME:
        return f"CAST(:{bound} AS {kind})"
    if form == _TEXT and kind == "bytea":
        return f"decode(r.\"{name}\", 'hex')"
    return f'CAST(r."{name}" AS {kind})'


def _items(bound: str, kind: str, form: str) -> str:
    return f"string_to_array(CAST(:{bound} AS text), '{_BETWEEN}')" if form == _TEXT else f"CAST(:{bound} AS {kind}[])"


@cache
def _unnest(
    table: Table,
    kinds: tuple[tuple[str, str], ...],
    forms: tuple[str, ...],
    update: tuple[tuple[str, str], ...],
    every: bool,
    where: str,
) -> TextClause:
    columns = tuple(name for name, _ in kinds)
    return text(
        f"INSERT INTO {table.name} ({_quoted(columns)}) {selected(kinds, forms)}"
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
