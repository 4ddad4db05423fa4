"""
Makes the statements that read a stream: pages in the order of a key, and the rows that nest in a record's row.

Statements are SQLAlchemy Core, and stay within what PostgreSQL, MariaDB, SQLite, SQL Server and Oracle all understand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, bindparam, literal_column, or_, select, union_all
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import ColumnClause, FromClause, TableClause

from canonical.key import KeysOf

Columns = tuple[ColumnElement[Any], ...]
Ways = tuple[ColumnElement[bool], ...]
"""Conditions of which every row that is wanted meets one, and no row two."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """
    A table whose changed rows SQL Server notes by the columns of its primary key (see `adapters.kit.sql_tracking`). It stands
    in the place of a row version.
    """

    table: TableClause
    columns: Columns

    def __str__(self) -> str:
        return str(self.table)


Version = ColumnElement[Any] | Tracked
"""A version shows that a row of a table changed: it is a column of row versions, or the database's own notes."""


@dataclass(frozen=True, slots=True)
class Parts:
    """
    Rows that belong to a record: they nest in its row, in `order`, as a tuple of tuples of `columns`.

    `owner` is the columns of `source` that hold the record's key. Where the rows hang on another column of the record,
    `source` joins a query of the records' keys. `order` must leave no two rows of a record equal. A source of which only some
    installations have the table says so with `may_lack`: the part is then read where the table is. `version` is the row
    version of the part's own table, if it has one (see `adapters.kit.sql_versions`).
    """

    source: FromClause
    owner: Columns
    columns: Columns
    order: Columns
    where: ColumnElement[bool] | None = None
    may_lack: bool = False
    version: Version | None = None

    @property
    def table(self) -> TableClause:
        """The table that the rows are of."""
        table = self.order[0].table
        assert isinstance(table, TableClause)  # noqa: S101 - for the type checker
        return table

    def of_range(self, same: int = 0) -> Select[Any]:
        """
        The rows of every record whose key lies between `low` and `high` in one column, and is `same_0`, `same_1` … in so many
        columns before that one.
        """
        equal = [self.owner[at] == bindparam(f"same_{at}") for at in range(same)]
        return self.of(and_(*equal, self.owner[same].between(bindparam("low"), bindparam("high"))))

    def of_keys(self, columns: int = 1) -> Select[Any]:
        """The rows of records whose keys have one of `keys_0` in their first column, one of `keys_1` in the second …"""
        return self.of(and_(*[self.owner[at].in_(bindparam(f"keys_{at}", expanding=True)) for at in range(columns)]))

    def beside(self, key: Columns) -> Parts:
        """
        The same rows, joined to the record with this key, which they show as the record has it. So the database tells which
        rows belong to a record: to it `a` may be `A`, and `a` with a blank behind it.
        """
        there = key[0].table
        if self.owner[0].table is there or not isinstance(self.owner[0].table, TableClause):
            return self  # they show the record's key already
        own = there.alias()
        keys = tuple(own.c[each.key] for each in key)
        same = and_(*[owner == each for owner, each in zip(self.owner, keys, strict=True)])
        return replace(self, source=self.source.join(own, same), owner=keys)

    def of(self, condition: ColumnElement[bool]) -> Select[Any]:
        """The rows that meet a condition, in the order of their owners."""
        statement = select(*self.owner, *self.columns).select_from(self.source).where(condition)
        statement = statement if self.where is None else statement.where(self.where)
        return statement.order_by(*self.owner, *self.order)


