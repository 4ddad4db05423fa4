"""
The wire of the Business Central sandbox: shapes of what it takes, its errors, and OData's `$filter`.

Vendors, purchase invoices, their lines and dimension lines have the shapes of Microsoft's published OpenAPI file.
Purchase credit memos are not in that file: theirs are those of the resource pages of API v2.0
(learn.microsoft.com, dev-itpro/api-reference/v2.0/resources/dynamics_purchasecreditmemo and …memoline, 2025).
Lengths are those of the tables behind the API (Vendor, Purchase Header, Purchase Line); the API enforces them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

Json = dict[str, Any]


class ODataError(Exception):
    """An answer that refuses: Business Central's code (its page "Error Codes" lists them) and a sentence."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.status = status
        self.body = {"error": {"code": code, "message": message}}
        super().__init__(code)


def _day(text: str) -> str:
    # The OpenAPI file says date-time, the resource pages say date, and the table keeps a date: both are taken.
    date.fromisoformat(text) if len(text) == 10 else datetime.fromisoformat(text)
    return text[:10]


def text(most: int) -> Any:
    return Annotated[str, StringConstraints(max_length=most)]


def code(most: int) -> Any:
    """A Code column: the database keeps it in upper case, and compares it so."""
    return Annotated[str, StringConstraints(max_length=most), AfterValidator(str.upper)]


def shape(name: str, fields: Mapping[str, Any]) -> Any:
    made = TypedDict(name, dict(fields), total=False)  # type: ignore[misc]  # noqa: UP013 - the names come as data
    return with_config(ConfigDict(extra="forbid", strict=True))(made)


GUID = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$")]
DAY = Annotated[
    str,
    StringConstraints(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2}))?$"
    ),
    AfterValidator(_day),
]
NUMBER = Annotated[float, Field(allow_inf_nan=False)]
LINE_TYPE = Literal["Comment", "Account", "Item", "Resource", "Fixed Asset", "Fixed_x0020_Asset", "Charge"]
ADDRESS = shape(
    "PostalAddress",
    {
        "street": text(151),  # two columns of 100 and 50, joined by a line break
        "city": text(30),
        "state": text(30),
        "countryLetterCode": text(10),
        "postalCode": text(20),
    },
)
CONVERSION = shape("UnitConversion", {"toUnitOfMeasure": text(10), "fromToConversionRate": NUMBER})
UNIT = shape("Unit", {"code": text(10), "displayName": text(50), "symbol": text(10), "unitConversion": CONVERSION})
LINE = {
    "documentId": GUID,
    "sequence": int,
    "itemId": GUID,
    "accountId": GUID,
    "lineType": LINE_TYPE,
    "description": text(100),
    "unitCost": NUMBER,
    "quantity": NUMBER,
    "discountAmount": NUMBER,
    "discountPercent": NUMBER,
    "discountAppliedBeforeTax": bool,
    "taxCode": code(20),
}
INVOICE_LINE = LINE | {
    "lineDetails": shape("LineDetails", {"number": text(20), "displayName": text(100)}),
    "unitOfMeasure": UNIT,
    "expectedReceiptDate": DAY,
}
CREDIT_LINE = LINE | {
    "lineObjectNumber": text(20),
    "unitOfMeasureId": GUID,
    "unitOfMeasureCode": text(10),
    "itemVariantId": GUID,
    "locationId": GUID,
}
DOCUMENT = {
    "number": code(20),
    "dueDate": DAY,
    "vendorId": GUID,
    "vendorNumber": code(20),
    "vendorName": text(100),
    "currencyCode": code(10),
    "discountAmount": NUMBER,
    "discountAppliedBeforeTax": bool,
}
CREDIT_ADDRESSES = {
    f"{party}{part}": text(most)
    for party in ("buyFrom", "payTo")
    for part, most in {
        "AddressLine1": 100, "AddressLine2": 50, "City": 30, "Country": 10, "State": 30, "PostCode": 20
    }.items()
}  # fmt: skip
INVOICE = DOCUMENT | {"invoiceDate": DAY, "vendorInvoiceNumber": code(35), "buyFromAddress": ADDRESS}
CREDIT_MEMO = (
    DOCUMENT
    | CREDIT_ADDRESSES
    | {
        "creditMemoDate": DAY,
        "postingDate": DAY,
        "vendorCreditMemoNumber": code(35),
        "payToVendorId": GUID,
        "payToVendorNumber": code(20),
        "payToName": text(100),
        "shortcutDimension1Code": code(20),
        "shortcutDimension2Code": code(20),
        "currencyId": GUID,
        "paymentTermsId": GUID,
        "shipmentMethodId": GUID,
        "purchaser": text(20),
        "invoiceId": GUID,
        "invoiceNumber": code(20),
        "vendorReturnReasonId": GUID,
    }
)
VENDOR = {
    "number": code(20),
    "displayName": text(100),
    "address": ADDRESS,
    "phoneNumber": text(30),
    "email": text(80),
    "website": text(80),
    "taxRegistrationNumber": text(20),
    "currencyId": GUID,
    "currencyCode": code(10),
    "irs1099Code": code(10),
    "paymentTermsId": GUID,
    "paymentMethodId": GUID,
    "taxLiable": bool,
    "blocked": Literal[" ", "_x0020_", "Payment", "All"],
}
DIMENSION_LINE = {
    "parentId": GUID,
    "id": GUID,
    "code": code(20),
    "displayName": text(30),
    "valueId": GUID,
    "valueCode": code(20),
    "valueDisplayName": text(50),
}
# "Read-Only" on the resource pages; the API answers BadRequest_InvalidOperation to whoever sends one.
READ_ONLY = {
    *("id", "balance", "status", "lastModifiedDateTime", "pricesIncludeTax", "totalTaxAmount", "taxPercent"),
    *("totalAmountExcludingTax", "totalAmountIncludingTax", "amountExcludingTax", "amountIncludingTax"),
    *("invoiceDiscountAllocation", "netAmount", "netTaxAmount", "netAmountIncludingTax"),
}
LINES_OF = {"purchaseInvoices": "purchaseInvoiceLines", "purchaseCreditMemos": "purchaseCreditMemoLines"}
SHAPES: dict[str, TypeAdapter[Json]] = {
    "vendors": TypeAdapter(shape("Vendor", VENDOR)),
    "purchaseInvoiceLines": TypeAdapter(shape("PurchaseInvoiceLine", INVOICE_LINE)),
    "purchaseCreditMemoLines": TypeAdapter(shape("PurchaseCreditMemoLine", CREDIT_LINE)),
    "purchaseInvoices": TypeAdapter(shape("PurchaseInvoice", INVOICE)),
    "purchaseCreditMemos": TypeAdapter(shape("PurchaseCreditMemo", CREDIT_MEMO)),
    "dimensionLines": TypeAdapter(shape("DimensionLine", DIMENSION_LINE)),
}


