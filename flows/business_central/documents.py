"""
This flow says what Business Central should hold: a supplier as a vendor, an invoice and a credit note as unposted
purchase documents.

A body has the names of the API (Microsoft's OpenAPI file) where it has one for the thing. Two names are ours: a line's
`account` (the number; the API wants its id, which the target looks up) and its `dimensions` (code to value code; the
API has an entity of their own for them).
Amounts are text to the penny, because JSON numbers would pass through floats; the target writes them as exact numbers.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from canonical import CreditNote, DocumentLine, Invoice, Supplier
from canonical.entity import Entity
from canonical.errors import RefusedError
from canonical.key import entity_of, key_of, read_key
from canonical.people import Address, ContactPoint
from canonical.values import Amount
from flows.business_central.settings import BusinessCentralSettings, PurchaseSettings
from flows.port import Body, Document, Facts, Grouping, Urgency

VENDOR, INVOICE, CREDIT_MEMO = "vendor", "purchaseInvoice", "purchaseCreditMemo"

# Field lengths of Business Central's tables 23 (Vendor), 38 (Purchase Header) and 39 (Purchase Line).
_NUMBER, _DOCUMENT_NUMBER, _NAME, _STREET, _CITY, _PHONE, _EMAIL, _DESCRIPTION = 20, 35, 100, 100, 30, 30, 80, 100
_STEP = 10_000  # Business Central numbers lines so, to leave room between them
_LARGEST_STEPPED = 200_000  # a line's sequence is an int32
_NAMING = {"vendor_numbers_of", "prefixes"}


class BusinessCentralFlow:
    """Suppliers, invoices and credit notes, each a subject of its own. An invoice refers to its supplier."""

    entities: tuple[type[Entity], ...] = (Supplier, Invoice, CreditNote)
    grouping = Grouping.KEY

    def __init__(self, name: str, settings: PurchaseSettings, there: BusinessCentralSettings) -> None:
        self.name = name
        naming = there.model_dump(mode="json", include=_NAMING)
        self.settings: Mapping[str, Any] = settings.model_dump(mode="json") | naming
        self._settings = settings
        self._there = there

    def desired(self, subject: str, facts: Facts) -> Document | None:
        for entity in facts:
            if isinstance(entity, Supplier):
                return self._vendor(entity)
            if isinstance(entity, Invoice | CreditNote):
                return self._purchase(entity)
        return None

    def recall(self, key: str, owner: str) -> Sequence[Document]:
        kind = KIND_OF[entity_of(key)]
        if kind == VENDOR:
            return [Document(VENDOR, recalled_vendor(key, self._there), {})]
        return [Document(kind, number, {}, refers={"vendorId": owner}) for number in _numbers(key, owner)]

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL

    def _vendor(self, supplier: Supplier) -> Document:
        if supplier.redacted and self._settings.redacted == "refuse":
            raise RefusedError(
                self.name, "redacted: the extract withholds who was paid", fix='set redacted = "neutral" to send it'
            )
        number = vendor_number(supplier.key, supplier.number, self._there)
        body: Body = {"number": number, "displayName": self._settings.redacted_name}
        if not supplier.redacted:
            body["displayName"] = supplier.name[:_NAME].strip()
            body |= {name: value for name, value in _particulars(supplier) if value}
        return Document(VENDOR, number, body)

    def _purchase(self, document: Invoice | CreditNote) -> Document:
        kind = INVOICE if isinstance(document, Invoice) else CREDIT_MEMO
        number = document_number(document)
        dates = {DATE_OF[kind]: document.document_date or document.payment_date, "dueDate": document.due_date}
        body: Body = {
            NUMBER_OF[kind]: number,
            **{name: day.isoformat() for name, day in dates.items() if day},
            "currencyCode": document.currency,
        }
        body[LINES_OF[kind]] = list(self._lines(document))
        return Document(kind, number, body, refers={"vendorId": document.supplier})

    def _lines(self, document: Invoice | CreditNote) -> Iterator[Body]:
        ordered = sorted(document.lines, key=lambda line: line.number)
        numbers = {line.number for line in ordered}
        if len(numbers) < len(ordered):
            raise RefusedError(self.name, "lines[].number: two lines have the same number")
        step = _STEP if max(numbers) <= _LARGEST_STEPPED else 1
        for line in ordered:
            yield self._line(line, line.number * step)

    def _line(self, line: DocumentLine, sequence: int) -> Body:
        body: Body = {
            "sequence": sequence,
            "lineType": "Account",
            "account": self._account(line),
            # Never left out: Business Central would put the account's name there and the two would seem to differ.
            "description": (line.description or f"Line {line.number}")[:_DESCRIPTION].strip(),
            # A unit cost below zero is refused at posting; a quantity below zero is how a line takes money off.
            "quantity": -1 if line.net < 0 else 1,
            "unitCost": money(abs(line.net)),
        }
        if tax := self._tax_code(line):
            body["taxCode"] = tax
        held = {d.dimension: d.value for d in line.dimensions}
        spoken = {
            self._settings.dimensions[name]: held[name].upper() for name in held if name in self._settings.dimensions
        }
        if spoken:
            body["dimensions"] = dict(sorted(spoken.items()))
        return body

    def _account(self, line: DocumentLine) -> str:
        if line.account is None:
            if self._settings.default_account is None:
                raise RefusedError(
                    self.name, f"lines[{line.number}].account: the line names none", fix="set default_account"
                )
            return self._settings.default_account
        named = self._settings.accounts
        return named.get(line.account) or named.get("*") or line.account.upper()

    def _tax_code(self, line: DocumentLine) -> str | None:
        if line.tax is None or not self._settings.tax_codes:
            return None
        for rate, tax_code in self._settings.tax_codes.items():
            if abs(line.net * Decimal(rate) / 100 - line.tax) <= Decimal("0.01"):  # the supplier may round either way
                return tax_code
        raise RefusedError(
            self.name,
            f"lines[{line.number}].tax: is at none of the rates in tax_codes",
            fix="add the rate to tax_codes",
        )


KIND_OF = {Supplier.type_name: VENDOR, Invoice.type_name: INVOICE, CreditNote.type_name: CREDIT_MEMO}
"""The second part of a subject's key says what it is, also where there is no document any more."""
NUMBER_OF = {VENDOR: "number", INVOICE: "vendorInvoiceNumber", CREDIT_MEMO: "vendorCreditMemoNumber"}
"""The field that a document is found again by; for a purchase document, together with its vendor."""
DATE_OF = {INVOICE: "invoiceDate", CREDIT_MEMO: "creditMemoDate"}
LINES_OF = {INVOICE: "purchaseInvoiceLines", CREDIT_MEMO: "purchaseCreditMemoLines"}

