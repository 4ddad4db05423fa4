"""Days that stand for none: in one place for all adapters, by a setting that is part of the edition."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from adapters.kit.rows import Mapped, row_of, typed
from adapters.payables import PayablesSettings, build
from canonical import Person
from canonical.errors import BadRecordError
from ironbridge.runtime import systems
from ironbridge.settings import Settings


@row_of("stays", of="tenant_no", order="began")
class Stay(NamedTuple):
    began: date
    ended: date | None


@row_of("tenants", key="tenant_no")
class Tenant(NamedTuple):
    tenant_no: int
    born: date | None
    seen: datetime | None
    stays: tuple[Stay, ...]


def tenant(source: str, row: Tenant) -> Person:
    return Person(key=f"{source}:person:{row.tenant_no}", birth_date=row.born)


SEEN, BEGAN = datetime(2024, 5, 6, 7, 8), date(2024, 1, 1)  # noqa: DTZ001
NONE = [date.min, date(1753, 1, 1), date(1900, 1, 1), date(2999, 12, 31), date(9999, 12, 31)]


@pytest.mark.parametrize("day", NONE)
def test_a_day_that_stands_for_none_is_none_wherever_a_row_holds_it(day: date) -> None:
    at = datetime(day.year, day.month, day.day, 23, 59)  # noqa: DTZ001
    made = typed(Tenant)((7, day, at, ((BEGAN, day), (BEGAN, BEGAN))))
    assert made == Tenant(7, None, None, (Stay(BEGAN, None), Stay(BEGAN, BEGAN)))
    assert typed(Tenant)((7, BEGAN, SEEN, ())) == Tenant(7, BEGAN, SEEN, ())
    assert typed(Tenant)((7, day.isoformat(), None, ())) == Tenant(7, None, None, ())


def test_the_days_beside_them_are_days() -> None:
    for day in (date(1711, 3, 17), date(1900, 1, 2), date(1900, 12, 31), date(2999, 12, 30)):
        assert typed(Tenant)((7, day, None, ())).born == day


def test_a_field_that_may_not_be_empty_costs_its_row() -> None:
    with pytest.raises(BadRecordError) as error:
        typed(Stay)((date(1900, 1, 1), None))
    assert str(error.value).startswith("stays: began: stands for no day (its shape: date 9999-99-99). To do: correct it")


def test_which_days_are_real_is_said_to_the_mapping() -> None:
    other = Mapped(tenant, Tenant, "homes", frozenset({date(1970, 1, 1)}))
    assert other((7, date(1970, 1, 1), None, ())) == Person(key="homes:person:7")
    assert other((7, date(1900, 1, 1), None, ())) == Person(key="homes:person:7", birth_date=date(1900, 1, 1))


# -- the setting -----------------------------------------------------------------------------------------------------


def planned(**section: Any) -> str:
    settings = Settings(adapters={"liquidlogic": {"url": "sqlite:///hdm.db", **section}})
    return systems.adapters(settings)["liquidlogic"].edition


def test_changed_days_make_a_new_edition() -> None:
    days = [str(day) for day in NONE] + ["1899-12-30", "1899-12-31"]
    assert planned() == planned(no_days=days) == planned(no_days=days[::-1])
    assert len({planned(), planned(no_days=[*days, "1970-01-01"]), planned(no_days=[])}) == 3


FILE = """Invoice No,Supplier No,Supplier,Invoice Date,Due Date,Net,VAT,Gross
17,S1,Ashgrove Ltd,01/04/2024,31/12/9999,10.00,2.00,12.00
18,S2,Birchfield LLP,01/04/2024,01/01/1900,10.00,2.00,12.00
19,S3,Severn Ltd,01/04/2024,30/04/2024,10.00,2.00,12.00
"""
LAYOUT = {
    "title": "invoices",
    "columns": {
        "number": "Invoice No", "supplier_number": "Supplier No", "supplier_name": "Supplier", "document_date": "Invoice Date",
        "due_date": "Due Date", "net": "Net", "tax": "VAT", "gross": "Gross",
    },
    "document": ["number"],
}  # fmt: skip


async def payables(folder: Path, **section: Any) -> tuple[str, dict[str, date | None]]:
    """The digest of an extract, and the day on which each of its invoices is due."""
    given = {"folders": [folder], "own_layouts": {"invoices": LAYOUT}, "settle": 0, **section}
    adapter = build("acme", PayablesSettings.model_validate(given))
    [stream] = adapter.streams()
    [extract] = [extract async for extract in stream.reading.extracts()]  # type: ignore[union-attr]
    records = [record async for portion in extract.portions() for record in portion]
    made = [stream.map(record.row) for record in records]
    return extract.digest, {each.number: each.due_date for each in made if each.type_name == "invoice"}  # type: ignore[attr-defined]


async def test_an_extract_writes_days_that_stand_for_none_too(tmp_path: Path) -> None:
    path = tmp_path / "invoices.csv"
    path.write_text(FILE)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    digest, due = await payables(tmp_path)
    assert due == {"17": None, "18": None, "19": date(2024, 4, 30)}
    other, due = await payables(tmp_path, no_days=["9999-12-31", "1900-01-01", "2024-04-30"])
    assert due == {"17": None, "18": None, "19": None}
    assert other != digest
