"""Clocks: one for durations on this machine, and the day in London by the clock that all workers share."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")
SET_BACK = 3600.0
"""A clock that goes back by so many seconds was set on purpose; less is a small correction."""


def steady() -> float:
    """Seconds by a clock that nobody sets and that goes on while the machine sleeps. Only differences mean something."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def day_in_london(at: float) -> date:
    """The day in London at a moment (seconds since 1970)."""
    return datetime.fromtimestamp(at, UTC).astimezone(LONDON).date()


def beginning(day: date) -> float:
    """Tell when a day begins in London, in seconds since 1970."""
    return datetime(day.year, day.month, day.day, tzinfo=LONDON).timestamp()


class LondonDay:
    """
    Today in London by a clock (seconds since 1970).

    The day never goes back because of a small correction at midnight: a day that has begun goes on until the clock is at
    least an hour before it.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._day: date | None = None

    def __call__(self) -> date:
        now = self._clock()
        day = day_in_london(now)
        if self._day is not None and day < self._day <= day_in_london(now + SET_BACK):
            return self._day
        self._day = day
        return day
