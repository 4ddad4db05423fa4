"""The section of a hospital adapter in ironbridge.toml has these settings."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator
from sqlalchemy import make_url

from adapters.kit.mllp import MllpSettings
from canonical.connect.sql import SqlUrl

EVENTS = ("A01", "A02", "A03", "A08", "A11", "A13", "A28", "A31", "A40")


class HospitalSettings(MllpSettings):
    """
    These settings say how the messages of one hospital are read, or of one trust that numbers its patients in one way.

    `url` is the database of the register (PostgreSQL or SQLite), which remembers what the messages so far said.
    `identifier_types` (PID-3.5) mark the hospital's own number of a patient, the first that is found counts; with `authority`
    only numbers of that one (PID-3.4) do. An identifier of the type or the authority in `nhs` is the NHS number. `visit` is the
    field that holds the number of a stay, `doctor` the one that holds the consultant. Events in `ignore` are accepted unread.
    """

    url: SqlUrl
    identifier_types: tuple[str, ...] = Field(default=("MR", "PI"), min_length=1)
    authority: str | None = Field(default=None, min_length=1)
    nhs: tuple[str, ...] = ("NH", "NHS")
    visit: Literal["PV1-19", "PV1-50", "PID-18"] = "PV1-19"
    doctor: Literal["PV1-7", "PV1-8", "PV1-9", "PV1-17"] = "PV1-7"
    ignore: frozenset[str] = frozenset()
    time_zone: str = "Europe/London"

    @field_validator("url")
    @classmethod
    def _kept_well(cls, value: SecretStr) -> SecretStr:
        if make_url(value.get_secret_value()).get_backend_name() not in ("postgresql", "sqlite"):
            raise ValueError("begins with postgresql:// or sqlite://")
        return value

    @field_validator("ignore")
    @classmethod
    def _others(cls, value: frozenset[str]) -> frozenset[str]:
        if read := sorted(value & set(EVENTS)):
            raise ValueError(f"{', '.join(read)} would be lost: leave out the events that are read")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return ZoneInfo(value).key
        except (ValueError, OSError, KeyError):
            raise ValueError("is no time zone such as Europe/London") from None
