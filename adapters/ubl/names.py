"""The namespaces of UBL 2.1, and how a seller is told from all others."""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated, Any

from adapters.kit.rows import Spelt

_UBL = "urn:oasis:names:specification:ubl:schema:xsd"
NAMESPACES = {"cac": f"{_UBL}:CommonAggregateComponents-2", "cbc": f"{_UBL}:CommonBasicComponents-2"}
ROOTS = (f"{_UBL}:Invoice-2", f"{_UBL}:CreditNote-2")

_SELLER = "cac:AccountingSupplierParty/cac:Party"
Registered = Annotated[str | None, Spelt(f"{_SELLER}/cac:PartyLegalEntity/cbc:CompanyID")]
Identified = Annotated[str | None, Spelt(f"({_SELLER}/cac:PartyIdentification/cbc:ID)[1]")]
Endpoint = Annotated[str | None, Spelt(f"{_SELLER}/cbc:EndpointID")]
VatRegistered = Annotated[
    str | None, Spelt(f"{_SELLER}/cac:PartyTaxScheme[normalize-space(cac:TaxScheme/cbc:ID)='VAT']/cbc:CompanyID")
]
SellerName = Annotated[str, Spelt(f"{_SELLER}/cac:PartyLegalEntity/cbc:RegistrationName")]


def seller_number(row: Any) -> str:
    """
    The identifier by which a document names its seller: BT-30, BT-29 or BT-34. Without one, a digest of the VAT number or the
    name, which may be a sole trader's: a key names nobody.
    """
    found = row.registered or row.identified or row.endpoint
    return found or (f"v-{_digest(row.vat)}" if row.vat else f"n-{_digest(row.name or '')}")


def _digest(text: str) -> str:
    return blake2b(text.casefold().encode(), digest_size=8).hexdigest()
