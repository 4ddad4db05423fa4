"""The section of an Academy adapter in ironbridge.toml has these settings."""

from __future__ import annotations

from datetime import date

from adapters.kit.open_days import NO_DAYS
from adapters.kit.sql_session import SqlSettings


class AcademySettings(SqlSettings):
    """
    One Academy database, besides what every SQL database may say.

    `claimant_member` is the `member_id` that the claimant has among the members of a claim. Without it a claim names no claimant:
    its members are published all the same.
    """

    no_days: frozenset[date] = NO_DAYS | {date(2099, 12, 31)}  # the end of what is open
    claimant_member: int | None = None
