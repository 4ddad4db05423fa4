"""Small sets of canonical entities as the tables that figures read, so that a test's answer can be counted by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic_core import to_jsonable_python

from canonical import ENTITIES, Entity
from ironbridge.figures.figure import figure
from ironbridge.figures.reading import Behind, DateRange, FigureReader
from ironbridge.store.quality import FaultyRow
import sys; sys.path.insert(0, "/tmp/q")
from scratch_schema import schema_of


def made(name: str, number: object, /, of: str = "lcs", **fields: Any) -> Entity:
    """An entity with a key of its own; a field that ends in `person`, `supplier` and the like is given as a number."""
    entity: Entity = ENTITIES[name].model_validate({"key": f"{of}:{name}:{number}"} | fields)
    return entity


def of_child(name: str, number: object, child: int, **fields: Any) -> Entity:
    return made(name, number, person=f"lcs:person:{child}", **fields)


def opened_of(entities: Sequence[Entity]) -> Any:
    """Gives the table of each entity, as a `FigureReader` opens it."""
    import pyarrow as pa

    def opened(name: str) -> Any:
        rows = [each.model_dump() for each in entities if each.type_name == name]
        return pa.Table.from_pylist([_plain(row) for row in rows], schema=schema_of(ENTITIES[name]))

    return opened


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case date() | Decimal() | None:
            return value
    return to_jsonable_python(value)


def shown(
    name: str, first: str, last: str, entities: Sequence[Entity] = (), faulty: Sequence[FaultyRow] = ()
) -> list[dict[str, Any]]:
    """
    The figure's lines without the system, once each of its numbers has been held against the rows behind it: a number is the count of
    its rows, or the sum of their column; what is neither (a share, a middle) is not held.
    """
    of, days = figure(name), DateRange(date.fromisoformat(first), date.fromisoformat(last))
    reader = FigureReader(opened_of(entities), faulty)
    records = reader.numbers(of, days).records
    for record in records:
        group = {by: str(record[by]) for by in of.by}
        for number in record.keys() - set(of.by):
            rows = reader.rows(of, days, Behind(group, number), reveal=True, most=1000)
            assert len(rows.lines) == reader.count(of, days, Behind(group, number))
            match record[number]:
                case int() as counted:
                    assert counted == len(rows.lines), f"{number} of {group}"
                case Decimal() as added:
                    assert added == sum(row[number] for row in rows.records), f"{number} of {group}"
    return [{by: value for by, value in record.items() if by != "ledger" and (by != "system" or faulty)} for record in records]


def numbers(record: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(record[name] for name in names)


def counts(records: Sequence[Mapping[str, Any]], by: str, number: str) -> dict[Any, Any]:
    """One number by one column, added up over the others."""
    found = Counter[Any]()
    for record in records:
        found[record[by]] += record[number]
    return dict(found)
