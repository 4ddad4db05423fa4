"""The section of a Business World adapter in ironbridge.toml has these settings."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field, field_validator

from adapters.kit.codes import CodeList
from adapters.kit.sql_session import SqlSettings

VOUCHER_TYPE, PAY_METHOD = "voucher_type", "pay_method"
"""The code maps that a council gives."""


class VoucherKind(StrEnum):
    """A voucher type is of one of these kinds; `codes` in the code map `voucher_type` says of which."""

    INVOICE = "invoice"
    CREDIT_NOTE = "credit-note"
    PAYMENT = "payment"
    REVERSAL = "reversal"
    """It takes an invoice back (below zero) or a payment (above zero)."""
    BUDGET = "budget"
    JOURNAL = "journal"
    """Every other one: its ledger lines are read, and its supplier items are not."""


class BusinessWorldSettings(SqlSettings):
    """
    One Business World database, besides what every SQL database may say.

    `supplier_attribute` and `customer_attribute` are the attributes under which agladdress has their addresses; without one
    they are read without addresses. Suppliers of a group in `employee_groups` are employees. `sundry_name` is the column
    of asutrans and asuhistr that names the payee of a sundry supplier's item.
    """

    supplier_attribute: str | None = "A5"
    customer_attribute: str | None = None
    employee_groups: tuple[str, ...] = ()
    sundry_name: str = Field(default="description", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")

    @field_validator("codes")
    @classmethod
    def _known_kinds(cls, value: dict[str, CodeList]) -> dict[str, CodeList]:
        given = value[VOUCHER_TYPE].codes.values() if VOUCHER_TYPE in value else ()
        if not set(given) <= set(VoucherKind):
            raise ValueError(f"voucher_type: a code's kind is one of {', '.join(VoucherKind)}")
        return value

    def types(self, *kinds: VoucherKind) -> list[str]:
        """The voucher types that are of these kinds, in capitals."""
        given: Mapping[str, str] = self.codes[VOUCHER_TYPE].codes if VOUCHER_TYPE in self.codes else {}
        return sorted(local.strip().upper() for local, kind in given.items() if kind in kinds)
