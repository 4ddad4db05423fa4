"""Settings that say how values of rows are understood, whatever they are read from."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Field

from adapters.kit.codes import CodeList
from adapters.kit.open_days import NoDaysSettings


def _known(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (ValueError, OSError, KeyError):
        raise ValueError("is no time zone such as Europe/London") from None


TimeZone = Annotated[str, AfterValidator(_known)]
"""A time zone by its name in the IANA's database, such as Europe/London."""


class RowSettings(NoDaysSettings):
    """
    These settings are shared by all adapters whose rows are declared with `row_of`.

    `time_zone` is the zone of the local times that the source writes without one. `codes` are code maps by name, see
    `adapters.kit.codes`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    time_zone: TimeZone = "Europe/London"
    codes: dict[str, CodeList] = Field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)
