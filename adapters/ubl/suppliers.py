"""Suppliers: what a document says of its seller (EN 16931 BG-4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from adapters.kit.layout_kinds import FoundRow, filled_in
from adapters.kit.rows import Filled, Soft, Spelt, row_of
from adapters.port import Row
from adapters.ubl.names import Endpoint, Identified, Registered, SellerName, VatRegistered, seller_number
from canonical.finance import Supplier
from canonical.key import key_of
from canonical.people import Address, ContactPoint

_PARTY = "cac:AccountingSupplierParty/cac:Party"
_ADDRESS = f"{_PARTY}/cac:PostalAddress"


@row_of("Invoice|CreditNote", key="number")
class Seller(NamedTuple):
    number: Filled[str]
    registered: Registered
    identified: Identified
    endpoint: Endpoint
    vat: Soft[VatRegistered]
    name: SellerName
    street: Annotated[str | None, Spelt(f"{_ADDRESS}/cbc:StreetName")]
    more: Annotated[str | None, Spelt(f"{_ADDRESS}/cbc:AdditionalStreetName")]
    line: Annotated[str | None, Spelt(f"{_ADDRESS}/cac:AddressLine/cbc:Line")]
    town: Annotated[str | None, Spelt(f"{_ADDRESS}/cbc:CityName")]
    postcode: Soft[Annotated[str | None, Spelt(f"{_ADDRESS}/cbc:PostalZone")]]
    country: Annotated[str | None, Spelt(f"{_ADDRESS}/cac:Country/cbc:IdentificationCode")]
    telephone: Annotated[str | None, Spelt(f"{_PARTY}/cac:Contact/cbc:Telephone")]
    email: Annotated[str | None, Spelt(f"{_PARTY}/cac:Contact/cbc:ElectronicMail")]


KINDS = (Seller,)


def sellers(records: Iterator[FoundRow], _: frozenset[str]) -> Iterator[Row]:
    return (filled_in(Seller, row, number=seller_number(Seller(*row))) for _, row, _ in records)


def supplier(source: str, s: Seller) -> Supplier:
    british = s.country in ("GB", None)  # the postcode and the VAT number of another country have another form
    lines = tuple(each for each in (s.street, s.more, s.line) if each)
    address = Address(lines=lines, town=s.town, postcode=s.postcode if british else None)
    points = (("phone", s.telephone), ("email", s.email))
    return Supplier(
        key=key_of(source, "supplier", s.number),
        number=s.number,
        name=s.name,
        vat_number=s.vat if s.vat and (s.vat[:2] in ("GB", "XI") or s.vat[:1].isdigit()) else None,
        company_number=s.registered,
        addresses=(address,) if lines or s.town or address.postcode else (),
        contacts=tuple(ContactPoint(system=system, value=value) for system, value in points if value),
    )
