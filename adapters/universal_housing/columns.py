"""The columns that several tables of Universal Housing have in common, and how two of them are read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from sqlalchemy import CHAR, Boolean, ColumnElement, DateTime, Numeric, null

from adapters.kit.sql import Tables
from canonical.key import key_of
from canonical.people import ContactPoint

Text3 = Annotated[str | None, CHAR(3)]
"""A code of one of the system's own lists."""
Postcode = Annotated[str | None, CHAR(10)]
Phone = Annotated[str | None, CHAR(21)]
HouseRef = Annotated[str | None, CHAR(10)]
PropRef = Annotated[str | None, CHAR(12)]
TagRef = Annotated[str, CHAR(11)]
Moment = Annotated[date | None, DateTime()]
"""A datetime or smalldatetime, as its day."""
Bit = Annotated[bool | None, Boolean()]
Money = Annotated[Decimal | None, Numeric(9, 2)]


def reference(source: str, entity: str, ref: str | None) -> str | None:
    """The key of another record; None where the reference is blank."""
    return None if ref is None else key_of(source, entity, ref)


def own_column(tables: Tables, row: type, name: str) -> ColumnElement[Any]:
    """A column that a council has added for itself; nothing stands in it where the settings name none."""
    return tables.column(row, name) if name else null()


def reached(phones: Iterable[str | None], emails: Iterable[str | None] = ()) -> tuple[ContactPoint, ...]:
    """The ways to reach somebody, each once."""
    found = dict.fromkeys([*(("phone", each) for each in phones), *(("email", each) for each in emails)])
    return tuple(ContactPoint(system=system, value=value) for system, value in found if value)
