"""Guesses what a source's tables and columns mean, by their names. Every guess is marked as one in what is written."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from ironbridge.scaffold.source import FoundColumn, FoundTable

PERSON = {
    "given": r"fore_?names?|first_?names?|given_?names?",
    "family": r"sur_?name|last_?name|family_?name",
    "birth_date": r"dob|date_?of_?birth|birth_?date|born",
    "death_date": r"dod|date_?of_?death|death_?date|died",
    "nhs_number": r"nhs(_?(no|num|number|id))?",
    "nino": r"nino|ni_?(no|num|number)|nat_?ins.*",
    "upn": r"upn|unique_?pupil.*",
    "postcode": r"post_?code|pcode|zip(_?code)?",
}
"""Fields of a person, and the names that columns with them have."""
_DAYS = ("birth_date", "death_date")

_IDENTIFYING = re.compile(
    r"name|addr|street|town|post_?code|phone|tel|mobile|mail|birth|dob|born|nhs|nino|upn|note|text|comment", re.I
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """A column, the name of its field in the row class, and what it is thought to be in the entity."""

    column: FoundColumn
    field: str
    is_key: bool
    means: str | None
    spelt: bool
    """The field is called otherwise than the column, or is written in other letters."""
    names: str | None = None
    """The entity type that the column's values are keys of."""

    @property
    def soft(self) -> bool:
        return self.means in ("nhs_number", "nino", "upn", "postcode")

    @property
    def declared(self) -> str:
        """The field's type in the row class."""
        kind = self.column.kind.__name__ + ("" if self.is_key or not self.column.optional else " | None")
        notes = [f'Spelt("{self.column.name}")'] * self.spelt + [f'DayWritten("{self.column.form}")'] * bool(self.column.form)
        kind = f"Annotated[{', '.join([kind, *notes])}]" if notes else kind
        return f"Soft[{kind}]" if self.soft else kind

    @property
    def canonical(self) -> str:
        """The field's type in an entity of one's own, with a sensitivity."""
        money = "Amount" if self.column.pence else "Decimal"
        kind = {str: "Text", date: "Day", datetime: "datetime", Decimal: money, int: "int", bool: "bool"}[self.column.kind]
        return f"Annotated[{kind} | None, {self.sensitivity}] = None"

    @property
    def sensitivity(self) -> str:
        if self.column.kind is Decimal:
            return "FINANCIAL"
        return "IDENTIFYING" if _IDENTIFYING.search(self.column.name) or self.column.kind is str else "PLAIN"


@dataclass(frozen=True, slots=True)
class TableDraft:
    """A table, and what is thought of it: the class of its rows, its stream, its entity."""

    table: FoundTable
    columns: tuple[Meaning, ...]
    row: str
    stream: str
    entity: str
    type_name: str
    is_person: bool

    def of(self, means: str) -> Meaning | None:
        """The column that is thought to be that field of a person."""
        return next((each for each in self.columns if each.means == means), None)

    @property
    def key(self) -> tuple[Meaning, ...]:
        return tuple(each for each in self.columns if each.is_key)

    @property
    def own(self) -> tuple[Meaning, ...]:
        """The columns that an entity of one's own carries as they are."""
        return tuple(each for each in self.columns if not each.is_key)


def draft(source: str, tables: list[FoundTable]) -> list[TableDraft]:
    """Guess what each table is: people, where a name and a first name or a birth stand in it, or something of its own."""
    people = {table.name for table in tables if _holds_people(table)}
    of = source.replace("_", "-")
    types = {t.name: "person" if t.name in people else f"{of}-{_words(t.name, '-')}" for t in tables}
    return [_draft(table, types, is_person=table.name in people) for table in tables]


def _draft(table: FoundTable, types: dict[str, str], *, is_person: bool) -> TableDraft:
    words = _words(table.name, "_")
    row = "".join(word.capitalize() for word in words.split("_")) + "Row"
    entity = "Person" if is_person else row.removesuffix("Row")
    refers = {column: types[to] for column, to in table.refers if to in types}
    taken: set[str] = set()
    columns: list[Meaning] = []
    for each in table.columns:
        means = _meaning(each) if is_person and each.name not in table.key else None
        means = None if any(means and had.means == means for had in columns) else means
        each = replace(each, kind=date) if means in _DAYS else each  # a column of days is often a DATETIME at midnight
        field = _field(each.name, taken)
        spelt = each.name != (field.upper() if table.declared.isupper() else field)
        columns.append(Meaning(each, field, each.name in table.key, means, spelt, refers.get(each.name)))
    return TableDraft(table, tuple(columns), row, words, entity, types[table.name], is_person)


def _holds_people(table: FoundTable) -> bool:
    found = {_meaning(each) for each in table.others}
    return "family" in found and bool(found & {"given", "birth_date"})


def _meaning(column: FoundColumn) -> str | None:
    fits = (field for field, names in PERSON.items() if re.fullmatch(names, column.name.replace(" ", "_"), re.I))
    found = next(fits, None)
    dated = found in _DAYS
    return found if found and dated == (column.kind in (date, datetime)) and (dated or column.kind is str) else None


def _words(name: str, join: str) -> str:
    """A table's name as words of small letters."""
    parts = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])", name)
    return join.join(part.lower() for part in parts) or "table"


def _field(column: str, taken: set[str]) -> str:
    """A Python name for a column."""
    name = re.sub(r"\W+", "_", column.lower()).strip("_") or "column"
    name = f"c_{name}" if name[0].isdigit() or name[0] == "_" else name
    name = f"{name}_" if keyword.iskeyword(name) or name in ("count", "index") else name
    while name in taken:
        name += "_"
    taken.add(name)
    return name
