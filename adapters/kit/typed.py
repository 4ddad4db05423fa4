"""
Makes the typed row of a row as it was read, and cleans it by its declaration, so that a mapping need not.

>>> from typing import NamedTuple
>>> from adapters.kit.rows import row_of
>>> @row_of("TENANTS", key="tenant_no")
... class Tenant(NamedTuple):
...     tenant_no: int
...     surname: str | None
...     born: date | None
...     moved_out: bool | None
>>> typed(Tenant)((7, "Darby   ", "1711-03-17 00:00:00", "N"))
Tenant(tenant_no=7, surname='Darby', born=datetime.date(1711, 3, 17), moved_out=False)

The engine carries a row as the plain tuple that was read, and most rows are never mapped. So the typed row is made when a row is
mapped, and not before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache, lru_cache
from types import NoneType
from typing import Any, Generic, TypeVar
from uuid import UUID

from adapters.kit.codes import CodeMap, CodesFromSettings
from adapters.kit.open_days import NO_DAYS, real_day
from adapters.kit.rows import Between, DayWritten, Declared, Field, code_map_of, declared_of, fields_of
from adapters.port import Row
from canonical.entity import Entity
from canonical.errors import BadRecordError, MisconfiguredError, shape_of
from canonical.key import KeysOf

R = TypeVar("R", bound=tuple[Any, ...])

Clean = Callable[[Any], Any]
"""Gives a value as its field declares it. Raises ValueError, TypeError or ArithmeticError where it cannot."""

_MOST_PLANS = 1024
"""Each row class remembers at most so many lists of types."""

_MOST_DAYS, _MOST_CODES = 20_000, 2_000
"""The most texts of days, and the most codes, that are remembered with their values, for each field."""


class UnfitError(ValueError):
    """A value breaks this rule of its field. Any other error while it is cleaned breaks the rule of the field's type."""


@dataclass(frozen=True, slots=True)
class UnreadValue:
    """This stands in a row for a value that could not be read; `rule` says why. A soft field is left out then."""

    rule: str

    def __str__(self) -> str:
        return "unread"


class Typed(Generic[R]):
    """
    Makes a typed row of a row as it was read. A value of another type becomes the declared one where nothing is lost by it. Text
    loses the blanks that pad it, and is None where it is blank, but in the key: there it stands as it does in the record's own
    key. A day that stands for none becomes None. A flag is what legacy systems write for one: Y and N, T and F, 1 and 0, bits.

    Drivers differ: SQLite keeps dates as text, PostgreSQL gives a NUMERIC key as a Decimal, a file is all text.
    """

    def __init__(self, row: type[R], no_days: frozenset[date] = NO_DAYS, codes: tuple[CodeMap, ...] = ()) -> None:
        self._row, self._no_days, self._codes = row, no_days, codes
        self._declared: Declared = row.__dict__.get("__declared__", Declared(row.__name__))
        self._fields = fields_of(row)
        names = [its.name for its in self._fields]
        self._key_places = [names.index(name) for name in self._declared.key if name in names]
        self._key_plans: dict[tuple[int, type], Clean] = {}
        self._plans: dict[tuple[type, ...], tuple[list[int], list[tuple[int, Clean]]]] = {}

    def __call__(self, values: Row) -> R:
        """:raises BadRecordError: a value is not of its column's type."""
        kinds = tuple(map(type, values))
        plan = self._plans.get(kinds)  # nearly every row has the same types as one before it
        texts, steps = self._planned(kinds) if plan is None else plan
        cleaned = list(values)
        for at in texts:
            cleaned[at] = cleaned[at].strip() or None
        try:
            for at, clean in steps:
                cleaned[at] = clean(cleaned[at])
        except (ValueError, TypeError, ArithmeticError) as error:
            raise self._wrong(self._fields[at], error, values[at]) from None
        # A named tuple's own constructor is a Python function and takes three times as long.
        return tuple.__new__(self._row, cleaned) if len(cleaned) == len(self._fields) else self._row(*cleaned)

    def key(self, values: Row) -> tuple[int | str, ...]:
        """
        The values of the row's key, as they stand in the record's key: a day as in ISO 8601.

        :raises BadRecordError: one of them is empty, or not of its column's type.
        """
        return tuple([self._of_key(at, values[at] if at < len(values) else None) for at in self._key_places])

    def _of_key(self, at: int, value: Any) -> int | str:
        clean = self._key_plans.get((at, type(value)))
        if clean is None:
            cleaned = self._cleaning(self._fields[at], type(value))
            clean = self._key_plans[at, type(value)] = key_part if cleaned is None else _then_key_part(cleaned)
        try:
            part: int | str = clean(value)
            return part
        except (ValueError, TypeError, ArithmeticError) as error:
            raise self._wrong(self._fields[at], error, value) from None

    def _planned(self, kinds: tuple[type, ...]) -> tuple[list[int], list[tuple[int, Clean]]]:
        """The places of texts that may be blank, and what else to do with values of these types."""
        cleanings = [(at, self._cleaning(its, kind)) for at, (its, kind) in enumerate(zip(self._fields, kinds, strict=False))]
        texts = [at for at, clean in cleanings if clean is _text_or_none]
        plan = texts, [(at, clean) for at, clean in cleanings if clean is not None and clean is not _text_or_none]
        if len(self._plans) < _MOST_PLANS:
            self._plans[kinds] = plan
        return plan

    def _cleaning(self, its: Field, kind: type) -> Clean | None:
        """Give the function that turns a value of this type into the field's; None if the value stays as it is."""
        if kind is UnreadValue:
            return _is_unread
        if its.part:
            part = typed(its.part, self._no_days, self._codes)
            return lambda rows: tuple([part(row) for row in rows])
        if its.kind is object or (kind is NoneType and its.optional):
            return None
        if kind is NoneType:
            return _is_empty
        if its.kind is str:
            return self._of_text(its, kind)
        clean = _QUICKLY.get((kind, its.kind), _CONVERSIONS[its.kind][1]) if kind is not its.kind else None
        if its.kind in (date, datetime):
            written = next((note for note in its.notes if isinstance(note, DayWritten)), None)
            span = next((note for note in its.notes if isinstance(note, Between)), Between(date.min, date.max))
            return _day_cleaning(kind, its.kind, written, span, self._no_days, its.optional)
        return _unless_blank(clean) if clean is not None and kind is str and its.optional else clean

    def _of_text(self, its: Field, kind: type) -> Clean | None:
        if declared := code_map_of(its):
            codes = next((each for each in self._codes if each.name == declared.name), declared)
            return _translated(codes, kind, optional=its.optional)
        if its.name in self._declared.key:
            return None if kind is str else _text
        if kind is not str:
            return _text
        return _text_or_none if its.optional else _text_there

    def _wrong(self, its: Field, error: Exception, value: Any) -> BadRecordError:
        rule = str(error) if isinstance(error, UnfitError) else _CONVERSIONS[its.kind][0]
        as_it_is = f"declare `{its.name}` of {self._row.__name__} as it is"
        right = "have the code map's owner add it" if code_map_of(its) else as_it_is
        return BadRecordError(
            self._declared.table, field=its.column, rule=rule, shape=shape_of(value),
            fix=f"correct it in the source; if it is right, {right}",
        )  # fmt: skip


