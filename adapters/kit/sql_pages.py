"""
Reads the records of a reading, some at a time, and finds the one row that cannot be read.

A driver fails at a whole page for one value in it: a date after the year 9999, a byte that is not of the database's encoding.
Such a page is read again in ever smaller pieces until the one row is found. It becomes a record that is quarantined under its
key, and the others are read as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from math import isfinite
from operator import is_
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, LargeBinary, Select, and_, bindparam, cast, func, or_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NULLTYPE

from adapters.kit.sql_reading import Columns, Parts, Reading, Ways, levels
from adapters.kit.sql_session import SqlSession, UnreadValueError
from adapters.port import Position, PurgedRow, Record, Row, UnreadRow
from canonical.errors import MisconfiguredError
from canonical.turns import in_turns

_MOST_EQUAL = 1000
"""A reading that meets more rows whose keys the database takes for one ends: they are read at once."""

_MOST_ASKED = 2000
"""SQL Server takes at most 2,100 parameters a statement."""

_PIECE = 50
"""Rows that get their parts in one go, well below a millisecond."""

_AS_THEY_ARE = frozenset({int, str})
"""Values of a key of just these types are kept as they are."""

_MOST_UNREAD = 1000
"""A reading that meets more rows that cannot be read ends: it is no row's fault, and each costs the source many questions."""

Behind = Callable[[Row], Ways]


@dataclass(frozen=True, slots=True)
class Run:
    """
    Rows of a reading in the order of `lead` and the key. `ways` lead to those that are still to come (none: to all), `behind`
    gives the ways to the rows behind one, of which it is given `lead` and the key.
    """

    reading: Reading
    behind: Behind
    ways: Ways = ()
    lead: Columns = ()

    @property
    def order(self) -> Columns:
        return (*self.lead, *self.reading.key)

    def select(self, columns: Columns, size: int, skip: int = 0) -> Select[Any]:
        named = [key.is_not(None) for key in self.reading.key]
        return self.reading.select(columns, *named, ways=self.ways, order=self.order, size=size, skip=skip)

    def after(self, row: Row) -> Run:
        return replace(self, ways=self.behind(row))

    def level_with(self, row: Row) -> Run:
        """The rows that stand where this one stands, for the database."""
        return replace(self, ways=(_equal(self.order, row),))


class FoundRows(NamedTuple):
    """
    Some records, in order. `leads` are their values of the run's `lead`, `()` where there are none to be read. `last` is the
    lead and the key of the last row that can be read, and `ended` says that no row is left behind these.
    """

    records: list[Record]
    leads: list[Row]
    last: Row | None
    ended: bool


def untyped(value: object) -> ColumnElement[Any]:
    return bindparam(None, value, type_=NULLTYPE)  # the database then takes it for what the column is


