"""Asks the tables: DuckDB with a view for each, which reads the files where they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from canonical.errors import MisconfiguredError
from ironbridge.settings import TablesSettings
from ironbridge.tables.choice import plans, storage_of
from ironbridge.tables.table import OpenTable

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class TableStanding:
    """How one table stands: its name in a query, its rows and files, and when it was last written to."""

    name: str
    uri: str
    rows: int
    files: int
    bytes: int
    written: datetime | None


def there(settings: TablesSettings, names: Sequence[str] = ()) -> Iterator[OpenTable]:
    """
    The tables that are there, or those of them whose views are named; none is made or changed.

    :raises MisconfiguredError: no path is set, or a table's columns do not agree with the contracts.
    """
    for plan in plans(settings):
        if names and plan.view not in names:
            continue
        table = OpenTable(plan, storage_of(settings))
        if table.open(make=False):
            yield table


def standings(settings: TablesSettings) -> list[TableStanding]:
    """How each table stands that is there."""
    return [_standing(table) for table in there(settings)]


def _standing(table: OpenTable) -> TableStanding:
    sizes = table.sizes()
    return TableStanding(
        table.plan.view, table.plan.uri, sum(rows for rows, _ in sizes), len(sizes), sum(size for _, size in sizes),
        table.written(),
    )  # fmt: skip


def opened(settings: TablesSettings, names: Sequence[str] = ()) -> DuckDBPyConnection:
    """
    A DuckDB in memory with a view for each table, or for the named ones. A query reads the tables as they were when this was
    called, and no files but theirs.

    :raises MisconfiguredError: no path is set, or there are no tables yet.
    """
    import duckdb

    connection = duckdb.connect(config={"threads": "2"})
    found = 0
    for table in there(settings, names):
        connection.register(table.plan.view, table.dataset())
        found += 1
    if not found:
        raise MisconfiguredError(
            "tables", f"there are none at {settings.path}", fix="start `ironbridge run tables`, which makes and fills them"
        )
    connection.execute("SET enable_external_access = false")
    return connection

