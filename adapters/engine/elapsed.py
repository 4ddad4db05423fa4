"""Tells how much time has passed since a moment that was noted, by a clock that somebody may set back meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta


def within(span: timedelta, since: datetime, now: datetime) -> bool:
    """
    Tell whether less than a span has passed since a moment.

    A moment that lies ahead was noted before the clock was set back. How long ago that was nobody can say, and if we waited
    until it comes again, we could wait for years.
    """
    return timedelta(0) <= now - since < span
