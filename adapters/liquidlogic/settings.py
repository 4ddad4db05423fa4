"""What the section of a Liquidlogic adapter in ironbridge.toml may say."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum

from pydantic import Field, field_validator, model_validator

from adapters.kit.sql_session import SqlSettings

STREAMS = (
    "person",
    "care-episode",
    "assessment",
    "cin-plan",
    "cp-plan",
    "section-47-enquiry",
    "looked-after-episode",
    "placement",
    "involvement",
    "health-screening",
    "permanence",
    "care-leaver",
)

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")


class People(StrEnum):
    """Whom the person stream reads: DIM_PERSON also holds parents, carers and neighbours."""

    CLIENTS = "clients"
    EVERYBODY = "everybody"


class UPNReason(StrEnum):
    """Where the reason for a missing UPN stands, besides in the UPN column itself."""

    NOWHERE = "nowhere"
    FACT_903_DATA = "FACT_903_DATA"


class LiquidlogicSettings(SqlSettings):
    """
    One Liquidlogic warehouse (HDM).

    `schema_name` (in the file: `schema`) is Child_Social, or `HDM.Child_Social` from another database of the same SQL
    Server; MariaDB and SQLite have no schemas and read the database of the URL. `tail` names, for a stream, the column
    of its main table that shows changes; a stream without one is swept.
    """

    schema_name: str = Field(default="Child_Social", alias="schema")
    every: timedelta = Field(default=timedelta(minutes=5), gt=timedelta(0))
    people: People = People.CLIENTS
    upn_reason: UPNReason = UPNReason.NOWHERE
    cin_plan_types: tuple[str, ...] = ("FP",)
    tail: dict[str, str] = Field(default_factory=dict)
    tail_overlap: timedelta = Field(default=timedelta(minutes=2), ge=timedelta(0))
    sweep_every: timedelta = Field(default=timedelta(hours=12), gt=timedelta(0))

    @field_validator("schema_name")
    @classmethod
    def _plain_schema(cls, value: str) -> str:
        if not all(_NAME.fullmatch(part) for part in value.split(".")):
            raise ValueError("is a name such as Child_Social or HDM.Child_Social")
        return value

    @model_validator(mode="after")
    def _known_streams(self) -> LiquidlogicSettings:
        for stream, column in self.tail.items():
            if stream not in STREAMS:
                raise ValueError(f"tail.{stream}: no such stream; there are {', '.join(STREAMS)}")
            if not _NAME.fullmatch(column):
                raise ValueError(f"tail.{stream}: is a column's name such as LAST_UPDATED_DTTM")
        return self

    @property
    def in_schema(self) -> str | None:
        return None if self.kind in ("sqlite", "mysql", "mariadb") else self.schema_name
