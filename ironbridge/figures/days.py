"""
The calendar of working days: Monday to Friday without the bank holidays of England, which the library `holidays` knows.

`nth` counts the working days up to and with a day, so that the working days from one day to another are the difference of two
numbers. A day that is none has the number of the one before it.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from itertools import accumulate
from typing import Any

FIRST = date(1980, 1, 1)
AHEAD = 3
"""Years after the present one for which the calendar goes on."""


def calendar(today: date) -> Any:
    """The calendar as a table of Arrow: `day`, `nth`. No day before 1980 is in it."""
    return _calendar(today.year + AHEAD)


@cache
def _calendar(until: int) -> Any:
    import holidays
    import pyarrow as pa

    free = holidays.country_holidays("GB", subdiv="ENG", years=range(FIRST.year, until + 1))
    days = [FIRST + timedelta(days=n) for n in range((date(until, 12, 31) - FIRST).days + 1)]
    numbers = list(accumulate(int(day.weekday() < 5 and day not in free) for day in days))
    return pa.table({"day": pa.array(days, pa.date32()), "nth": pa.array(numbers, pa.int32())})
