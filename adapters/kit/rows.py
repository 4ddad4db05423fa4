"""
Rows that are declared once: a typed class whose fields are the columns of a table or of a file.

>>> @row_of("TENANTS", key="tenant_no")
... class Tenant(NamedTuple):
...     tenant_no: int
...     surname: str | None
...     born: date | None

`adapters.kit.typed` makes a typed row of what was read. Nothing here knows a database: `adapters.kit.sql_tables` makes
statements of these classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from operator import itemgetter
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from adapters.kit.codes import CodeMap, CodesFromSettings
from adapters.port import Row
from canonical.errors import BadRecordError, MisconfiguredError

T = TypeVar("T")
R = TypeVar("R", bound=tuple[Any, ...])

_JOINED, _SOFT, _FILLED = "joined", "soft", "filled"
Joined = Annotated[T, _JOINED]
"""A field whose column stands in another table: `Joined[str | None]`."""

Soft = Annotated[T, _SOFT]
"""
A field that the record can do without: `Soft[str | None]`. A value that cannot be read, or that its canonical field refuses,
is left out and told; the record is published without it.
"""

Filled = Annotated[T, _FILLED]
"""A field of a file's row that no record holds: `Filled[int]`. The function that reads the whole file fills it in."""

Names = str | tuple[str, ...]
"""The name of one column, or of several that count together."""


@dataclass(frozen=True, slots=True)
class Spelt:
    """A column's name, exactly as the source spells it: `Annotated[date | None, Spelt("Date of birth")]`."""

    name: str


@dataclass(frozen=True, slots=True)
class Beside:
    """
    The column of another table's row, which is looked up by its key: `Annotated[date | None, Beside(Period, "start_date")]`.
    `by` are the columns of our own table that hold this key, in its order; none: they have the same names. The field is None
    where the other table has no such row.
    """

    row: type
    column: str
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Between:
    """
    A column's days that mean something, the first and the last: any other stands for none.
    `Annotated[date | None, Between(date(1900, 1, 2), date(2999, 12, 30))]`.
    """

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class DayWritten:
    """
    The way in which a source writes a column's days as text, in the words of `strptime`:
    `Annotated[date | None, DayWritten("%d/%m/%Y")]`. Without one a day is written as in ISO 8601. `none` is the text that stands
    for no day, such as SAP's `00000000`.
    """

    form: str
    none: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """`row_of` keeps this of a row class: its table, columns and keys, and the table that its rows move to."""

    table: str
    key: tuple[str, ...] = ()
    of: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    also: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    moves_to: str | None = None
    purged_to: str | None = None

    def written(self, name: str) -> str:
        """A field's name as a column: in capitals where the table's name is."""
        return name.upper() if self.table.isupper() else name


class Field(NamedTuple):
    """One field of a row class. `kind` is `object` where any type will do, `part` the row class of the rows that nest there."""

    name: str
    column: str
    exact: bool
    kind: type
    optional: bool
    joined: bool = False
    part: type[tuple[Any, ...]] | None = None
    notes: tuple[Any, ...] = ()

    @property
    def soft(self) -> bool:
        return _SOFT in self.notes

    @property
    def filled(self) -> bool:
        return _FILLED in self.notes

    @property
    def beside(self) -> Beside | None:
        return next((note for note in self.notes if isinstance(note, Beside)), None)


def row_of(
    table: str,
    *,
    key: Names = (),
    of: Names = (),
    to: Names = (),
    order: Names = (),
    also: Mapping[str, Any] | None = None,
    version: str = "",
    moves_to: str | None = None,
    purged_to: str | None = None,
) -> Callable[[type[R]], type[R]]:
    """
    Declare of which table a named tuple is the row.

    `key` is what tells two rows of the table apart; the rows of a stream begin with it. Rows that nest in another row, as
    a field of the type `tuple[Pet, ...]`, lie in the order of their key, or of `order` where they have none. Their columns
    `of` hold the other row's key, or its columns `to`. `also` gives the types of columns that only conditions and joins use.
    `version` is the table's column of SQL Server's type `rowversion`, if it has one: a tail then reads what changed (see
    `adapters.kit.sql_versions`).

    Some systems move a row to another table with the same columns and keys when it is done with (a settled item to the history):
    `moves_to` names that table. Both are read as one: a row that moves is the record that it was. Others purge old rows, and keep
    little of them in a table with the same key columns: `purged_to` names that one. A record whose key lies there alone stays as
    it was last told, and is not deleted.

    A column is called as its field is, in capitals if the table's name is. Both are left unquoted, so that the database
    takes them in its own case; a name within double quotes, or one given by `Spelt`, is taken exactly.
    """

    def declare(row: type[R]) -> type[R]:
        several = _several(key), _several(of), _several(to), _several(order)
        declared = Declared(table, *several, also or {}, version, moves_to, purged_to)
        row.__declared__ = declared  # type: ignore[attr-defined]
        return row

    return declare


def declared_of(row: type) -> Declared:
    """
    Return what `row_of` says of a class.

    :raises MisconfiguredError: it says nothing.
    """
    found = row.__dict__.get("__declared__")
    if not isinstance(found, Declared):
        fix = f'write @row_of("TABLE", key="column") above class {row.__name__}'
        raise MisconfiguredError(row.__name__, "no table is declared for this row", fix=fix)
    return found


