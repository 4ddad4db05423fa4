"""Workbooks of every kind: their epoch, and the sheets that are read together."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from adapters.payables.layout import PayablesLayout, declared
from adapters.payables.reading import Rules, read
from adapters.payables.tests.books import BOOKS, xlsx
from adapters.payables.tests.properties import entities_of, total
from canonical import Invoice
from canonical.errors import BadRecordError

HEAD = ["Ref", "Supplier", "Paid", "Net"]
COLUMNS = {"number": "Ref", "supplier_name": "Supplier", "payment_date": "Paid", "net": "Net"}


def layout(**more: Any) -> PayablesLayout:
    return declared("list", {"title": "a list", "columns": COLUMNS, **more})


def rules(**more: Any) -> Rules:
    return Rules("acme", {"list": layout(**more)})


def month(first: int, *amounts: float) -> list[list[str | float]]:
    return [list(HEAD), *([f"R{n}", f"Payee {n} Ltd", f"0{n}/04/2024", amount] for n, amount in enumerate(amounts, first))]


@pytest.mark.parametrize("since_1904", [False, True])
@pytest.mark.parametrize("kind", BOOKS)
def test_a_date_that_lost_its_format_counts_from_the_workbooks_own_epoch(kind: str, since_1904: bool) -> None:
    epoch = date(1904, 1, 1) if since_1904 else date(1899, 12, 30)
    serial = float((date(2024, 4, 25) - epoch).days)
    book = BOOKS[kind]({"S": [HEAD, ["R1", "Ashgrove Ltd", serial, 100.1]]}, since_1904=since_1904)
    (invoice,) = (e for e in entities_of(read("april", book, rules())) if isinstance(e, Invoice))
    assert (invoice.payment_date, invoice.net) == (date(2024, 4, 25), Decimal("100.10"))


@pytest.mark.parametrize("kind", BOOKS)
def test_the_sheets_of_a_month_each_are_read_together_and_a_summary_is_passed_over(kind: str) -> None:
    book = BOOKS[kind]({"Apr 2024": month(1, 10.0, 20.0), "May 2024": month(3, 5.5), "Summary": month(1, 35.5)})
    found = read("spring", book, rules())
    assert total(entities_of(found)) == Decimal("35.50")
    assert (found.reckoning.how, found.reckoning.rows) == ("workbook, sheet 1; workbook, sheet 2", 5)
    assert found.reckoning.accounted == found.reckoning.rows


def test_a_total_on_each_sheet_is_of_its_sheet_or_of_all() -> None:
    april, may = [*month(1, 10.0, 20.0), ["Total", "", "", 30.0]], [*month(3, 5.5), ["Total", "", "", 35.5]]
    found = read("spring", xlsx({"Apr": april, "May": may}), rules()).reckoning
    assert (found.totals, found.published) == (2, 3)


def test_a_bad_row_of_a_further_sheet_is_found_by_its_sheet() -> None:
    bad: list[list[str | float]] = [HEAD, ["", "Cedar CIC", "31/04/2024", 7.0]]
    found = read("spring", xlsx({"Apr": month(1, 10.0), "May": bad}), rules())
    (row,) = (r.row for r in found.records if r.row[0] == "bad")
    assert row[1:3] == ("acme:row:spring-2-2", "row 2 of sheet 2")


@pytest.mark.parametrize(
    ("names", "more", "reads"),
    [
        (["Sheet1", "Sheet2"], {}, False), (["Sheet1", "Sheet2"], {"sheets": "each"}, True),
        (["Apr", "May"], {"sheets": "one"}, False), (["Apr", "April"], {}, False), (["Apr", "Apr (2)"], {}, False),
        (["Data", "Over 500"], {"summaries": "Over.*"}, True), (["Q1", "Q2"], {}, True), (["2024-04", "2024-05"], {}, True),
        (["Summary", "Overview"], {}, False),
    ],
)  # fmt: skip
def test_sheets_that_may_hold_the_same_payments_twice_are_refused_unless_the_layout_says(
    names: list[str], more: dict[str, Any], reads: bool
) -> None:
    book = xlsx(dict(zip(names, [month(1, 10.0), month(2, 20.0)], strict=True)))
    if reads:
        assert read("april", book, rules(**more)).reckoning.published > 0
    else:
        with pytest.raises(BadRecordError, match="fit more than one reading"):
            read("april", book, rules(**more))
