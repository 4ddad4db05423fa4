"""Whatever a mapping, or a check of an entity, quotes of a row: no value of it is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from adapters.engine.mapping import mapped_or_bad
from adapters.port import Record, Row, Stream, Sweep
from canonical import Person
from canonical.entity import IDENTIFYING, Entity
from canonical.errors import BadRecordError, UntoldError

KEY = "x:person:1042"
SEEN = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)
ROW: Row = (1042, "Pemberton-Ashe", date(1987, 3, 14), SEEN, Decimal("1234.50"), (("07700 900123", "F"),))
VALUES = ("Pemberton-Ashe", "1987-03-14", "14/03/1987", "2026-05-01", "1234.50", "07700 900123")


def refuse(value: str) -> str:
    raise ValueError(f"{value} is no name")


def custom(value: str) -> str:
    raise PydanticCustomError("odd", f"{value} is odd")


class Refusing(Entity):
    type_name = "refusing"
    standard = "none"
    owned_by = "key"
    name: Annotated[str, AfterValidator(refuse), IDENTIFYING]


class Odd(Entity):
    type_name = "odd"
    standard = "none"
    owned_by = "key"
    name: Annotated[str, AfterValidator(custom), IDENTIFYING]


def rule(row: Row) -> Entity:
    raise BadRecordError(f"{row[0]}", field="born", rule=f"{row[1]} was born on {row[2]:%d/%m/%Y}", shape="a day")


def rest(row: Row) -> Entity:
    _, name, born, seen, owed, ((phone, _),) = row
    raise UntoldError(f"{name}", field=f"{born}", rule=f"owes {owed} since {seen}", shape=phone, fix=f"ring {phone}")


def refusing(row: Row) -> Entity:
    return Refusing(key=KEY, name=row[1])


def odd(row: Row) -> Entity:
    return Odd(key=KEY, name=row[1])


def told(mapping: Callable[[Row], Entity]) -> BadRecordError:
    async def pages(_: Any) -> Any:
        yield None

    stream = Stream("people", (Person,), mapping, Sweep(pages))
    with pytest.raises(BadRecordError) as raised:
        mapped_or_bad(KEY, stream, Record(KEY, (1,), ROW))
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__
    return raised.value


@pytest.mark.parametrize("mapping", [rule, rest, refusing, odd])
def test_no_value_of_the_row_is_told(mapping: Callable[[Row], Entity]) -> None:
    error = told(mapping)
    said = " ".join([str(error), error.field, error.rule, error.shape, error.fix, error.where])
    assert [value for value in VALUES if value in said] == []
    assert "…" in said
    assert error.where == KEY


def test_an_error_stays_of_its_kind() -> None:
    assert type(told(rest)) is UntoldError
    assert type(told(rule)) is BadRecordError


def bad_number(row: Row) -> Entity:
    return Person(key=KEY, nhs_number=row[1])


def test_what_the_canonical_types_say_stays_as_they_say_it() -> None:
    """Their sentences quote nothing; a word in them may be a value of some row."""
    error = told(bad_number)
    assert (error.field, "…" in str(error)) == ("nhs_number", False)