@cache
def fields_of(row: type) -> tuple[Field, ...]:
    """
    The fields of a row class, in order.

    :raises MisconfiguredError: a field has a type that no column has.
    """
    names: tuple[str, ...] = getattr(row, "_fields", ())
    if not names:
        raise MisconfiguredError(row.__name__, "is no row class", fix=f"let it be a class {row.__name__}(NamedTuple)")
    found: Declared | None = row.__dict__.get("__declared__")
    hints = hints_of(row)
    return tuple(_field(row, name, name if found is None else found.written(name), hints[name]) for name in names)


def hints_of(what: Any) -> dict[str, Any]:
    """
    The types that a class's fields, or a function's arguments, are declared with.

    :raises MisconfiguredError: one of them is not there at run time.
    """
    try:
        return get_type_hints(what, include_extras=True)
    except NameError as error:
        fix = "import it at the top of the module and not under TYPE_CHECKING"
        raise MisconfiguredError(what.__name__, f"its types cannot be told: {error}", fix=fix) from error


def field_of(row: type, name: str) -> Field:
    """A field of the row class, or a column that its declaration has beside the fields: a key's is a whole number there."""
    declared = declared_of(row)
    for each in fields_of(row):
        if each.name == name and not (each.joined or each.part):
            return each
    if name in declared.also:
        return _field(row, name, declared.written(name), declared.also[name])
    if name in (*declared.key, *declared.of):
        return Field(name, declared.written(name), False, int, True)
    fix = f"write it as a field, or give its type: also={{{name!r}: int}}"
    raise MisconfiguredError(f"{row.__name__} ({declared.table})", f"`{name}` is no column of it", fix=fix)


def _several(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


_KINDS = (int, str, date, datetime, Decimal, float, bool)


def _field(row: type, name: str, column: str, hint: Any) -> Field:
    notes: tuple[Any, ...] = ()
    while get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        notes = (*notes, *more)
    if get_origin(hint) is tuple:
        return Field(name, column, False, tuple, False, part=get_args(hint)[0])
    exact = next((note.name for note in notes if isinstance(note, Spelt)), None)
    kind, optional = _kind(hint)
    if kind is None:
        fix = f"one of {', '.join(each.__name__ for each in _KINDS)}, with `| None` where it may be empty; or Any"
        raise MisconfiguredError(f"{row.__name__}.{name}", "has a type that no column has", fix=fix)
    joined = _JOINED in notes or any(isinstance(note, Beside) for note in notes)
    made = Field(name, exact or column, exact is not None, kind, optional, joined, None, notes)
    _insist(row, made)
    return made


def _insist(row: type, its: Field) -> None:
    """:raises MisconfiguredError: a field's notes do not fit the field."""
    declared = row.__dict__.get("__declared__")
    fault = fix = ""
    if its.soft and not its.optional:
        fault, fix = "is soft and may not be empty", "let it be Soft[… | None]: where its value is left out, it is None"
    elif code_map_of(its) and its.kind is not str:
        fault, fix = "has a code map and is no text", "let it be Annotated[str | None, …]"
    elif declared is not None and its.name in declared.key and (its.soft or code_map_of(its)):
        fault, fix = "is of the key, and is soft or translated", "leave it as it is: the record's own key has it as it stands"
    if fault:
        raise MisconfiguredError(f"{row.__name__}.{its.name}", fault, fix=fix)


def code_map_of(its: Field) -> CodeMap | CodesFromSettings | None:
    """The code map that a field's values are translated by."""
    return next((note for note in its.notes if isinstance(note, CodeMap | CodesFromSettings)), None)


def code_maps_of(row: type) -> list[CodeMap | CodesFromSettings]:
    """Collect the code maps of all fields of a row class, and of the rows that nest in it."""
    maps = [codes for its in fields_of(row) if (codes := code_map_of(its))]
    return maps + [codes for its in fields_of(row) if its.part for codes in code_maps_of(its.part)]


def _kind(hint: Any) -> tuple[type | None, bool]:
    """The type of a column's values, and whether it may be empty."""
    given = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [each for each in given if each is not type(None)]
    if kinds == [Any]:
        return object, True
    return (kinds[0] if len(kinds) == 1 and kinds[0] in _KINDS else None), type(None) in given


def of_header(row: type, header: Sequence[str]) -> Callable[[Sequence[Any]], Row]:
    """
    Pick a row's values out of the lines of a file, by the names in its first line.

    Case, blanks at the ends and the difference between a blank and `_` do not count, other columns are left out.

    :raises BadRecordError: the file lacks a column.
    """
    places = {_plain(name): at for at, name in reversed(list(enumerate(header)))}
    wanted = [each.column for each in fields_of(row)]
    missing = [name for name in wanted if _plain(name) not in places]
    if missing:
        raise BadRecordError(
            row.__name__, field=", ".join(missing), rule="the file has no such column", shape=f"{len(header)} columns",
            fix="ask for the file with these columns, spelt like this in its first line",
        )  # fmt: skip
    at = [places[_plain(name)] for name in wanted]
    return itemgetter(*at) if len(at) > 1 else lambda line: (line[at[0]],)


def twofold(row: type, header: Sequence[str]) -> list[str]:
    """The columns of a row that stand more than once in a file's first line, of which `of_header` takes the first."""
    names = [_plain(name) for name in header]
    return [its.column for its in fields_of(row) if names.count(_plain(its.column)) > 1]


def _plain(name: str) -> str:
    return name.strip().replace(" ", "_").casefold()