def taken(entity_set: str, body: Any) -> Json:
    """A body as the API takes it: annotations ignored, codes in upper case; or ODataError."""
    if not isinstance(body, dict):
        raise ODataError("BadRequest", "Invalid Request Body")
    sent = {name: value for name, value in body.items() if not name.startswith("@odata.")}
    if fixed := sorted(READ_ONLY & sent.keys() - ({"id"} if entity_set == "dimensionLines" else set())):
        raise ODataError("BadRequest_InvalidOperation", f"Control '{fixed[0]}' is read-only")
    try:
        return SHAPES[entity_set].validate_python(sent)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, fault["loc"]))
        if fault["type"] == "string_too_long":
            most = fault["ctx"]["max_length"]
            said = f"The length of the string in '{name}' must be less than or equal to {most} characters."
            raise ODataError("Application_StringExceededLength", said) from error
        if fault["type"] == "extra_forbidden":
            raise ODataError("BadRequest", f"The property '{name}' does not exist on type '{entity_set}'.") from error
        raise ODataError("BadRequest", f"Unable to convert value of '{name}': {fault['msg']}") from error


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def priced(document: Json, lines: list[Json], rates: Mapping[str, float]) -> None:
    """Work out what the server works out: amounts and tax of the lines, the document's discount over them, totals."""
    amounts = []
    for line in lines:
        gross = Decimal(str(line["quantity"])) * Decimal(str(line["unitCost"]))
        percent = Decimal(str(line.get("discountPercent", 0)))
        off = Decimal(str(line["discountAmount"])) if "discountAmount" in line else gross * percent / 100
        amounts.append(_cents(gross - off))
    whole, discount = sum(amounts, Decimal(0)), Decimal(str(document.get("discountAmount", 0)))
    for line, amount in zip(lines, amounts, strict=True):
        rate = Decimal(str(rates[line.get("taxCode", "")]))
        share = _cents(discount * amount / whole) if whole else Decimal(0)
        tax, net_tax = _cents(amount * rate / 100), _cents((amount - share) * rate / 100)
        worked_out = {
            "taxPercent": rate, "amountExcludingTax": amount, "totalTaxAmount": tax, "amountIncludingTax": amount + tax,
            "invoiceDiscountAllocation": share, "netAmount": amount - share, "netTaxAmount": net_tax,
            "netAmountIncludingTax": amount - share + net_tax,
        }  # fmt: skip
        line.update({name: float(value) for name, value in worked_out.items()})
    net, tax = (sum((Decimal(str(line[n])) for line in lines), Decimal(0)) for n in ("netAmount", "netTaxAmount"))
    totals = {"totalAmountExcludingTax": net, "totalTaxAmount": tax, "totalAmountIncludingTax": net + tax}
    document.update({name: float(value) for name, value in totals.items()})