def key_part(value: Any) -> int | str:
    """
    A value of a key as it stands in the record's key: a day as in ISO 8601.

    :raises UnfitError: it is empty.
    """
    if value is None or value == "":
        raise UnfitError("is empty")
    if isinstance(value, _WHOLE_OR_TEXT):
        return value
    return value.isoformat() if isinstance(value, date) else str(value)


def _then_key_part(clean: Clean) -> Clean:
    return lambda value: key_part(clean(value))


def row_key(source: str, entity: str, row: tuple[Any, ...], prefix: str = "") -> str:
    """The key of a record that a typed row becomes, by the key that its class declares."""
    return KeysOf(source, entity, prefix).of(*[key_part(getattr(row, name)) for name in declared_of(type(row)).key])


@cache
def typed(row: type[R], no_days: frozenset[date] = NO_DAYS, codes: tuple[CodeMap, ...] = ()) -> Typed[R]:
    """Give the maker of typed rows of this class; `no_days` stand for none, `codes` are the settings' code maps."""
    return Typed(row, no_days, codes)


@dataclass(frozen=True, slots=True)
class Mapped(Generic[R]):
    """
    Maps a row as it was read, through a function of the source's name and the typed row.

    It holds nothing but names that can be imported, so that it can be sent to another process.
    """

    function: Callable[[str, R], Entity]
    row: type[R]
    source: str
    no_days: frozenset[date] = NO_DAYS
    codes: tuple[CodeMap, ...] = ()

    def __call__(self, values: Row) -> Entity:
        """:raises BadRecordError: a value is not of its column's type."""
        return self.function(self.source, typed(self.row, self.no_days, self.codes)(values))


# -- how a value is cleaned ------------------------------------------------------------------------------------------


def _is_empty(_: Any) -> Any:
    raise UnfitError("is empty")


def _is_unread(value: UnreadValue) -> Any:
    raise UnfitError(value.rule)


def _unless_blank(clean: Clean) -> Clean:
    """An empty cell of a file is nothing, whatever its column holds."""
    return lambda value: clean(value) if value.strip() else None


def _unless_none(clean: Clean, none: str) -> Clean:
    """A text that stands for no day is none."""
    return lambda value: None if value.strip() == none else clean(value)


