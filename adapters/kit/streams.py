"""Streams whose rows are declared with `row_of` and mapped by one function, from whatever they are read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from adapters.kit.codes import CodeMap, agreed
from adapters.kit.row_settings import RowSettings
from adapters.kit.rows import Field, code_maps_of, declared_of, fields_of, hints_of
from adapters.kit.soft import softening
from adapters.kit.typed import Mapped, UnfitError, UnreadValue
from adapters.port import Files, Push, Record, Stream, Sweep, Tail, UnreadRow
from canonical.entity import Entity
from canonical.errors import MisconfiguredError
from canonical.key import KeysOf

Map = Callable[[str, Any], Entity]
"""A function of a module, `def person(source: str, row: Tenant) -> Person`."""

Read = Callable[[Field], Any]
"""Gives a field's value. Raises `UnfitError` with the rule that it breaks."""


def types_of(stream: str, mapping: Map) -> tuple[type[tuple[Any, ...]], type[Entity]]:
    """
    Tell which row class a mapping reads, and which entity it makes.

    :raises MisconfiguredError: the mapping cannot be imported by name, or does not say what it maps.
    """
    hints = list(hints_of(mapping).values())
    if getattr(sys.modules.get(mapping.__module__), mapping.__name__, None) is not mapping or len(hints) != 3:
        fix = "write it as a function of a module with its types: def person(source: str, row: Tenant) -> Person"
        raise MisconfiguredError(f"the stream {stream}", "has a mapping that cannot be used", fix=fix)
    return hints[1], hints[2]


class FlatStream(Protocol):
    """A stream's declaration: its name, its mapping, and the `prefix` of its keys (see `KeysOf`)."""

    @property
    def name(self) -> str: ...

    @property
    def map(self) -> Map: ...

    @property
    def prefix(self) -> str: ...


class FlatRows:
    """
    Makes the records of one stream whose rows hold no other rows.

    :raises MisconfiguredError: the row class has rows of parts, columns of joined tables, or no key.
    """

    def __init__(self, source: str, declared: FlatStream) -> None:
        self.source = source
        self.declared = declared
        self.row, self.entity = types_of(declared.name, declared.map)
        self.fields = fields_of(self.row)
        self.keys = KeysOf(source, self.entity.type_name, declared.prefix)
        names = declared_of(self.row).key
        self.key = [each for name in names for each in self.fields if each.name == name]
        nested = [each.name for each in self.fields if each.part or each.joined]
        if nested or not names or len(self.key) != len(names):
            what = f"`{nested[0]}` is of another table" if nested else "its key is not among its fields"
            fix = "let the row have the columns of one table, its key among them; read other tables by streams of their own"
            raise MisconfiguredError(f"{source}: {self.row.__name__}", what, fix=fix)

    def identifiers(self, read: Read) -> tuple[int | str, ...]:
        """:raises UnfitError: a part of the key is empty, or is no number or text as declared."""
        return tuple(_identifier(its, read(its)) for its in self.key)

    def record(self, read: Read, position: tuple[int | str, ...] = ()) -> Record:
        """
        Make a record; a value that cannot be read is said to be so in its row.

        :raises UnfitError: its key cannot be read.
        """
        identifiers = self.identifiers(read)
        key = dict(zip([its.name for its in self.key], identifiers, strict=True))
        row = tuple(key[its.name] if its.name in key else _value(its, read) for its in self.fields)
        return Record(self.keys.of(*identifiers), position, row)

    def unread(self, what: str, field: str, rule: str) -> Record:
        """Make a record that is quarantined under a key of its own, because nobody knows whose it is."""
        return Record(self.keys.of(f"unread {what}"), (), UnreadRow.of((what,), field, rule))


class FlatAdapter:
    """The declarations of an adapter's streams, and how their rows are mapped."""

    def __init__(self, name: str, settings: RowSettings, streams: Sequence[FlatStream]) -> None:
        self.rows: Mapping[str, FlatRows] = {each.name: FlatRows(name, each) for each in streams}
        self._settings = settings
        maps = [codes for rows in self.rows.values() for codes in code_maps_of(rows.row)]
        self._codes: tuple[CodeMap, ...] = agreed(name, settings.codes, maps)

    def stream(self, name: str, reading: Sweep | Tail | Files | Push, **given: Any) -> Stream:
        """Make a stream of this name; what is `given` are `Stream`'s own fields."""
        rows = self.rows[name]
        mapped = self.mapped(name)
        return Stream(name, (rows.entity,), mapped, reading, softly=softening(mapped), **given)

    def mapped(self, name: str) -> Mapped[Any]:
        rows = self.rows[name]
        return Mapped(rows.declared.map, rows.row, rows.source, self._settings.no_days, self._codes)


def _identifier(its: Field, value: Any) -> int | str:
    if isinstance(value, UnreadValue):
        raise UnfitError(value.rule)
    if its.kind is int:
        return _whole(value)
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise UnfitError("is neither a whole number nor text")
    named = value if isinstance(value, int) and its.kind is not str else str(value).rstrip(" ")
    if named == "":
        raise UnfitError("is empty")
    return named


def _whole(value: Any) -> int:
    try:
        whole = int(value)
    except (TypeError, ValueError, ArithmeticError):
        raise UnfitError("is not a whole number") from None
    if isinstance(value, bool) or (not isinstance(value, str) and whole != value):
        raise UnfitError("is not a whole number")
    return whole


def _value(its: Field, read: Read) -> Any:
    try:
        return read(its)
    except UnfitError as error:
        return UnreadValue(str(error))


@dataclass(frozen=True, slots=True)
class NamedValues:
    """The values of a JSON object by the columns of a row class: in any case, unless the row class spells a name exactly."""

    values: Mapping[str, Any]

    def has(self, its: Field) -> bool:
        return self.name(its) is not None

    def name(self, its: Field) -> str | None:
        """The name that the object has for a field's column."""
        if its.column in self.values or its.exact:
            return its.column if its.column in self.values else None
        folded = its.column.casefold()
        return next((name for name in self.values if name.casefold() == folded), None)
