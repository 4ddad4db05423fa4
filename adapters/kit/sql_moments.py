"""
Values of a change column in a tail's cursor: which times are believed, from where the next reading goes on, and how row
versions are kept.

A legacy system writes local time, often without a zone. So an hour comes twice when the clocks go back, a typing error
may lie in the year 2062, and a server's clock may be ahead. No such value may make a tail miss the changes after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from adapters.port import Position, Record

_VERSION, _BYTES = "0x", 8
_A_ZONE = timedelta(hours=26)
"""The widest difference between two zones' clocks. A time further ahead than this is wrong, whatever its zone."""


def moment(value: int | str) -> datetime | None:
    """The time in a cursor's value; None if the value is a number or another text."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def version_shown(version: bytes) -> str | None:
    """A row version (SQL Server's `rowversion`: eight bytes that grow) as a cursor keeps it; None if it is none."""
    return f"{_VERSION}{version.hex()}" if len(version) == _BYTES else None


def version(value: int | str) -> bytes | None:
    """The row version in a cursor's value; None if the value is none."""
    return bytes.fromhex(value[len(_VERSION) :]) if isinstance(value, str) and value.startswith(_VERSION) else None


def behind(value: int | str, overlap: timedelta, zone: ZoneInfo) -> int | str:
    """
    The value from which to read on, so that no change is missed that was written after a cursor's value, or committed up to
    `overlap` late.

    In an hour that comes twice in `zone` a later change can have an earlier time: then reading begins one hour earlier.
    """
    at, written = moment(value), str(value)
    if at is None:
        return value
    low = at - overlap
    if at.tzinfo is None:
        low -= max(_twice(at, zone), _twice(low, zone))
    # Written in the same form as the cursor's value, for databases that keep times as text.
    return low.isoformat(written[10:11] or "T", "microseconds" if "." in written else "auto")


def _twice(at: datetime, zone: ZoneInfo) -> timedelta:
    """Tell how far the clocks go back after this time's first coming; zero if it comes once, or never."""
    first, second = (at.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
    return max(first - second, timedelta(0))


class Trusted:
    """
    Decides which values of one reading move its cursor: only values that are not beyond the source's own clock.

    `future` counts the others, unless a difference of zones may explain them.
    """

    def __init__(self, clock: datetime, cursor: Position | None) -> None:
        self._clock = clock
        self._cursor = cursor
        self.future = 0

    def cursor(self, values: Sequence[int | str], records: Sequence[Record]) -> Position:
        """The place where the next reading goes on once these records are safe; `values` are their change values, in order."""
        for value, record in zip(values, records, strict=True):
            ahead = self._ahead(value)
            if ahead <= timedelta(0):
                self._cursor = (value, *record.position)
            elif ahead > _A_ZONE:
                self.future += 1
        if self._cursor is None:
            # No value can be believed yet: begin a day ago, which costs only a few rows that are read again.
            yesterday, written = self._shown(values[0]) - timedelta(days=1), str(values[0])
            spelt = yesterday.isoformat(written[10:11] or "T", "microseconds" if "." in written else "seconds")
            return (spelt, *records[-1].position)
        return self._cursor

    def _ahead(self, value: int | str) -> timedelta:
        at = moment(value)
        return timedelta(0) if at is None else at - self._shown(value)

    def _shown(self, value: int | str) -> datetime:
        """The source's clock, with a zone if the value has one."""
        at, clock = moment(value), self._clock
        if at is not None and at.tzinfo is not None:
            return clock if clock.tzinfo is not None else clock.replace(tzinfo=UTC)
        return clock if clock.tzinfo is None else clock.astimezone(UTC).replace(tzinfo=None)