@dataclass(frozen=True, slots=True)
class Reading:
    """
    A reading says which table, columns and parts the records of a stream are read from. A row is `columns` (which begin
    with `key`), then one tuple a part.

    `keys` makes each record's canonical key of the columns of `key`. They are unique together, never null, and hold exact
    numbers, text or uuids. Blanks at a text's end are no part of the key: they fill up a CHAR column. A row begins with its
    key as it stands in the record's own: a uuid and a number with a fraction as text.
    `kinds` are the types that `TABLE.COLUMN` is declared with, where one is; they are looked at and change no statement.
    `version` is the row version by which a tail finds the changed rows, if the table has one.

    Where the system moves rows to another table and they stay what they are (a settled item to the history), that table is
    `moves_to`. It has the same columns. Both are read in one statement, and so as they lie at one moment: a row that moves
    is in one of them. Its key stays as it is, so that it keeps its place between two pages, too.

    Where the system purges rows, and keeps at least their keys in another table, that one is `purged_to`: a sweep reads these
    keys in their places, each with nothing in the column `there`.
    """

    keys: KeysOf
    source: FromClause
    key: Columns
    columns: Columns
    where: ColumnElement[bool] | None = None
    parts: tuple[Parts, ...] = ()
    kinds: Mapping[str, type] = field(default_factory=dict)
    version: Version | None = None
    moves_to: TableClause | None = None
    purged_to: TableClause | None = None

    @property
    def versions(self) -> tuple[Version, ...]:
        """Whatever shows the changes of the table and of its parts."""
        return tuple(each for each in (self.version, *[part.version for part in self.parts]) if each is not None)

    def unversioned(self) -> Reading:
        """The same reading, if it is read without row versions."""
        return replace(self, version=None, parts=tuple(replace(part, version=None) for part in self.parts))

    def select(
        self,
        columns: Columns,
        *conditions: ColumnElement[bool],
        ways: Ways = (),
        order: Columns = (),
        size: int,
        skip: int = 0,
    ) -> Select[Any]:
        """
        The first `size` rows in an order, behind the first `skip`.

        Each table is asked, and each of the `ways` to a row, for its first rows in this order, which an index gives: no more
        than these are read, however large the tables are.
        """
        met = [each for each in (self.where, *conditions) if each is not None]
        whole = select(*columns).select_from(self.source).where(*met)
        found = [whole.where(way) for way in ways] or [whole]
        if len(found) == 1 and self.moves_to is None and self.purged_to is None:
            ordered = found[0].order_by(*order)
        else:
            named = [each.label(f"c{at}") for at, each in enumerate((*columns, *order))]
            found = [each.with_only_columns(*named).order_by(*order).limit(size + skip) for each in found]
            if self.moves_to is not None:
                found += [moved(each, self.table, self.moves_to) for each in found]
            if self.purged_to is not None:
                found += self._purged(self.purged_to, columns, conditions, ways, order, size + skip)
            ordered = _united(found, len(columns), len(order))
        first = ordered.limit(size)
        return first.offset(skip) if skip else first

    def _purged(
        self, kept: TableClause, columns: Columns, conditions: Ways, ways: Ways, order: Columns, size: int
    ) -> Iterator[Select[Any]]:
        """The keys of purged rows. All other columns are those of the row that is not there: empty, and of their own types."""
        key = {id(each): kept.c[str(each.key)] for each in self.key}
        named = [key.get(id(each), each).label(f"c{at}") for at, each in enumerate((*columns, *order))]
        same = and_(*[each == key[id(each)] for each in self.key])
        whole = select(*named).select_from(kept.outerjoin(self.source, same)).where(self.key[0].is_(None))
        whole = whole.order_by(*[key.get(id(each), each) for each in order]).limit(size)
        whole = whole.where(*[_put_for(key, each) for each in conditions])
        yield from [whole.where(_put_for(key, way)) for way in ways] or [whole]

    @property
    def there(self) -> ColumnElement[Any]:
        """A column that only a purged row has nothing in."""
        return self.key[0].label("there")

    @property
    def table(self) -> TableClause:
        """The table of the key's columns."""
        table = self.key[0].table
        assert isinstance(table, TableClause)  # noqa: S101 - for the type checker
        return table

    def page(self, size: int, *, after: bool) -> Select[Any]:
        """The first records, or those behind the position `after_0`, `after_1` …"""
        ways = levels(self.key, [bindparam(f"after_{n}") for n in range(len(self.key))]) if after else ()
        return self.select(self.columns, ways=ways, order=self.key, size=size)

    def changes(self, change: ColumnElement[Any], condition: ColumnElement[bool], size: int) -> Select[Any]:
        """The change column first, then the row exactly as the sweep reads it, for both feed one fingerprint."""
        return self.select((change, *self.columns), condition, order=(change, *self.key), size=size)

    def __str__(self) -> str:
        return ", ".join(sorted({str(table) for table in columns_read([self])}))


def _united(found: Sequence[Select[Any]], columns: int, order: int) -> Select[Any]:
    """
    All rows of several queries, whose columns `c0`, `c1` … are so many to be shown and so many to order the rows by.

    The names are written as text: SQLAlchemy takes as long to work out the columns of each query as to read a small page.
    """
    whole: ColumnElement[Any] = literal_column("*")
    each_of = [select(whole).select_from(each.subquery(f"s{at}")) for at, each in enumerate(found)]
    named: list[ColumnElement[Any]] = [literal_column(f"c{at}") for at in range(columns + order)]
    return select(*named[:columns]).select_from(union_all(*each_of).subquery("s")).order_by(*named[columns:])


def beyond(columns: Sequence[ColumnElement[Any]], values: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
    """
    Tell whether a row stands behind a position, column by column, for SQL Server has no `(a, b) > (x, y)`.

    The outer `a >= x` lets every planner seek in an index on the first column.
    """
    if len(columns) == 1:
        return columns[0] > values[0]
    return and_(columns[0] >= values[0], or_(columns[0] > values[0], beyond(columns[1:], values[1:])))


def levels(columns: Sequence[ColumnElement[Any]], values: Sequence[ColumnElement[Any]]) -> Ways:
    """
    The ways to the rows behind a position: equal in all columns but the last, which is greater; equal in all but the last two;
    and so on. An index on the columns leads to the first row of each, and no database finds it by one condition for all.
    """
    return tuple(
        and_(*[columns[at] == values[at] for at in range(last)], columns[last] > values[last])
        for last in reversed(range(len(columns)))
    )


def moved(statement: Select[Any], here: TableClause, there: TableClause) -> Select[Any]:
    """The same statement of another table with the same columns."""

    def other(element: Any, **_: Any) -> Any:
        if element is here:
            return there
        return there.c[element.key] if isinstance(element, ColumnClause) and element.table is here else None

    return cast("Select[Any]", visitors.replacement_traverse(statement, {}, other))


def _put_for(key: Mapping[int, ColumnElement[Any]], condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """A condition on the columns of a key, put for those of another table; `key` gives these by the identity of the others."""
    return visitors.replacement_traverse(condition, {}, lambda element, **_: key.get(id(element)))


def columns_read(readings: Iterable[Reading]) -> dict[TableClause, set[str]]:
    """Every table that the readings ask for, with every column of it."""
    found: dict[TableClause, set[str]] = {}
    for reading in readings:
        for statement in (reading.page(1, after=False), *[part.of_range() for part in reading.parts]):
            for element in visitors.iterate(statement):
                if isinstance(element, ColumnClause) and isinstance(element.table, TableClause):
                    found.setdefault(element.table, set()).add(str(element.name))
        for version in reading.versions:
            columns = version.columns if isinstance(version, Tracked) else (version,)
            found.setdefault(version.table, set()).update(str(column.key) for column in columns)
    return found
