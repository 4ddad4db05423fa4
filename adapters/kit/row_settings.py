"""Settings that say how values of rows are understood, whatever they are read from."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from pydantic import ConfigDict, Field, field_validator

from adapters.kit.codes import CodeList
from adapters.kit.open_days import NoDaysSettings


class RowSettings(NoDaysSettings):
    """
    These settings are shared by all adapters whose rows are declared with `row_of`.

    `time_zone` is the zone of the local times that the source writes without one. `codes` are code maps by name, see
    `adapters.kit.codes`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    time_zone: str = "Europe/London"
    codes: dict[str, CodeList] = Field(default_factory=dict)

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (ValueError, OSError, KeyError):
            raise ValueError("is no time zone such as Europe/London") from None

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)
