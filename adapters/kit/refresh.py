"""
A source that is rebuilt every day is not read meanwhile: a sweep of half a table would take the other half for deleted.

>>> window = RefreshWindow.of("23:30-04:00")
>>> window.holds(time(1, 15)), window.holds(time(4, 0))
(True, False)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainSerializer

from canonical.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class RefreshWindow:
    """The time of the day, in the source's own zone, during which it is rebuilt. It may go past midnight."""

    begins: time
    ends: time

    @classmethod
    def of(cls, written: str) -> RefreshWindow:
        """:raises ValueError: it is not written as `23:30-04:00`, or has no length."""
        try:
            begins, ends = (datetime.strptime(each.strip(), "%H:%M").time() for each in written.split("-"))  # noqa: DTZ007
        except ValueError:
            raise ValueError("is a time of day such as 23:30-04:00") from None
        if begins == ends:
            raise ValueError("begins and ends at one time: nothing would ever be read")
        return cls(begins, ends)

    def __str__(self) -> str:
        return f"{self.begins:%H:%M}-{self.ends:%H:%M}"

    def holds(self, now: time) -> bool:
        if self.begins < self.ends:
            return self.begins <= now < self.ends
        return now >= self.begins or now < self.ends

    def insist_on_other_hours(self, where: str, zone: ZoneInfo) -> None:
        """:raises UnavailableError: the source is being rebuilt now."""
        if self.holds(datetime.now(zone).time()):
            what = f"is rebuilt every day from {self.begins:%H:%M} to {self.ends:%H:%M} ({zone.key}), and is read after that"
            raise UnavailableError(where, what)


def _window(value: Any) -> Any:
    return RefreshWindow.of(value) if isinstance(value, str) else value


RefreshHours = Annotated[RefreshWindow | None, BeforeValidator(_window), PlainSerializer(lambda value: value and str(value))]
"""A setting: `23:30-04:00`, or none."""