@dataclass(slots=True)
class Pages:
    """Reads one reading's rows; `scattered` if the keys of a page do not follow one another, as in a tail."""

    session: SqlSession
    reading: Reading
    scattered: bool = False
    _unread: int = 0
    _last: Position = ()
    _about: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._about = str(self.reading)

    async def read(self, run: Run, size: int, position: Position = ()) -> FoundRows:
        """Read `size` rows of the run. `position` is the place of the last record before them."""
        self._last = position
        found = await self._page(run, size)
        if found.last is not None and not found.ended and _of_text(found.last[len(run.lead) :]):
            found = await self._with_equals(run, found, found.last, size)
        if found.records:
            self._last = found.records[-1].position
        return found

    async def _page(self, run: Run, size: int) -> FoundRows:
        try:
            return await self._found(run, size)
        except UnreadValueError:
            return await self._in_pieces(run, size)

    async def _with_equals(self, run: Run, found: FoundRows, last: Row, size: int) -> FoundRows:
        """
        Some rows with all whose keys the database takes for the last one's, such as `a` and `A`: the rows behind these are
        asked for next.
        """
        equal = await self._page(run.level_with(last), _MOST_EQUAL + 1)
        if len(equal.records) > _MOST_EQUAL:
            what, fix = f"more than {_MOST_EQUAL} rows have one key for the database", "let the adapter's author name another key"
            raise MisconfiguredError(self.session.where, f"{_names(self.reading.key)}: {what}", fix=fix)
        if len(equal.records) < 2:
            return found
        again = {record[:2] for record in equal.records}
        kept = [at for at, record in enumerate(found.records) if record[:2] not in again]
        records, leads = [found.records[at] for at in kept], [found.leads[at] for at in kept if found.leads]
        return FoundRows(records + equal.records, leads + equal.leads, last, False)

    async def place(self, position: Position) -> Row:
        """The key at a position as the source has it: in JSON a number with a fraction was text."""
        if not _of_text(position):
            return position
        async with self.session.connection(self._about) as connection:
            first = (await connection.execute(self.reading.page(1, after=False))).first() or ()
        kinds = [type(value) for value in first[: len(position)]]
        return tuple(kind(value) if kind is Decimal else value for kind, value in zip(kinds, position, strict=False)) or position

    async def unnamed(self) -> list[Record]:
        """The rows without a key: nobody can say which record they are, so each is quarantined."""
        try:
            return await self._unnamed()
        except UnreadValueError:
            return [self._keyless("?", "is empty")]

    async def _unnamed(self) -> list[Record]:
        nameless = or_(*[key.is_(None) for key in self.reading.key])
        statement = self.reading.select(self.reading.key, nameless, size=_MOST_UNREAD)
        async with self.session.connection(self._about) as connection:
            rows = [tuple(row) for row in await connection.execute(statement)]
        return [self._keyless("\0".join(map(str, row)), "is empty") for row in rows]

    async def _found(self, run: Run, size: int, skip: int = 0) -> FoundRows:
        width, lead = len(self.reading.key), len(run.lead)
        told = () if self.reading.purged_to is None else (self.reading.there,)
        async with self.session.connection(self._about) as connection:
            asked = await connection.execute(run.select((*run.lead, *self.reading.columns, *told), size, skip))
            found = asked.all()
            if not found:
                return FoundRows([], [], None, True)
            purged = {at for at, row in enumerate(found) if row[-1] is None} if told else ()
            last, leads = found[-1][: lead + width], [row[:lead] for row in found] if lead else [()] * len(found)
            rows = [row[lead:-1] if told else row[lead:] for row in found]  # plain tuples, which a Row itself is not
            records = await self._records(connection, rows, self._parts(rows))
        for at in purged:
            records[at] = records[at]._replace(row=PurgedRow(records[at].row[:width]))
        return FoundRows(records, leads, last, len(rows) < size)

    def _parts(self, rows: Sequence[Row]) -> list[tuple[Select[Any], dict[str, Any]]]:
        parts, key = self.reading.parts, self.reading.key
        if parts and any(_of_text(row[: len(key)]) for row in (rows[0], rows[-1])):
            parts = tuple(part.beside(key) for part in parts)
        if self.scattered:
            keys = _lists(rows, len(key))
            return [(part.of_keys(len(keys)), keys) for part in parts]
        low, high = rows[0][: len(key)], rows[-1][: len(key)]
        same = next((at for at in range(len(key) - 1) if low[at] != high[at]), len(key) - 1)
        ends = {"low": low[same], "high": high[same], **{f"same_{at}": low[at] for at in range(same)}}
        return [(part.of_range(same), ends) for part in parts]

    async def _records(
        self, connection: AsyncConnection, rows: Sequence[Row], parts: Sequence[tuple[Select[Any], dict[str, Any]]]
    ) -> list[Record]:
        width, keys = len(self.reading.key), self.reading.keys
        groups = [grouped(await connection.execute(statement, of), width) for statement, of in parts]
        if groups:
            pieces = in_turns([rows[at : at + _PIECE] for at in range(0, len(rows), _PIECE)])
            rows = [row async for piece in pieces for row in _with_parts(piece, groups, width)]
        # SQLite alone holds anything in a column of numbers, and a NUMERIC comes as a Decimal.
        if all(type(value) is int for value in rows[0][:width]) and _whole_keys(rows, width, self.session.settings.kind):
            beginning = keys.beginning
            if width == 1:
                return [Record(f"{beginning}{row[0]}", (row[0],), row) for row in rows]
            return [Record(beginning + ":".join(map(str, row[:width])), row[:width], row) for row in rows]
        return [self._record(row[:width], row) for row in rows]

    def _record(self, key: Row, row: Row) -> Record:
        try:
            position = tuple([value if type(value) in _AS_THEY_ARE else _placed(value) for value in key])
        except TypeError:
            return self._keyless(repr(key), "is neither a whole number nor text")
        self._last = position
        named = [value.rstrip(" ") if type(value) is str else value for value in position]
        if type(row) is not UnreadRow and not all(map(is_, named, key)):
            row = (*named, *row[len(named) :])  # so that its mapping makes the same key of it
        return Record(self.reading.keys.of(*named), position, row)

    # -- a page that cannot be read as a whole ----------------------------------------------------------------------

    async def _in_pieces(self, run: Run, size: int) -> FoundRows:
        """The same rows, read in pieces: half as long after each failure, twice as long after each success."""
        records: list[Record] = []
        leads: list[Row] = []
        last: Row | None = None
        step, skip, left = max(size // 2, 1), 0, size
        while left > 0:
            asked = min(step, left)
            try:
                found = await self._found(run, asked, skip)
            except UnreadValueError as error:
                if asked > 1:
                    step = asked // 2
                    continue
                found = await self._hostile(run, skip, error)
            records += found.records
            leads += found.leads
            left -= len(found.records)
            if found.last is not None:
                last, run, skip = found.last, run.after(found.last), 0
            else:
                skip += len(found.records)  # its place in the order is not known: go on behind it by counting
            if found.ended:
                return FoundRows(records, leads, last, True)
            step = asked * 2
        return FoundRows(records, leads, last, False)

    async def _hostile(self, run: Run, skip: int, error: UnreadValueError) -> FoundRows:
        """The one row that cannot be read, as far as it can."""
        self._unread += 1
        if self._unread > _MOST_UNREAD:
            fix = "see that the columns are of the types that the adapter's author declared"
            what = f"{self._about}: more than {_MOST_UNREAD} rows cannot be read ({error.kind})"
            raise MisconfiguredError(self.session.where, what, fix=fix)
        try:
            row, known = await self._one(run, run.order, skip), True
        except UnreadValueError:
            row, known = await self._key(run, skip), False
        if row is None:  # meanwhile the row is gone
            return FoundRows([], [], None, True)
        lead, key = (row[: len(run.lead)], row[len(run.lead) :]) if known else ((), row)
        if not key:
            raw = await self._raw(run, skip)
            return FoundRows([self._keyless(raw, "cannot be read")], [()], None, False)
        unread = await self._unread_row(key)
        if unread is None:
            # No value is at fault: the row was another one a moment ago, or its values cannot be read together.
            try:
                return await self._found(run, 1, skip)
            except UnreadValueError as again:
                unread = UnreadRow.of(key, "the row", f"cannot be read ({again.kind})")
        return FoundRows([self._record(key, unread)], [lead], row if known else None, False)

    async def _key(self, run: Run, skip: int) -> Row | None:
        """Read the key of the row at a place. Return `()` if it cannot be read, None if there is no row."""
        try:
            return await self._one(run, self.reading.key, skip)
        except UnreadValueError:
            return ()

    async def _raw(self, run: Run, skip: int) -> str:
        """Show the key of the row at a place by its bytes."""
        try:
            found = await self._one(run, tuple(map(self._bytes_of, self.reading.key)), skip)
        except UnreadValueError as error:
            return repr([error.kind])
        return repr([(value,) for value in found or ()])

    def _bytes_of(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.dump(column) if self.session.settings.kind == "oracle" else cast(column, LargeBinary)

    async def _unread_row(self, key: Row) -> UnreadRow | None:
        """
        Read the values of the row with this key one by one. Return the row if one of them cannot be read. Return None if each of
        them can: they may be of different moments, so they are no row together.
        """
        mine = (_equal(self.reading.key, key),)
        run = Run(self.reading, lambda _: mine, mine)
        cells = [(str(column), self._one(run, (column,))) for column in self.reading.columns]
        cells += [(str(part.source), self._part(part, key)) for part in self.reading.parts]
        values = [(name, await self._tried(cell)) for name, cell in cells]
        for name, value in values:
            if isinstance(value, UnreadValueError):
                shown = (each[0] if isinstance(each, tuple) and each else "?" for _, each in values)
                return UnreadRow.of(shown, name.rpartition(".")[2], f"cannot be read ({value.kind})")
        return None

    async def _tried(self, read: Coroutine[Any, Any, Row | None]) -> Row | UnreadValueError | None:
        try:
            return await read
        except UnreadValueError as error:
            return error

    async def _one(self, run: Run, columns: Columns, skip: int = 0) -> Row | None:
        """Read these columns of one row in one statement. Return None if there is no row."""
        async with self.session.connection(self._about) as connection:
            found = (await connection.execute(run.select(columns, 1, skip))).first()
            return None if found is None else tuple(found)

    async def _part(self, part: Parts, key: Row) -> Row:
        its = and_(*[owner == untyped(value) for owner, value in zip(part.owner, key, strict=False)])
        async with self.session.connection(self._about) as connection:
            rows = await connection.execute(part.of(its))
            return (tuple(tuple(row)[len(part.owner) :] for row in rows),)

    def _keyless(self, shown: str, rule: str) -> Record:
        """A row whose key says nothing. No key of a record looks like its own, and it stays where the row before it stands."""
        columns = ", ".join(str(each.key) for each in self.reading.key)
        return Record(f"{self.reading.keys.beginning}\0{shown}", self._last, UnreadRow.of((shown,), columns, rule))


def swept(reading: Reading, after: Row) -> Run:
    """The rows of a sweep, behind a key (`()`: from the start)."""

    def behind(row: Row) -> Ways:
        return levels(reading.key, [untyped(value) for value in row])

    return Run(reading, behind, behind(after) if after else ())


def _equal(columns: Columns, values: Row) -> ColumnElement[bool]:
    return and_(*[each == untyped(value) for each, value in zip(columns, values, strict=True)])


def _lists(rows: Sequence[Row], width: int) -> dict[str, Any]:
    """The values of the first columns of the rows' keys, column by column, as far as one statement can hold them."""
    lists = {f"keys_{at}": list(dict.fromkeys(row[at] for row in rows)) for at in range(width)}
    while len(lists) > 1 and sum(map(len, lists.values())) > _MOST_ASKED:
        lists.popitem()
    return lists


def grouped(found: Iterable[Any], width: int) -> dict[Row, list[Row]]:
    """The rows by the `width` columns that they begin with, and without these."""
    groups: dict[Row, list[Row]] = {}
    for row in found:
        groups.setdefault(row[:width], []).append(row[width:])
    return groups


def _with_parts(rows: Sequence[Row], groups: Sequence[Mapping[Row, list[Row]]], width: int) -> list[Row]:
    """The rows, each with its rows of every group behind it."""
    return [(*row, *[tuple(group.get(row[:width], ())) for group in groups]) for row in rows]


def _of_text(key: Row) -> bool:
    return any(isinstance(value, str) for value in key)


def _names(columns: Columns) -> str:
    return ", ".join(map(str, columns))


def _whole_keys(rows: Sequence[Row], width: int, kind: str) -> bool:
    return kind != "sqlite" or all(type(value) is int for row in rows for value in row[:width])


def _placed(value: Any) -> int | str:
    """
    A key's value as JSON can keep it and the database compares it.

    :raises TypeError: it is of a type that no key has.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (Decimal, float)):  # a NUMERIC key comes as a Decimal; one with a fraction is another key
        usual = isfinite(value) and -_LARGEST < value < _LARGEST
        return int(value) if usual and value == int(value) else str(value)
    raise TypeError


_LARGEST = 10**40
