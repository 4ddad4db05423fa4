"""
The tables of HDM, Liquidlogic's warehouse (schema `Child_Social`), have these columns and lists of national codes in common.

The other tables are declared beside the mapping that reads them.
"""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Any, NamedTuple

from sqlalchemy import ColumnElement, DateTime, String, and_, func, or_, select
from sqlalchemy.sql.expression import Subquery

from adapters.kit.sql import Between, Tables, row_of
from adapters.kit.sql_conditions import plain
from adapters.liquidlogic.quirks import FIRST, LAST

Answer = Annotated[str | None, String(4000)]
"""What was answered in a form, however long."""
Day = Annotated[date | None, DateTime(), Between(FIRST, LAST)]
"""A DATETIME, mostly at midnight, as its day."""
Flag = Annotated[bool | None, String(8)]
"""Y and N, or 1 and 0."""


@row_of("DIM_LOOKUP_DFE_ETHNIC")
class DimLookupDfeEthnic(NamedTuple):
    main_code: str
    nat_id: str | None


@row_of("DIM_LOOKUP_DISAB")
class DimLookupDisab(NamedTuple):
    main_code: str
    nat_id: str | None


def translation(hdm: Tables, lookup: type) -> Subquery:
    """A lookup table as `code` (local) and `nat` (national), one row a code even where the council has two."""
    there = hdm[lookup]
    code = plain(there.c.MAIN_CODE)
    return select(code.label("code"), func.max(there.c.NAT_ID).label("nat")).group_by(code).subquery(there.name.lower())


def real(*numbers: ColumnElement[Any]) -> ColumnElement[bool]:
    """Not a row -1, which stands for nothing, nor a row of the person -1, who is nobody."""
    return and_(*[number != -1 for number in numbers])


def never(moment: ColumnElement[Any]) -> ColumnElement[bool]:
    """A moment that did not come: it is empty, or on a day that stands for none."""
    first, last = datetime.combine(FIRST, time.min), datetime.combine(LAST, time(23, 59, 59))
    return or_(moment.is_(None), moment < first, moment > last)
