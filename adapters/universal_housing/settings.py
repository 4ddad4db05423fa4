"""The section of a Universal Housing adapter in ironbridge.toml has these settings."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from adapters.kit.open_days import NO_DAYS
from adapters.kit.sql_session import SqlSettings

_OWN_COLUMN = r"^([A-Za-z_][A-Za-z0-9_$]*)?$"


class UniversalHousingSettings(SqlSettings):
    """
    One Universal Housing database, besides what every SQL database may say.

    Columns that begin with `u_` are a council's own: `uprn_column` of the table property holds the UPRN,
    `payment_reference_column` of tenagree the number that a tenant quotes with a payment. Empty where a council has no such
    column.
    """

    schema_name: str | None = Field(default="dbo", alias="schema")
    no_days: frozenset[date] = NO_DAYS | {date(2079, 6, 6)}  # the last day that a smalldatetime can hold
    uprn_column: str = Field(default="u_llpg_ref", pattern=_OWN_COLUMN)
    payment_reference_column: str = Field(default="u_saff_rentacc", pattern=_OWN_COLUMN)
