"""Days that stand for no day at all, in one place for all adapters: old systems write them where a date is open or not known."""

from __future__ import annotations

from datetime import date

EARLIEST = date(1900, 1, 2)
"""1900-01-01 and what lies before it (SQL Server's 1753, PostgreSQL's `-infinity`, a mistyped century) is no day."""
LATEST = date(2999, 12, 30)
"""2999-12-31 and what lies behind it (9999-12-31, PostgreSQL's `infinity`) is no day: an end that never comes."""


def real_day(day: date | None) -> date | None:
    """The day, or None if it stands for none."""
    return day if day is not None and EARLIEST <= day <= LATEST else None