_HEADER = {"dueDate", "currencyCode", "vendorId"}
FIELDS_OF = {
    VENDOR: {
        *("number", "displayName", "phoneNumber", "email", "website", "taxRegistrationNumber", "currencyCode", "irs1099Code"),
        *("address.street", "address.city", "address.state", "address.countryLetterCode", "address.postalCode"),
    },
    **{kind: {NUMBER_OF[kind], DATE_OF[kind], LINES_OF[kind], *_HEADER} for kind in LINES_OF},
}
"""The fields that a document may have: those of the OpenAPI file that hold a text and may be written, and a document's lines."""


def code(shown: str, limit: int, *, whole: str) -> str:
    """
    A `Code` field's value for `shown`: in capitals and at most `limit` characters.

    Business Central keeps codes in capitals without blanks at the ends, so `a1` and `A1` would become one vendor. What
    cannot stand as it is (too long, small letters, a quote) gets 60 bits of a BLAKE2b digest of `whole` at its end: two
    different wholes never become one code, and the same whole is always the same code.
    """
    plain = re.sub(r"[^!-&(-~ ]", "", shown.upper())[:limit].strip()  # no apostrophe: it would end an OData literal
    if plain == shown == whole:
        return plain
    digest = hashlib.blake2b(whole.encode(), digest_size=8).digest()
    return f"{plain[: limit - 13].strip()}-{base64.b32encode(digest).decode()[:12]}"


