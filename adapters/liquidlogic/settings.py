"""The section of a Liquidlogic adapter in ironbridge.toml has these settings."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, field_validator

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


class People(StrEnum):
    """This choice says which persons the person stream reads: DIM_PERSON also holds parents, carers and neighbours."""

    CLIENTS = "clients"
    EVERYBODY = "everybody"


class UPNReason(StrEnum):
    """This choice says which table holds the reason for a missing UPN, besides the UPN column itself."""

    NOWHERE = "nowhere"
    FACT_903_DATA = "FACT_903_DATA"


class LiquidlogicSettings(SqlSettings):
    """
    One Liquidlogic warehouse (HDM): whom and what to read of it, besides what every SQL database may say.

    `schema` is `HDM.Child_Social` where it lies in another database of the same SQL Server.
    """

    schema_name: str | None = Field(default="Child_Social", alias="schema")
    people: People = People.CLIENTS
    upn_reason: UPNReason = UPNReason.NOWHERE
    cin_plan_types: tuple[str, ...] = ("FP",)

    @field_validator("tail")
    @classmethod
    def _known_streams(cls, value: dict[str, str]) -> dict[str, str]:
        for stream in value:
            if stream not in STREAMS:
                raise ValueError(f"tail.{stream}: no such stream; there are {', '.join(STREAMS)}")
        return value
