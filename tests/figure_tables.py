"""Small sets of canonical entities as the tables that figures read, so that a test's answer can be counted by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from canonical import ENTITIES, Entity, Event, Sensitivity
from ironbridge.figures.figure import figure
from ironbridge.figures.reading import Behind, DateRange, FigureReader, Opened
from ironbridge.settings import TablesSettings
from ironbridge.store.quality import FaultyRow
from ironbridge.tables.choice import plans
from ironbridge.tables.rows import rows
from ironbridge.tables.schema import table_name
from ironbridge.tables.table import OpenTable
from tests.test_privacy import CANARY

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


def filled(folder: Path, entities: Sequence[Entity]) -> TablesSettings:
    """Settings whose open tables lie in a folder, and hold some entities with all their fields."""
    import pyarrow as pa

    settings = TablesSettings(path=str(folder), hold=tuple(Sensitivity))
    for plan in plans(settings):
        if not plan.history and (some := [each for each in entities if type(each) is plan.entity]):
            table = table_of(plan.entity, some).append_column("_partition", pa.array([0] * len(some), pa.int32()))
            opened = OpenTable(plan, {})
            opened.open()
            opened.write("canonical", table.append_column("_offset", pa.array(range(len(some)), pa.int64())))
    return settings


def _supplied(number: int, name: str, **fields: Any) -> list[Entity]:
    """A supplier with an invoice of £800."""
    supplier = made("supplier", number, of="unit4", number=str(number), name=name, **fields)
    lines = [{"number": 1, "net": "800.00"}]
    whole = {"number": str(number), "supplier": supplier.key, "payment_date": "2020-03-31", "lines": lines}
    return [supplier, made("invoice", number, of="unit4", **whole)]


SPRING_OF_2020 = [
    of_child("assessment", 1, 1, start_date="2020-04-01", authorised_date="2020-04-20"),
    of_child("assessment", 2, 2, start_date="2020-05-01", authorised_date="2020-05-07"),
    of_child("assessment", 3, 3, start_date="2020-03-02", authorised_date="2020-05-29"),
    *_supplied(1, f"=cmd|{CANARY}", company_number="01234567"),
    *_supplied(2, f"Mary {CANARY}"),
]
"""A few records of long ago, whose personal fields say that they are."""


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
