"""Days that stand for no day at all, in one place for all adapters: old systems write them where a date is open or not known."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from pydantic import BaseModel, model_validator


class RealDays(NamedTuple):
    """
    The first and the last day that a source can mean. What lies before them or behind them stands for none.

    Before them lie 1900-01-01, SQL Server's 1753-01-01, PostgreSQL's `-infinity` and a century that was mistyped; behind them
    2999-12-31, 9999-12-31 and `infinity`: an end that never comes.
    """

    earliest: date = date(1900, 1, 2)
    latest: date = date(2999, 12, 30)

    def of(self, day: date | None) -> date | None:
        """The day, or None if it stands for none."""
        if isinstance(day, datetime):
            day = day.date()
        return day if day is not None and self.earliest <= day <= self.latest else None


REAL_DAYS = RealDays()


class RealDaysSettings(BaseModel):
    """
    The section of an adapter's settings says which days are real: a date before `earliest_day` or after `latest_day` is read
    as none, which is an open end where the field is an end.
    """

    earliest_day: date = REAL_DAYS.earliest
    latest_day: date = REAL_DAYS.latest

    @model_validator(mode="after")
    def _in_order(self) -> RealDaysSettings:
        if self.earliest_day > self.latest_day:
            raise ValueError("earliest_day lies behind latest_day")
        return self

    @property
    def real_days(self) -> RealDays:
        return RealDays(self.earliest_day, self.latest_day)
