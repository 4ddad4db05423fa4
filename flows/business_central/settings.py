"""These settings say how a Business Central company is reached, and how the council's codes are called in it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, field_validator

from canonical.connect.address import Address

Code20 = Annotated[str, StringConstraints(pattern=r"^[^a-z]+$", max_length=20)]
"""A Business Central `Code[20]`: it keeps them in capitals, so they are asked for in capitals."""


class BusinessCentralSettings(BaseModel):
    """
    One company of one environment, and how vendors are numbered in it, whichever flow writes them.

    `base_url` is the API's root with the environment in it, `company` the company's id (not its name). The client needs
    the application permission `API.ReadWrite.All` and, in the company, permission sets to write vendors and purchases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Address
    edition: Literal["openapi", "v2.0"] = "openapi"
    """Which shapes the API has: those of Microsoft's OpenAPI file, or those of the resource pages of API v2.0."""
    company: UUID
    token_url: Address
    client_id: str
    client_secret: SecretStr
    scope: str = "https://api.businesscentral.dynamics.com/.default"

    batch: Annotated[int, Field(ge=1, le=100)] = 100
    """Operations a $batch; Business Central takes 100."""
    concurrency: Annotated[int, Field(ge=1, le=5)] = 5
    requests: Annotated[int, Field(ge=1, le=6000)] = 6000
    """Requests in 300 seconds. Business Central counts them by user: give the client a user of its own."""

    prefixes: dict[str, Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]+$", max_length=6)]] = Field(
        default_factory=dict
    )
    """Put before the vendor numbers of an adapter, where two ledgers that feed one company number alike."""
    vendor_numbers_of: Annotated[str, Field(min_length=1)] = "payables"
    """
    The adapter whose suppliers' numbers are the vendors' numbers as they are. Those of every other adapter get its prefix or a
    digest. Choose it once: under another choice vendors have other numbers.
    """

    @field_validator("prefixes")
    @classmethod
    def _apart(cls, prefixes: dict[str, str]) -> dict[str, str]:
        ordered = sorted(prefixes.values())
        if any(later.startswith(earlier) for earlier, later in pairwise(ordered)):
            raise ValueError("no prefix may begin with another one, or two ledgers could share a vendor number")
        return prefixes


class PurchaseSettings(BaseModel):
    """The flow that ships with the target has these settings: how the council's codes are called in the company."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    dimensions: dict[str, Code20] = Field(default_factory=dict)
    """Canonical dimension to Business Central dimension code. A dimension that is not named here is not sent."""
    accounts: dict[str, Code20] = Field(default_factory=dict)
    """What an extract calls an account, to the number of the G/L account; `*` stands for all that are not named."""
    default_account: Code20 | None = None
    """The G/L account of a line that names none; without it such a document is refused."""
    tax_codes: dict[Annotated[str, StringConstraints(pattern=r"^\d{1,2}(\.\d{1,2})?$")], Code20] = Field(
        default_factory=dict
    )
    """VAT rate in percent to tax code, e.g. `"20" = "VAT20"`. Empty: the company's posting groups decide."""

    redacted: Literal["neutral", "refuse"] = "neutral"
    """A supplier whose name the extract withholds: a vendor with a neutral name, or refused (and its invoices wait)."""
    redacted_name: Annotated[str, StringConstraints(min_length=1, max_length=100)] = "Redacted supplier"
