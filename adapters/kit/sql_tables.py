"""
The tables of a source as its row classes declare them: what a stream reads from them, and stand-ins of them for tests.

A column is declared once, in its row class (see `adapters.kit.rows`). The list of columns, the SELECT, what `check` looks
at and the stand-in's CREATE TABLE follow from it here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Double,
    MetaData,
    Numeric,
    String,
    Table,
    TableClause,
    and_,
    column,
    select,
    table,
    union,
)
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.sql.expression import FromClause, Subquery
from sqlalchemy.types import TypeEngine

from adapters.kit.rows import Declared, Field, declared_of, field_of, fields_of
from adapters.kit.sql_reading import Columns, Parts, Reading, Tracked, Version, moved
from canonical.errors import MisconfiguredError
from canonical.key import KeysOf

_STAND_INS: dict[type, TypeEngine[Any]] = {
    int: BigInteger(),
    str: String(255),
    date: Date(),
    datetime: DateTime(),
    Decimal: Numeric(18, 4),
    float: Double(),
    bool: Boolean(),
    object: String(255),
}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")


@dataclass(frozen=True, slots=True)
class Choice:
    """
    A choice says which rows of its table a stream, or a part of it, wants, and which columns of other tables stand beside them.

    `source` is the table with others joined to it, `joined` the column for each field that is declared as `Joined`. `parts`
    says the same of parts; one that is None is not read, and its field keeps its default. So it is with a part that says
    `may_lack` where the source has no such table.
    """

    where: ColumnElement[bool] | None = None
    source: FromClause | None = None
    joined: Mapping[str, ColumnElement[Any]] = field(default_factory=dict)
    parts: Mapping[str, Choice | None] = field(default_factory=dict)
    may_lack: bool = False


class Tables:
    """
    The tables in one schema, for statements: `tables[Tenant].c.SURNAME`.

    A table is one object, with the columns of every row class of it that was asked for. `versions_of` is the kind of database
    whose row versions are to be read; without it they are not.
    """

    def __init__(self, schema: str | None = None, versions_of: str | None = None) -> None:
        self._versions_of = versions_of
        self.kinds: dict[str, type] = {}
        self._schema = None if schema is None else quoted_name(schema, quote=False)
        self._tables: dict[str, TableClause] = {}
        self._declared: dict[str, dict[str, tuple[Field, bool]]] = {}
        self._asked: set[type] = set()

    def __getitem__(self, row: type) -> TableClause:
        """
        The table of a row class.

        :raises MisconfiguredError: two row classes say different things of a column, or the declaration does not hold.
        """
        declared = declared_of(row)
        if row not in self._asked:
            for name in filter(None, (declared.table, declared.moves_to)):
                for each in _columns_of(row, declared):
                    self._declare(name, row, each, key=each.name in declared.key)
            for name in declared.key if declared.purged_to else ():
                self._declare(str(declared.purged_to), row, field_of(row, name), key=True)
            self._asked.add(row)
        return self._tables[declared.table]

    def column(self, row: type, name: str) -> ColumnElement[Any]:
        """A column that no row class declares, such as one that only this council has to show changes."""
        here = self[row]
        for there in (here, self._moves_to(row)):
            if there is not None and name not in there.c:
                there.append_column(column(quoted_name(name, quote=False)))
        return here.c[name]

    def reading(self, row: type, keys: KeysOf, choice: Choice | None = None, *, tracked: bool = False) -> Reading:
        """
        Give the tables and columns that a stream of these rows is read from. If it is `tracked`, the database's own notes show
        the changes, by the tables' primary keys: those of `row_of`.

        :raises MisconfiguredError: the row class, its parts and `choice` do not fit together.
        """
        choice = self._looked_up(row, Choice() if choice is None else choice)
        declared, fields = declared_of(row), fields_of(row)
        plain = tuple(each.name for each in fields if not each.part)
        if not declared.key or plain[: len(declared.key)] != declared.key or any(f.part for f in fields[: len(plain)]):
            fix = "let its fields be those of `key`, in that order, then the other columns, then the parts"
            raise MisconfiguredError(row.__name__, "a stream's row begins with its key and ends with its parts", fix=fix)
        columns = self._read(row, choice)
        _insist_on_numbers(row, declared)
        return Reading(
            keys=keys,
            source=self[row] if choice.source is None else choice.source,
            key=self._columns(row, declared.key, choice),
            columns=columns,
            where=choice.where,
            parts=tuple(self._parts(row, choice, tracked)),
            kinds=self.kinds,
            version=self._version(row, tracked),
            moves_to=self._moves_to(row),
            purged_to=self._purged_to(row, declared),
        )

    def stand_in(self, *rows: type) -> MetaData:
        """
        Tables for a test or a demonstration, like the source's: those of these rows, and all that were asked for before.

        >>> metadata = Tables().stand_in(Tenant)              # doctest: +SKIP
        >>> await connection.run_sync(metadata.create_all)    # doctest: +SKIP
        """
        for row in rows:
            self[row]
        metadata = MetaData(schema=self._schema)
        for name, columns in self._declared.items():
            Table(_spelt(name), metadata, *[_stand_in(each, key=key) for each, key in columns.values()])
        return metadata

    def _moves_to(self, row: type) -> TableClause | None:
        """The table that rows of this class move to, if there is one; its class was asked for before."""
        name = declared_of(row).moves_to
        return None if name is None else self._tables[name]

    def _purged_to(self, row: type, declared: Declared) -> TableClause | None:
        if declared.purged_to and (declared.moves_to or any(each.joined for each in fields_of(row) if each.name in declared.key)):
            fix = "leave `moves_to` out, and let all columns of the key be the table's own"
            raise MisconfiguredError(row.__name__, "its rows cannot be purged to another table as it is declared", fix=fix)
        return self._tables[declared.purged_to] if declared.purged_to else None

    def _declare(self, name: str, row: type, each: Field, *, key: bool) -> None:
        there = self._tables.setdefault(name, table(_spelt(name), schema=self._schema))
        place = f"{there}.{each.column}"
        if self.kinds.setdefault(place, each.kind) is not each.kind:
            fix = f"give it one type: {each.kind.__name__} in {row.__name__}, {self.kinds[place].__name__} elsewhere"
            raise MisconfiguredError(place, "is declared with two types", fix=fix)
        if each.column not in there.c:
            there.append_column(column(_column_name(each)))
        known = self._declared.setdefault(name, {})
        if each.column not in known or key:
            known[each.column] = each, key

    def _looked_up(self, row: type, choice: Choice) -> Choice:
        """The choice with the tables joined in which the row's fields are looked up (see `Beside`)."""
        own, joined = self[row], dict(choice.joined)
        source: FromClause = own if choice.source is None else choice.source
        there: set[tuple[type, tuple[str, ...]]] = set()
        for name, beside in [(each.name, each.beside) for each in fields_of(row) if each.beside]:
            table, key = self[beside.row], declared_of(beside.row).key
            by = beside.by or key
            if not key or len(by) != len(key):
                fix = f"let `by` name the columns that hold the key of {beside.row.__name__}: {', '.join(key) or 'it has none'}"
                raise MisconfiguredError(f"{row.__name__}.{name}", "cannot be looked up", fix=fix)
            if (beside.row, by) not in there:
                pairs = zip(self._columns(beside.row, key, Choice()), self._columns(row, by, choice), strict=True)
                source = source.outerjoin(table, and_(*[theirs == ours for theirs, ours in pairs]))
                there.add((beside.row, by))
            joined[name] = table.c[field_of(beside.row, beside.column).column]
        return replace(choice, source=source, joined=joined) if there else choice

    def _columns(self, row: type, names: tuple[str, ...], choice: Choice) -> Columns:
        """These columns of the row, each from its own table or from where `choice` says."""
        there, joined = self[row], choice.joined
        return tuple(joined[name] if name in joined else there.c[field_of(row, name).column] for name in names)

    def _read(self, row: type, choice: Choice) -> Columns:
        """The columns of the row, each from its own table or from where `choice` says."""
        there = self[row]
        fields = [each for each in fields_of(row) if not each.part]
        joined = {each.name for each in fields if each.joined}
        if joined != set(choice.joined):
            odd = ", ".join(sorted(joined ^ set(choice.joined)))
            fix = "give each field that is Joined its column in Choice(joined=…), and no other"
            raise MisconfiguredError(f"{row.__name__} ({there})", f"what is joined does not fit: {odd}", fix=fix)
        return tuple(choice.joined[each.name] if each.joined else there.c[each.column] for each in fields)

    def _parts(self, row: type, choice: Choice, tracked: bool) -> Iterator[Parts]:
        parts = {each.name: each.part for each in fields_of(row) if each.part}
        if unknown := sorted(set(choice.parts) - set(parts)):
            fix = f"its parts are: {', '.join(parts) or 'none'}"
            raise MisconfiguredError(row.__name__, f"has no part {', '.join(unknown)}", fix=fix)
        left_out = False
        for name, part in parts.items():
            chosen = choice.parts.get(name, Choice())
            perhaps = chosen is None or chosen.may_lack
            if (perhaps and name not in getattr(row, "_field_defaults", {})) or (left_out and not perhaps):
                fix = "put it last, and give it a default: `= ()`"
                raise MisconfiguredError(f"{row.__name__}.{name}", "cannot be left out", fix=fix)
            left_out = perhaps
            if chosen is not None:
                yield replace(self._part(row, choice, part, chosen), version=self._version(part, tracked))

    def _part(self, row: type, records: Choice, part: type, choice: Choice) -> Parts:
        choice = self._looked_up(part, choice)
        declared, own = declared_of(part), declared_of(row)
        columns = self._read(part, choice)
        of, to = self._columns(part, declared.of, choice), declared.to or own.key
        if not of or len(of) != len(to):
            fix = f"name the columns of {declared.table} that hold {', '.join(to)} of {own.table}: of=…"
            raise MisconfiguredError(part.__name__, f"does not say to which {row.__name__} it belongs", fix=fix)
        source, owner = self[part] if choice.source is None else choice.source, of
        if to != own.key or own.moves_to:  # the record's key is needed, from wherever the record lies
            theirs = self._records(row, to, records)
            source = source.join(theirs, and_(*[theirs.c[f"to_{n}"] == each for n, each in enumerate(of)]))
            owner = tuple(theirs.c[f"key_{n}"] for n in range(len(own.key)))
        order = self._columns(part, declared.order or declared.key, choice)
        if not order:
            fix = "give it key=…, or order=… by columns that leave no two rows of one record equal"
            raise MisconfiguredError(part.__name__, "has no order", fix=fix)
        return Parts(source, owner, columns, order, choice.where, choice.may_lack)

    def _records(self, row: type, to: tuple[str, ...], choice: Choice) -> Subquery:
        """
        The keys of the records, each beside the columns on which a part hangs, in whichever table the record lies. It is a query
        of its own, so that a part may be of a table that the records are read from, too.
        """
        key, hung = self._columns(row, declared_of(row).key, choice), self._columns(row, to, choice)
        named = [each.label(f"key_{n}") for n, each in enumerate(key)] + [each.label(f"to_{n}") for n, each in enumerate(hung)]
        found = select(*named).select_from(self[row] if choice.source is None else choice.source)
        found = found if choice.where is None else found.where(choice.where)
        there = self._moves_to(row)
        both = found if there is None else union(found, moved(found, self[row], there))  # a row may lie in both
        return both.subquery("records")

    def _version(self, row: type, tracked: bool) -> Version | None:
        """
        The row version of a table that declares one: PostgreSQL gives every row one of its own. Of a tracked table that has a
        key it is the key.
        """
        declared, joined = declared_of(row), {each.name for each in fields_of(row) if each.joined}
        if tracked:
            own = [field_of(row, name).column for name in declared.key if name not in joined]
            return Tracked(self[row], tuple(self[row].c[name] for name in own)) if own else None
        name = {"mssql": declared.written(declared.version), "postgresql": "xmin"}.get(self._versions_of or "")
        return self.column(row, name) if declared.version and name else None


