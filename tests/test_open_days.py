"""Days that stand for none: in one place for all adapters, by a setting that is part of the edition."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, NamedTuple

import pytest

from adapters.kit.rows import row_of
from adapters.kit.typed import Mapped, typed
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
