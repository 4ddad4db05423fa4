"""
Rows of HL7 fields: each column of a row class names its place in a message.

    @row_of("PID-5")
    class KinName(NamedTuple):
        family: Annotated[str | None, Spelt("PID-5.1")]
        given: Annotated[str | None, Spelt("PID-5.2")]

    @row_of("ADT", key="number")
    class Kin(NamedTuple):
        number: Annotated[str, Spelt("PID-3")]
        born: Annotated[str | None, Spelt("PID-7")]
        names: tuple[KinName, ...]

A place is a field, `PID-7`, and may go on with its component and subcomponent: `PID-11.1.2`. The first repetition counts. Rows
that nest are the repetitions of the one field that all of their columns are of.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from adapters.kit.hl7 import Said, component_of
from adapters.kit.rows import Field, fields_of
from adapters.port import Row
from canonical.errors import MisconfiguredError

_PLACE = re.compile(r"([A-Z][A-Z0-9]{2}-[0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?")


@dataclass(frozen=True, slots=True)
class Together:
    """A column is the texts of several places, with a blank between: `Annotated[str, Spelt("PV1-7"), Together("PV1-7.3", …)]`."""

    places: tuple[str, ...]

    def __init__(self, *places: str) -> None:
        object.__setattr__(self, "places", places)


class Hl7Rows:
    """
    Reads the rows of one class out of the fields that messages said. The fields of the class that are in `filled` stand in no
    message: `row` is given their values. `instead` names the field that is read in another one's place: `{"PV1-7": "PV1-9"}`.

    :raises MisconfiguredError: a column has no place, or the columns of rows that nest are of several fields.
    """

    def __init__(self, kind: type, filled: Collection[str] = (), instead: Mapping[str, str] | None = None) -> None:
        self._columns = [_column(kind, its, instead or {}) for its in fields_of(kind) if its.name not in filled]
        self._order = [its.name for its in fields_of(kind)]

    @property
    def fields(self) -> dict[str, tuple[int, ...]]:
        """The numbers of the fields that are read, by segment."""
        return numbers_of(place.field for column in self._columns for place in column.places)

    def row(self, said: Said, **filled: Any) -> Row:
        """The row; where nothing is said, a text is None. Values of `filled` that the class does not have count for nothing."""
        read = {column.name: column.value(said) for column in self._columns}
        return tuple(read[name] if name in read else filled[name] for name in self._order)


def numbers_of(places: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The numbers of fields such as `PID-7`, by segment."""
    found: dict[str, set[int]] = {}
    for place in places:
        segment, _, number = place.partition("-")
        found.setdefault(segment, set()).add(int(number))
    return {segment: tuple(sorted(numbers)) for segment, numbers in found.items()}


class _FieldPlace(NamedTuple):
    field: str
    component: int
    sub: int


class _Hl7Column(NamedTuple):
    name: str
    places: tuple[_FieldPlace, ...]
    parts: tuple[_Hl7Column, ...] = ()

    def value(self, said: Said) -> Any:
        repetitions = said.get(self.places[0].field, [])
        if self.parts:
            return tuple(tuple(part.text(each) for part in self.parts) for each in repetitions)
        return self.text(repetitions[0]) if repetitions else None

    def text(self, repetition: list[list[str]]) -> str | None:
        texts = (component_of(repetition, each.component, each.sub) for each in self.places)
        return " ".join(filter(None, texts)) or None


def _column(kind: type, its: Field, instead: Mapping[str, str]) -> _Hl7Column:
    parts = tuple(_column(its.part, each, instead) for each in fields_of(its.part)) if its.part else ()
    together = next((note.places for note in its.notes if isinstance(note, Together)), (its.column,))
    found = () if parts else tuple(map(_PLACE.fullmatch, together))
    if None in found:
        raise _without_place(kind, its)
    own = (_FieldPlace(instead.get(m[1], m[1]), int(m[2] or 1), int(m[3] or 1)) for m in found if m)
    places = tuple(place for part in parts for place in part.places) or tuple(own)
    if len({place.field for place in places}) != 1:
        raise _without_place(kind, its)
    return _Hl7Column(its.name, places, parts)


def _without_place(kind: type, its: Field) -> MisconfiguredError:
    fix = 'write Annotated[str | None, Spelt("PID-7")], and let the columns of rows that nest be of one field'
    return MisconfiguredError(f"{kind.__name__}.{its.name}", "has no place in a message", fix=fix)
