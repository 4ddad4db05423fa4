"""Suppliers (asuheader) and customers (acuheader), with their addresses (agladdress)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, NamedTuple

from sqlalchemy import ColumnElement, and_, case

from adapters.business_world.settings import PAY_METHOD, BusinessWorldSettings
from adapters.kit.sql import Choice, CodeMap, CodesFromSettings, Joined, Soft, Tables, row_of
from adapters.kit.sql_conditions import plain_or_blank
from canonical.finance import BankAccount, Customer, Supplier, SupplierKind
from canonical.key import key_of
from canonical.people import Address

STATUS = CodeMap(
    "supplier_status", {"N": "active", "P": "parked", "C": "closed", "T": "terminated"},
    owner="Unit4", agreed=date(2026, 11, 26),
)  # fmt: skip
MAIN = "1"


@row_of("agladdress", order="sequence_no", of=("client", "dim_value"), also={
    "client": str, "dim_value": str, "attribute_id": str, "address_type": str, "sequence_no": int,
})  # fmt: skip
class Agladdress(NamedTuple):
    address: str | None
    place: str | None
    zip_code: Soft[str | None]


@row_of("asuheader", key=("client", "apar_id"), also={"apar_gr_id": str, "apar_once": str})
class Asuheader(NamedTuple):
    client: str
    apar_id: str
    apar_name: str
    status: Soft[Annotated[str | None, STATUS]]
    vat_reg_no: Soft[str | None]
    comp_reg_no: Soft[str | None]
    terms_id: str | None
    pay_method: Soft[Annotated[str | None, CodesFromSettings(PAY_METHOD)]]
    clearing_code: Soft[str | None]
    bank_account: str | None
    iban: str | None
    swift: str | None
    expired_date: date | None
    kind: Joined[str | None]
    addresses: tuple[Agladdress, ...] = ()


@row_of("acuheader", key=("client", "apar_id"))
class Acuheader(NamedTuple):
    client: str
    apar_id: str
    apar_name: str
    vat_reg_no: Soft[str | None]
    comp_reg_no: Soft[str | None]
    addresses: tuple[Agladdress, ...] = ()


def suppliers(tables: Tables, settings: BusinessWorldSettings) -> Choice:
    them = tables[Asuheader]
    groups = [each.strip().upper() for each in settings.employee_groups]
    kind = case(
        (plain_or_blank(them.c.apar_gr_id).in_(groups), SupplierKind.EMPLOYEE.value),
        (sundry(them.c.apar_once), SupplierKind.SUNDRY.value),
    )
    return Choice(joined={"kind": kind}, parts={"addresses": _addresses(tables, settings.supplier_attribute)})


def customers(tables: Tables, settings: BusinessWorldSettings) -> Choice:
    return Choice(parts={"addresses": _addresses(tables, settings.customer_attribute)})


def _addresses(tables: Tables, attribute: str | None) -> Choice | None:
    there = tables[Agladdress]
    if attribute is None:
        return None
    return Choice(and_(plain_or_blank(there.c.attribute_id) == attribute.upper(), plain_or_blank(there.c.address_type) == MAIN))


def sundry(once: ColumnElement[str]) -> ColumnElement[bool]:
    return plain_or_blank(once) == "Y"


def supplier(source: str, row: Asuheader) -> Supplier:
    return Supplier(
        key=key_of(source, "supplier", row.client, row.apar_id),
        number=number(row.client, row.apar_id),
        name=row.apar_name,
        vat_number=row.vat_reg_no,
        company_number=row.comp_reg_no,
        addresses=_main(row.addresses),
        kind=None if row.kind is None else SupplierKind(row.kind),
        blocked=None if row.status is None else row.status != "active",
        end_date=row.expired_date,
        payment_terms=row.terms_id,
        payment_method=row.pay_method,
        bank_account=_bank_account(row),
    )


def customer(source: str, row: Acuheader) -> Customer:
    return Customer(
        key=key_of(source, "customer", row.client, row.apar_id),
        number=number(row.client, row.apar_id),
        name=row.apar_name,
        vat_number=row.vat_reg_no,
        company_number=row.comp_reg_no,
        addresses=_main(row.addresses),
    )


def number(client: str, apar_id: str) -> str:
    """The number of a supplier or customer: it is unique together with the client alone."""
    return f"{client}:{apar_id}"


def _main(addresses: tuple[Agladdress, ...]) -> tuple[Address, ...]:
    """The main address: where there are several, the one with the lowest sequence_no counts, and it comes first."""
    if not addresses:
        return ()
    main = addresses[0]
    lines = tuple(line for each in (main.address or "").splitlines() if (line := each.strip()))
    return (Address(lines=lines, town=main.place, postcode=main.zip_code),)


def _bank_account(row: Asuheader) -> BankAccount | None:
    number = row.bank_account if row.bank_account and row.bank_account.strip("0") else None  # 00000000 stands for none
    sort_code = row.clearing_code if row.clearing_code and row.clearing_code.strip("0- ") else None
    if not (number or row.iban):
        return None
    return BankAccount(iban=row.iban, bic=row.swift, sort_code=sort_code, account_number=number)