_MARKED = re.compile(r".*-[A-Z2-7]{12}")
"""The form of a code that has a digest at its end."""


def document_number(document: Invoice | CreditNote) -> str:
    """
    The vendor's number of a document, unique for the vendor: at most 35 characters.

    An extract's numbers may repeat; a canonical key does not. The number stands alone where it is the whole identifier
    in the key, or all of it beside the supplier's own identifier, else with a digest of the key behind it.
    """
    plain = _beside(document.key, document.supplier) == (document.number,)
    return code(document.number, _DOCUMENT_NUMBER, whole=document.number if plain else document.key)


def _numbers(key: str, supplier: str) -> list[str]:
    """Return what `document_number` may have made of a document of which only the key and its supplier's key are left."""
    match _beside(key, supplier):
        case (plain,):
            return [code(plain, _DOCUMENT_NUMBER, whole=plain)]
        case _:
            return [code(part, _DOCUMENT_NUMBER, whole=key) for part in read_key(key).identifiers]


def _beside(key: str, supplier: str) -> tuple[str, ...]:
    """The identifiers in a document's key that stand behind its supplier's; all of them if it does not begin with those."""
    own, others = read_key(key).identifiers, read_key(supplier).identifiers
    return own[len(others) :] if len(own) > len(others) and own[: len(others)] == others else own


def vendor_number(key: str, number: str, settings: BusinessCentralSettings) -> str:
    """
    A supplier's number as a vendor. Two ledgers may number alike: only one ledger's numbers stand as they are, the others'
    have their ledger's prefix before them, or a digest of ledger and number behind them.
    """
    source = read_key(key).source
    if prefix := settings.prefixes.get(source):
        return code(prefix + number, _NUMBER, whole=prefix + number)
    ambiguous = _MARKED.fullmatch(number) or number.startswith(tuple(settings.prefixes.values()))
    if source == settings.vendor_numbers_of and not ambiguous:
        return code(number, _NUMBER, whole=number)
    return code(number, _NUMBER, whole=key_of(source, Supplier.type_name, number))


def recalled_vendor(key: str, settings: BusinessCentralSettings) -> str:
    """
    Return what `vendor_number` made of a supplier of which only the key is left: its number is its identifier, if it
    has one.
    """
    return vendor_number(key, ":".join(read_key(key).identifiers), settings)


def money(amount: Amount) -> str:
    """An amount as it stands in a body: `12.30`."""
    return format(amount.quantize(Decimal("0.01")), "f")


def _particulars(supplier: Supplier) -> Iterator[tuple[str, Body | str | None]]:
    yield "address", _address(supplier.addresses)
    # Too long or of a form that Business Central refuses: left out rather than cut into another number.
    yield "phoneNumber", _contact(supplier.contacts, "phone", rf"[^A-Za-z]{{1,{_PHONE}}}")
    yield "email", _contact(supplier.contacts, "email", rf"(?=.{{3,{_EMAIL}}}$)[^@\s]+@[^@\s]+")
    yield "taxRegistrationNumber", f"GB{supplier.vat_number}" if supplier.vat_number else None


def _address(addresses: Iterable[Address]) -> Body:
    current = [a for a in addresses if a.end_date is None]
    if not current:
        return {}
    chosen = max(current, key=lambda a: a.start_date or date.min)
    street, town = ", ".join(chosen.lines), chosen.town
    fields = {"street": street[:_STREET].strip(), "city": (town or "")[:_CITY].strip(), "postalCode": chosen.postcode}
    return {name: value for name, value in fields.items() if value}


def _contact(contacts: Iterable[ContactPoint], system: str, form: str) -> str | None:
    values = (c.value for c in contacts if c.system == system)
    return next((value for value in values if re.fullmatch(form, value)), None)