# $filter: comparisons joined by `and` and `or`, with parentheses. A tree is ("and" | "or", left, right) or
# (operator, property, value).

TOKEN = re.compile(r"\s*(?:(\()|(\))|('(?:[^']|'')*')|([^\s()']+))")
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: bool(a == b),
    "ne": lambda a, b: bool(a != b),
    "gt": lambda a, b: bool(a > b),
    "ge": lambda a, b: bool(a >= b),
    "lt": lambda a, b: bool(a < b),
    "le": lambda a, b: bool(a <= b),
}
Tree = tuple[str, Any, Any]


def parse_filter(source: str) -> Tree:
    tokens, place = [], 0
    while source[place:].strip():
        found = TOKEN.match(source, place)
        if not found:
            raise ODataError("BadRequest_NotFound", f"Bad Request - Error in query syntax at position {place}.")
        tokens.append(found[0].strip())
        place = found.end()
    waiting = iter([*tokens, ""])
    tree, last = _joined(waiting)
    if last:
        raise ODataError("BadRequest_NotFound", "Bad Request - Error in query syntax: an operator was expected.")
    return tree


def _joined(tokens: Iterator[str]) -> tuple[Tree, str]:
    """`and` binds tighter than `or` (OData 4.01 part 2, 5.1.1.17)."""
    left, last = _compared(tokens)
    while last == "and":
        right, last = _compared(tokens)
        left = ("and", left, right)
    if last == "or":
        rest, last = _joined(tokens)
        if len(_fields(left) | _fields(rest)) > 1:
            # https://learn.microsoft.com/dynamics365/business-central/dev-itpro/webservices/odata-known-limitations
            raise ODataError("BadRequest", "The 'OR' operator is not supported on distinct fields on an OData filter.")
        return ("or", left, rest), last
    return left, last


def _fields(tree: Tree) -> set[str]:
    operator, left, right = tree
    return _fields(left) | _fields(right) if operator in ("and", "or") else {left}


def _compared(tokens: Iterator[str]) -> tuple[Tree, str]:
    first = next(tokens, "")
    if first == "(":
        inner, last = _joined(tokens)
        if last != ")":
            raise ODataError("BadRequest_NotFound", "')' or operator expected in $filter.")
        return inner, next(tokens, "")
    operator, value = next(tokens, ""), next(tokens, "")
    if operator not in COMPARE or not value:
        raise ODataError("BadRequest_NotFound", "Bad Request - Error in query syntax: a comparison was expected.")
    return (operator, first, _literal(value)), next(tokens, "")


def _literal(token: str) -> Any:
    if token.startswith("'"):
        return token[1:-1].replace("''", "'")
    if token in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[token]
    try:
        return float(token)
    except ValueError:
        return token  # a GUID, a date, a date and time


def holds(tree: Tree, row: Json) -> bool:
    """Tell whether a row passes; text is compared without regard to case, as the Code columns are."""
    operator, left, right = tree
    if operator in ("and", "or"):
        return (all if operator == "and" else any)(holds(branch, row) for branch in (left, right))
    value = row.get(left, "" if isinstance(right, str) else None)
    if isinstance(value, str) and isinstance(right, str):
        value, right = value.upper(), right.upper()
    try:
        return COMPARE[operator](value, right)
    except TypeError:
        return False


def candidates(tree: Tree, look_up: Callable[[str, str], set[str] | None]) -> set[str] | None:
    """The keys an index says may pass, so that no collection is walked for one number; None: walk it."""
    operator, left, right = tree
    if operator in ("and", "or"):
        found = [candidates(branch, look_up) for branch in (left, right)]
        known = [keys for keys in found if keys is not None]
        if operator == "or":
            return known[0] | known[1] if len(known) == 2 else None
        return min(known, key=len, default=None)
    return look_up(left, right) if operator == "eq" and isinstance(right, str) else None
