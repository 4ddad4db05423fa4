"""Small sets of canonical entities as the tables that figures read, so that a test's answer can be counted by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from canonical import ENTITIES, Entity, Event
from ironbridge.figures.figure import figure
from ironbridge.figures.reading import Behind, DateRange, FigureReader, Opened
from ironbridge.store.quality import FaultyRow
from ironbridge.tables.rows import rows
from ironbridge.tables.schema import table_name

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def made(name: str, number: object, /, of: str = "lcs", **fields: Any) -> Entity:
    """An entity with a key of its own; a field that ends in `person`, `supplier` and the like is given as a number."""
    entity: Entity = ENTITIES[name].model_validate({"key": f"{of}:{name}:{number}"} | fields)
    return entity


def of_child(name: str, number: object, child: int, **fields: Any) -> Entity:
    return made(name, number, person=f"lcs:person:{child}", **fields)


def opened_of(entities: Sequence[Entity]) -> Opened:
    """A database with the latest table of each entity of which there is one."""
    import duckdb

    def opened(names: tuple[str, ...]) -> Any:
        connection = duckdb.connect()
        for kind in {type(each) for each in entities if table_name(type(each)) in names}:
            connection.register(table_name(kind), table_of(kind, [each for each in entities if type(each) is kind]))
        return connection

    return opened


def table_of(kind: type[Entity], entities: Sequence[Entity]) -> Any:
    """What is published of some entities of one kind, as rows."""
    parts = [(each, each.key.partition(":")[0]) for each in entities]
    return rows(kind, [Event(kind.type_name, of, each.key, each.owner, 1, NOW, each.to_bytes()) for each, of in parts])


def shown(
    name: str, first: str, last: str, entities: Sequence[Entity] = (), faulty: Sequence[FaultyRow] = ()
) -> list[dict[str, Any]]:
    """
    The figure's lines without the system, once each of its numbers has been held against the rows behind it: a number is the
    count of its rows, or the sum of their column; what is neither (a share, a middle) is not held.
    """
    of, days = figure(name), DateRange(date.fromisoformat(first), date.fromisoformat(last))
    reader = FigureReader(opened_of(entities), faulty)
    records = reader.numbers(of, days).records
    for record in records:
        group = {by: str(record[by]) for by in of.by}
        for number in record.keys() - set(of.by):
            behind = reader.rows(of, days, Behind(group, number), reveal=True, most=1000)
            assert len(behind.lines) == reader.count(of, days, Behind(group, number))
            match record[number]:
                case int() as counted:
                    assert counted == len(behind.lines), f"{number} of {group}"
                case Decimal() as added:
                    assert added == sum(row[number] for row in behind.records), f"{number} of {group}"
    return [{by: value for by, value in record.items() if by != "ledger" and (by != "system" or faulty)} for record in records]


def numbers(record: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(record[name] for name in names)


def counts(records: Sequence[Mapping[str, Any]], by: str, number: str) -> dict[Any, Any]:
    """One number by one column, added up over the others."""
    found = Counter[Any]()
    for record in records:
        found[record[by]] += record[number]
    return dict(found)