def _columns_of(row: type, declared: Declared) -> list[Field]:
    """Every column that the declaration names: the key first, then what it belongs to, the fields and the rest."""
    elsewhere = {each.name for each in fields_of(row) if each.joined or each.part}
    own = [each.name for each in fields_of(row)]
    names = dict.fromkeys([*declared.key, *declared.of, *own, *declared.order, *declared.also])
    return [field_of(row, name) for name in names if name not in elsewhere]


def _insist_on_numbers(row: type, declared: Declared) -> None:
    """:raises MisconfiguredError: a key with a column of a joined table holds text, which databases compare in many ways."""
    key = [each for each in fields_of(row) if each.name in declared.key]
    if any(each.joined for each in key) and any(each.kind is not int for each in key):
        fix = "let every column of such a key be an int"
        raise MisconfiguredError(row.__name__, "its key has a column of a joined table, and is not of whole numbers", fix=fix)


def _stand_in(each: Field, *, key: bool) -> Column[Any]:
    """A column of a test's table; numbers that may refer to another table are indexed."""
    kind = next((note for note in each.notes if isinstance(note, TypeEngine)), _STAND_INS[each.kind])
    indexed = each.kind is int and not key
    return Column(_column_name(each), kind, primary_key=key, autoincrement=False, index=indexed)


def _column_name(each: Field) -> quoted_name:
    return quoted_name(each.column, quote=True if each.exact else _quoting(each.column))


def _spelt(name: str) -> quoted_name:
    """A table's name as the database takes it; one within double quotes is taken exactly."""
    return quoted_name(name.strip('"'), quote=True if name.startswith('"') else _quoting(name))


def _quoting(name: str) -> bool | None:
    """Never for a name with capitals: SQLAlchemy would quote it, and PostgreSQL then find it under no other case."""
    return False if _PLAIN.fullmatch(name) and not name.islower() else None
