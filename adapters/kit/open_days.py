"""Days that stand for no day at all, in one place for all adapters: old systems write them where a date is open or not known."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel

NO_DAYS = frozenset({
    date.min,  # PostgreSQL's `-infinity`, .NET's default
    date(1753, 1, 1),  # the least that SQL Server takes
    date(1899, 12, 30), date(1899, 12, 31),  # Excel's and Access's zero
    date(1900, 1, 1),
    date(2999, 12, 31),
    date.max,  # and `infinity`
})  # fmt: skip


def real_day(day: date | None, none: frozenset[date] = NO_DAYS) -> date | None:
    """The day, of a moment too; None if it stands for none."""
    found = day.date() if isinstance(day, datetime) else day
    return None if found in none else found


class NoDaysSettings(BaseModel):
    """
    The section of an adapter's settings says in `no_days` which days stand for none. A date on one of them is read as none,
    which is an open end where the field is an end.
    """

    no_days: frozenset[date] = NO_DAYS
