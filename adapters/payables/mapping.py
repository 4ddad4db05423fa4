"""Each row of the stream as the entity that its first word names. One plain function an entity."""

from __future__ import annotations

from collections.abc import Callable

from adapters.port import Row
from canonical import CreditNote, DimensionValue, DocumentLine, Entity, Invoice, LedgerDimension, Supplier
from canonical.errors import BadRecordError, UntoldError


def entity(row: Row) -> Entity:
    """
    The entity that a row says.

    :raises BadRecordError: the row is a document, or a row of a file, that could not be read; names the rows and rule.
    :raises UntoldError: such a document may be this entity as well.
    :raises pydantic.ValidationError: the entity's own checks, such as a VAT number's check digits.
    """
    return _BY_TAG[row[0]](row)


def _supplier(row: Row) -> Supplier:
    _, key, number, name, vat, company, charity, redacted = row
    return Supplier(
        key=key, number=number, name=name, vat_number=vat, company_number=company, charity_number=charity,
        redacted=redacted,
    )  # fmt: skip


def _invoice(row: Row) -> Invoice:
    _, key, number, supplier, currency, dated, due, paid, _, lines = row
    return Invoice(
        key=key, number=number, supplier=supplier, currency=currency, document_date=dated, due_date=due,
        payment_date=paid, lines=_lines(lines),
    )  # fmt: skip


def _credit_note(row: Row) -> CreditNote:
    _, key, number, supplier, currency, dated, due, paid, corrects, lines = row
    return CreditNote(
        key=key, number=number, supplier=supplier, currency=currency, document_date=dated, due_date=due,
        payment_date=paid, corrects=corrects, lines=_lines(lines),
    )  # fmt: skip


def _lines(rows: tuple[Row, ...]) -> tuple[DocumentLine, ...]:
    return tuple(
        DocumentLine(
            number=number, description=description, account=account, net=net, tax=tax,
            dimensions=tuple(DimensionValue(dimension=d, value=v) for d, v in dimensions),
        )
        for number, description, account, net, tax, dimensions in rows
    )  # fmt: skip


def _dimension(row: Row) -> LedgerDimension:
    _, key, dimension, code, name = row
    return LedgerDimension(key=key, dimension=dimension, code=code, name=name)


def _bad(row: Row) -> Entity:
    _, key, rows, heading, rule, shape, fix = row
    raise BadRecordError(f"{key} ({rows} of the file)", field=heading, rule=rule, shape=shape, fix=fix)


def _other(row: Row) -> Entity:
    rule = "may be an invoice or a credit note: which, an amount says that cannot be read"
    raise UntoldError(row[1], field="document", rule=rule, shape="a document")


_BY_TAG: dict[str, Callable[[Row], Entity]] = {
    "supplier": _supplier,
    "invoice": _invoice,
    "credit-note": _credit_note,
    "ledger-dimension": _dimension,
    "bad": _bad,
    "other": _other,
}