def _text_or_none(value: str) -> str | None:
    return value.strip() or None


def _text_there(value: str) -> str:
    return value.strip() or _is_empty(value)


def _translated(codes: CodeMap | CodesFromSettings, kind: type, *, optional: bool) -> Clean:
    if isinstance(codes, CodesFromSettings):
        fix = "build the row with the code maps of the settings"
        raise MisconfiguredError(f"the code map {codes.name}", "is given by no settings", fix=fix)

    def clean(value: Any) -> str | None:
        local = _text(value)
        national = codes.national(local)
        if national is None and local.strip():
            raise UnfitError(codes.unknown(local))
        return national if national is not None or optional else _is_empty(value)

    # Texts alone are looked up: 1 and 1.0 are equal, and are written in two ways.
    return lru_cache(maxsize=_MOST_CODES)(clean) if kind is str else clean


_WHOLE_OR_TEXT = (int, str)
_NUMBERS = (int, float, Decimal)
_WRITTEN = (str, int, float)
_SHOWN = (str, *_NUMBERS, UUID)
"""Tuples, because `int | str` is made anew each time that it is read."""


def _text(value: Any) -> str:
    if not isinstance(value, _SHOWN):
        raise ValueError  # noqa: TRY004 (one error for all conversions)
    return str(value)


@cache
def _day_cleaning(
    kind: type, wanted: type, written: DayWritten | None, span: Between, no_days: frozenset[date], optional: bool
) -> Clean:
    """Give a day or a moment as declared, and None where it stands for none. Most years have no such day."""
    convert = None if kind is wanted else _QUICKLY.get((kind, wanted), _CONVERSIONS[wanted][1])
    if kind is str and written is not None:
        convert = _as_written(written.form, wanted)
    years, first, last = {day.year for day in no_days}, span.first.year, span.last.year

    def clean(value: Any) -> Any:
        found = value if convert is None else convert(value)
        if first < (year := found.year) < last and year not in years:
            return found
        day = real_day(found, no_days)
        if day is not None and span.first <= day <= span.last:
            return found
        if optional:
            return None
        raise UnfitError("stands for no day")

    if kind is not str:
        return clean
    # A source's days are few, and to read one takes twenty times as long as to look it up.
    told = _unless_none(clean, written.none) if optional and written is not None and written.none else clean
    return lru_cache(maxsize=_MOST_DAYS)(_unless_blank(told) if optional else told)


def _as_written(form: str, kind: type) -> Clean:
    def convert(value: str) -> date:
        try:
            found = datetime.strptime(value.strip(), form)  # noqa: DTZ007 (the source writes no zone)
        except ValueError:
            raise UnfitError(f"is not of the form {form}") from None
        return found.date() if kind is date else found

    return convert


def _bits(value: Any) -> Any:
    """The number that a BIT is: MariaDB's comes as bytes, PostgreSQL's as an object of its own."""
    if isinstance(value, bytes):
        return int.from_bytes(value)
    to_int = getattr(value, "to_int", None)
    return value if to_int is None else to_int()


def _whole(value: Any) -> int:
    if isinstance(value, str):
        return int(value)
    value = _bits(value)
    whole = int(value)
    if not isinstance(value, _NUMBERS) or whole != value:
        raise ValueError
    return whole


def _time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001 (a date has no zone)
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004
    return datetime.fromisoformat(value.strip())


def _day(value: Any) -> date:
    return _time(value).date()


def _decimal(value: Any) -> Decimal:
    try:
        return Decimal(str(value).strip() if isinstance(value, _WRITTEN) else value)
    except InvalidOperation:
        raise ValueError from None


_FLAGS = {
    **dict.fromkeys(("Y", "YES", "T", "TRUE", "1"), True),
    **dict.fromkeys(("N", "NO", "F", "FALSE", "0"), False),
}


def _truth(value: Any) -> bool:
    if isinstance(value, str):
        known = _FLAGS.get(value)
        known = _FLAGS.get(value.strip().upper()) if known is None else known
    else:
        known = {0: False, 1: True}.get(_bits(value))
    if known is None:
        raise ValueError
    return known


_CONVERSIONS: dict[type, tuple[str, Clean]] = {
    int: ("is not a whole number", _whole),
    str: ("is not text", _text),
    date: ("is not a date", _day),
    datetime: ("is not a time", _time),
    Decimal: ("is not a number", _decimal),
    float: ("is not a number", float),
    bool: ("is none of Y, N, T, F, 1, 0", _truth),
}

_QUICKLY: dict[tuple[type, type], Clean] = {
    (datetime, date): datetime.date,
    (int, Decimal): Decimal,
    (str, Decimal): Decimal,
    (float, Decimal): lambda value: Decimal(repr(value)),
}
"""These do the same for values of one type, in a half or a third of the time."""
