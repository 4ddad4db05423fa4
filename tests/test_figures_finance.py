"""Figures of finance and of data quality, each over a small world whose answer was counted by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from canonical import Entity
from ironbridge.figures.figure import figure
from ironbridge.figures.reading import Behind, DateRange, FigureReader
from ironbridge.store.quality import FaultyRow
from tests.figure_tables import made, numbers, opened_of, shown

MARCH = ("2026-03-01", "2026-03-31")


def supplier(number: int, name: str, of: str = "unit4", **fields: Any) -> Entity:
    return made("supplier", number, of=of, number=str(number), name=name, **fields)


def document(kind: str, number: str, supplier: int, *nets: str, of: str = "unit4", **fields: Any) -> Entity:
    lines = [
        {"number": i, "net": net, "account": f"R{i}", "dimensions": [{"dimension": "COSTC", "value": f"C{i}"}]}
        for i, net in enumerate(nets, 1)
    ]
    return made(kind, f"{supplier}-{number}", of=of, number=number, supplier=f"{of}:supplier:{supplier}", lines=lines, **fields)


def payment(number: int, day: str, *documents: str) -> Entity:
    settles = [{"document": each, "amount": "1.00"} for each in documents]
    whole = {"supplier": "unit4:supplier:1", "amount": "1.00", "payment_date": day, "settles": settles}
    return made("payment", number, of="unit4", number=str(number), **whole)


SPENT = [
    supplier(1, "Coalbrookdale Works Ltd", company_number="00000001"),
    supplier(2, "Abraham Darby"),  # nobody knows whether that is a firm
    supplier(3, "Sundry payees", kind="sundry", vat_number="123456782"),
    document("invoice", "A1", 1, "500.00", payment_date="2026-03-02"),  # not over 500
    document("invoice", "A2", 1, "250.00", "250.01", payment_date="2026-03-31"),
    document("credit-note", "A3", 1, "700.00", payment_date="2026-03-05"),
    document("invoice", "A4", 2, "900.00"),
    payment(1, "2026-03-09", "unit4:invoice:2-A4"),
    document("invoice", "A5", 3, "600.00", payment_date="2026-03-03"),
    document("invoice", "A6", 1, "800.00", payment_date="2026-03-04", payee="Mary Fletcher"),
    document("invoice", "A7", 1, "800.00", payment_date="2026-04-01"),
    document("invoice", "A8", 1, "800.00"),  # not paid
]


def test_spend_over_500_counts_whole_documents_and_credit_notes_below_zero() -> None:
    [line] = shown("spend-over-500", *MARCH, SPENT)
    assert line == {"month": "2026-03", "currency": "GBP", "documents": 5, "redacted": 3, "amount": Decimal("2100.01")}


def test_the_file_of_spend_names_organisations_alone() -> None:
    reader, days = FigureReader(opened_of(SPENT)), DateRange(*map(date.fromisoformat, MARCH))
    rows = reader.rows(figure("spend-over-500"), days, Behind(), reveal=True, most=10)
    names = ("beneficiary", "department", "purpose", "amount")
    assert {row["document"].rpartition("-")[2]: numbers(row, *names) for row in rows.records} == {
        "A2": ("Coalbrookdale Works Ltd", "COSTC C1; COSTC C2", "R1; R2", Decimal("500.01")),
        "A3": ("Coalbrookdale Works Ltd", "COSTC C1", "R1", Decimal("-700.00")),
        "A4": ("REDACTED", "COSTC C1", "R1", Decimal("900.00")),
        "A5": ("REDACTED", "COSTC C1", "R1", Decimal("600.00")),
        "A6": ("REDACTED", "COSTC C1", "R1", Decimal("800.00")),
    }
    hidden = reader.rows(figure("spend-over-500"), days, Behind(), reveal=False, most=10)
    assert {numbers(row, "beneficiary", "amount", "currency") for row in hidden.records} == {("•••", "•••", "GBP")}


def test_an_invoice_is_in_time_on_the_30th_day() -> None:
    world = [
        document("invoice", "1", 1, "1.00", document_date="2026-03-01", payment_date="2026-03-31"),
        document("invoice", "2", 1, "1.00", document_date="2026-02-28", payment_date="2026-03-31"),  # day 31
        document("invoice", "3", 1, "1.00", document_date="2026-03-01"),  # paid in two parts
        payment(1, "2026-03-09", "unit4:invoice:1-3"),
        payment(2, "2026-03-11", "unit4:invoice:1-3", "unit4:invoice:1-4"),
        document("invoice", "4", 1, "1.00", document_date="2026-03-01", outstanding="0.50"),  # the other half is open
        document("invoice", "5", 1, "1.00", payment_date="2026-03-11"),
        document("invoice", "6", 1, "1.00", document_date="2026-01-01"),  # open
        document("invoice", "7", 1, "1.00", document_date="2026-03-31", payment_date="2026-04-01"),
    ]
    [line] = shown("prompt-payment", *MARCH, world)
    names = ("invoices", "in_time", "late", "undated", "in_time_percent", "average_days")
    assert numbers(line, *names) == (4, 2, 1, 1, 66.7, 23.7)  # 30, 31 and 10 days


def test_a_pair_of_invoices_is_found_in_one_ledger_and_across_two() -> None:
    old = {"of": "oracle"}
    world = [
        supplier(1, "Coalbrookdale Works Ltd"),
        supplier(7, "COALBROOKDALE WORKS LIMITED", "oracle"),
        supplier(8, "Blists Hill Ltd", "oracle"),
        document("invoice", "INV-0042", 1, "100.00", document_date="2026-03-01", payment_date="2026-03-02"),
        document("invoice", "inv 0042", 7, "60.00", "40.00", document_date="2026-01-01", payment_date="2026-01-02", **old),
        document("invoice", "INV0042", 8, "100.00", document_date="2026-03-01", **old),  # another supplier
        document("invoice", "INV-42", 1, "100.00", document_date="2026-03-01"),  # other digits
        document("invoice", "77", 1, "100.00", document_date="2026-03-03"),
        document("invoice", "0077", 1, "100.00", document_date="2026-03-04"),  # a leading zero
        document("invoice", "77.", 1, "100.01", document_date="2026-03-04"),  # another amount
        document("invoice", "88", 1, "100.00", document_date="2026-03-31"),
        document("invoice", "088", 1, "100.00", document_date="2025-12-30"),  # 91 days
        document("credit-note", "C1", 1, "100.00", corrects="77"),
    ]
    assert shown("duplicate-payments", *MARCH, world) == [
        {"ledgers": "oracle and unit4", "currency": "GBP", "pairs": 1, "both_paid": 1, "credited": 0, "amount": Decimal(100)},
        {"ledgers": "unit4", "currency": "GBP", "pairs": 1, "both_paid": 0, "credited": 1, "amount": Decimal(100)},
    ]


def test_a_commitment_is_what_is_left_of_each_line() -> None:
    def order(number: int, day: str, *lines: tuple[str, str | None], status: str = "open") -> Entity:
        made_of = [{"number": i, "net": net, "invoiced": invoiced} for i, (net, invoiced) in enumerate(lines)]
        return made(
            "purchase-order", number, of="unit4", number=str(number), supplier="unit4:supplier:1", order_date=day, status=status,
            lines=made_of,
        )  # fmt: skip

    world = [
        order(1, "2026-03-01", ("100.00", "40.00"), ("10.00", "15.00")),  # 60 are left, and nothing of the second line
        order(2, "2026-03-31", ("30.00", None)),
        order(3, "2026-03-02", ("30.00", "30.00")),  # nothing is left
        order(4, "2026-02-28", ("30.00", "0.00")),
        order(5, "2026-03-02"),  # no line
        order(6, "2026-03-02", ("5.00", "0.00"), status="cancelled"),
    ]
    found = shown("commitments", *MARCH, world)
    names = ("status", "orders", "ordered", "invoiced", "committed", "not_told")
    assert [numbers(line, *names) for line in found] == [
        ("cancelled", 1, Decimal("5.00"), Decimal("0.00"), Decimal("5.00"), 0),
        ("open", 2, Decimal("140.00"), Decimal("55.00"), Decimal("90.00"), 1),
    ]


def test_data_quality_counts_rows_at_fault_by_the_day_in_england() -> None:
    def faulty(key: str, day: datetime, *, incomplete: bool = False) -> FaultyRow:
        return FaultyRow("lcs", "person", key, "upn", "is no UPN", day.timestamp(), incomplete)

    world = [
        faulty("lcs:person:1", datetime(2026, 2, 28, 23, 59, tzinfo=UTC)),
        faulty("lcs:person:2", datetime(2026, 3, 1, 0, 0, tzinfo=UTC)),
        faulty("lcs:person:3#incomplete", datetime(2026, 3, 31, 22, 59, tzinfo=UTC), incomplete=True),
        faulty("lcs:person:4", datetime(2026, 3, 31, 23, 0, tzinfo=UTC)),  # the first of April in summer time
    ]
    [line] = shown("data-quality", *MARCH, faulty=world)
    names = ("system", "field", "rule", "records", "quarantined", "incomplete")
    assert numbers(line, *names) == ("lcs", "upn", "is no UPN", 2, 1, 1)
