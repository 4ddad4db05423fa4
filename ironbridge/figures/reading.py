"""
A figure is asked here: its relations are opened, its macros are made in a database in memory, and one SELECT answers.

DuckDB is called in the thread of the caller. Nothing is written, and DuckDB may open no file and no address by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from adapters.engine.journal import AGAIN, INCOMPLETE
from canonical.errors import MisconfiguredError
from ironbridge.figures.days import calendar
from ironbridge.figures.figure import PROBLEM, WORKING_DAY, Figure
from ironbridge.figures.relations import complete, left_out
from ironbridge.figures.sheet import FigureSheet
from ironbridge.operate.insight import HIDDEN
from ironbridge.store.quality import FaultyRow

_LONDON = ZoneInfo("Europe/London")
_PIECE = 5000
Opened = Callable[[tuple[str, ...]], Any]
"""Gives a connection of DuckDB's with the views of these names, as far as there are tables for them."""


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

    def numbers(self, of: Figure, days: DateRange) -> FigureSheet:
        with self._connected(of) as connection:
            asked = f"SELECT * FROM {of.macro}(CAST($1 AS DATE), CAST($2 AS DATE))"  # noqa: S608 (a file's name of ours)
            found = connection.execute(asked, [days.first, days.last])
            return FigureSheet(tuple(column[0] for column in found.description), found.fetchall())

    def rows(self, of: Figure, days: DateRange, behind: Behind, *, reveal: bool, most: int) -> FigureSheet:
        """The first rows behind a number; columns that are not plain are hidden unless they are to be revealed."""
        found = next(self.pieces(of, days, behind, reveal=reveal, most=most), [])
        return FigureSheet(tuple(of.columns), found)

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
        """:raises MisconfiguredError: the tables leave out a field that the SQL reads."""
        import duckdb

        with self.opened(tuple(of.entities)) as connection:
            complete(connection, of)
            if of.needs_days:
                connection.register(WORKING_DAY, calendar(datetime.now(_LONDON).date()))
            if of.needs_state:
                connection.register(PROBLEM, _problems(self.faulty))
            connection.execute("SET enable_external_access = false")
            try:
                connection.execute(of.sql)
                yield connection
            except duckdb.BinderException:
                raise left_out(connection, of) from None


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
    """The rows at fault as a table of Arrow. A day is one in England."""
    import pyarrow as pa
    from pyarrow import compute

    columns = {name: pa.array([getattr(row, name) for row in faulty], kind) for name, kind in _problem_columns(pa).items()}
    moments = compute.multiply(columns["since"], 1_000_000).cast(pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    days = compute.local_timestamp(moments.cast(pa.timestamp("us", tz=_LONDON.key))).cast(pa.date32(), safe=False)
    keys = compute.replace_substring_regex(columns["key"], f"({AGAIN}|{INCOMPLETE})$", "")
    return pa.table(columns | {"since": days, "key": keys})


def _problem_columns(pa: Any) -> dict[str, Any]:
    texts = dict.fromkeys(("system", "stream", "key", "field", "rule"), pa.string())
    return texts | {"since": pa.float64(), "incomplete": pa.bool_()}
