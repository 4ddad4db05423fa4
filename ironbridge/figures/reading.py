"""
A figure is asked here: its relations are opened, its macros are made in a database in memory, and one SELECT answers.

DuckDB is called in the thread of the caller. Nothing is written, and DuckDB may open no file and no address by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from adapters.engine.journal import record_key
from canonical.errors import MisconfiguredError
from ironbridge.figures.days import calendar
from ironbridge.figures.figure import PROBLEM, WORKING_DAY, Figure
from ironbridge.figures.sheet import Sheet
from ironbridge.operate.insight import HIDDEN
from ironbridge.store.quality import FaultyRow

_LONDON = ZoneInfo("Europe/London")
_PIECE = 5000
Opened = Callable[[str], Any]
"""Gives an entity's latest table as something of Arrow's that DuckDB can read, one without rows if nothing of it was published."""


@dataclass(frozen=True, slots=True)
class DateRange:
    """The days that a figure is asked for, both ends among them."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise MisconfiguredError("figures", f"the range begins on {self.first} and ends on {self.last}, before that")


def last_twelve_months(today: date) -> DateRange:
    """The range that is shown if none is asked for: from the first of a month, eleven months ago, until today."""
    back = today.year * 12 + today.month - 1 - 11
    return DateRange(date(back // 12, back % 12 + 1, 1), today)


@dataclass(frozen=True, slots=True)
class Behind:
    """Some rows behind a figure: those of a group, by the columns that name it, and of them those that one number counts."""

    group: Mapping[str, str] = field(default_factory=dict)
    number: str = ""


@dataclass(frozen=True, slots=True)
class FigureReader:
    """Asks figures. `faulty` are the rows at fault that the state knows, which only the figures about them need."""

    opened: Opened
    faulty: Sequence[FaultyRow] = ()

    def numbers(self, of: Figure, days: DateRange) -> Sheet:
        with self._connected(of) as connection:
            found = connection.execute(f"SELECT * FROM {of.macro}(CAST($1 AS DATE), CAST($2 AS DATE))", [days.first, days.last])
            return Sheet(tuple(column[0] for column in found.description), found.fetchall())

    def rows(self, of: Figure, days: DateRange, behind: Behind, *, reveal: bool, most: int) -> Sheet:
        """The first rows behind a number; columns that are not plain are hidden unless they are to be revealed."""
        found = next(self.pieces(of, days, behind, reveal=reveal, most=most), [])
        return Sheet(tuple(of.columns), found)

    def pieces(
        self, of: Figure, days: DateRange, behind: Behind, *, reveal: bool, most: int | None = None
    ) -> Iterator[Sequence[tuple[Any, ...]]]:
        """The same, all of them, some thousand at a time."""
        where, given = _condition(of, behind)
        limit = f"LIMIT {most:d}" if most is not None else ""
        hides = () if reveal else [place for place, name in enumerate(of.columns) if name in of.hidden]
        with self._connected(of) as connection:
            found = connection.execute(
                f"SELECT {', '.join(of.columns)} FROM {of.macro}_rows(CAST($1 AS DATE), CAST($2 AS DATE)) "  # noqa: S608
                f"WHERE {where} ORDER BY ALL {limit}",  # the names are declared in the figure's file
                [days.first, days.last, *given],
            )
            while lines := found.fetchmany(most or _PIECE):
                yield [_hidden(line, hides) for line in lines]

    def count(self, of: Figure, days: DateRange, behind: Behind) -> int:
        where, given = _condition(of, behind)
        with self._connected(of) as connection:
            found = connection.execute(
                f"SELECT count(*) FROM {of.macro}_rows(CAST($1 AS DATE), CAST($2 AS DATE)) WHERE {where}",  # noqa: S608
                [days.first, days.last, *given],
            )
            return int(found.fetchone()[0])

    @contextmanager
    def _connected(self, of: Figure) -> Iterator[Any]:
        duckdb = _duckdb()
        with duckdb.connect(":memory:") as connection:
            for name, entity in of.entities.items():
                connection.register(name, self.opened(entity))
            if of.needs_days:
                connection.register(WORKING_DAY, calendar(datetime.now(_LONDON).date()))
            if of.needs_state:
                connection.register(PROBLEM, _problems(self.faulty))
            connection.execute("SET enable_external_access = false")
            connection.execute(of.sql)
            yield connection


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise MisconfiguredError(
            "figures", "DuckDB is not installed", fix="install Ironbridge with its extra `figures`: pip install 'ironbridge[figures]'"
        ) from error
    return duckdb


def _condition(of: Figure, behind: Behind) -> tuple[str, list[str]]:
    """:raises MisconfiguredError: the figure has no such group or number."""
    for name in behind.group:
        if name not in of.by:
            raise MisconfiguredError("figures", f"{of.name} has no group {name}", fix=f"there are: {', '.join(of.by)}")
    conditions = [f"CAST({name} AS VARCHAR) = ${place}" for place, name in enumerate(behind.group, 3)]
    if behind.number in of.flags:
        conditions.append(behind.number)
    return " AND ".join(conditions) or "true", list(behind.group.values())


def _hidden(line: tuple[Any, ...], places: Sequence[int]) -> tuple[Any, ...]:
    if not places:
        return line
    return tuple(HIDDEN if place in places and value is not None else value for place, value in enumerate(line))


def _problems(faulty: Sequence[FaultyRow]) -> Any:
    import pyarrow as pa

    texts = {name: [getattr(row, name) for row in faulty] for name in ("system", "stream", "field", "rule")}
    columns = {name: pa.array(values, pa.string()) for name, values in texts.items()} | {
        "key": pa.array([record_key(row.key) for row in faulty], pa.string()),
        "since": pa.array([_day(row.since) for row in faulty], pa.date32()),
        "incomplete": pa.array([row.incomplete for row in faulty], pa.bool_()),
    }
    return pa.table(columns)


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).astimezone(_LONDON).date()
