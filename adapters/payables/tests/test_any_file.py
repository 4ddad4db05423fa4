"""Any file at all is refused in our own words, or every row and penny of it is accounted for."""

import csv
import io
from datetime import date
from decimal import Decimal

from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from adapters.payables.reading import read
from adapters.payables.tests.properties import RULES, entities_of, file_reader, total
from canonical import CreditNote, Invoice
from canonical.errors import BadRecordError

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
HEADINGS = ["Payment Ref", "Payee", "Paid On", "Service", "Amount"]
PENNIES = st.integers(-(10**12), 10**12).filter(bool)
DAYS = st.dates(date(1990, 1, 1), date(2090, 12, 31))
ODD = st.text(max_size=12) | st.sampled_from(
    ["", "N/A", "Total", "REDACTED", "(5)", "5-", "1,2", "12.345", "£", "31/02/2024", "\0"]
)
CELLS = ODD | PENNIES.map(lambda p: f"{p / 100:.2f}") | DAYS.map(lambda d: d.strftime("%d/%m/%Y"))


def written(rows: list[list[str]], delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


@effort(max_examples=80, suppress_health_check=SLOW)
@given(rows=st.lists(st.lists(CELLS, max_size=7), max_size=8), head=st.booleans(), delimiter=st.sampled_from(",;\t|"))
def test_any_rows_are_accounted_for_or_the_file_is_refused(rows: list[list[str]], head: bool, delimiter: str) -> None:
    file_reader(written([HEADINGS] * head + rows, delimiter))


@effort(max_examples=80, suppress_health_check=SLOW)
@given(data=st.binary(max_size=200), place=st.integers(0, 400))
def test_an_extract_with_foreign_bytes_in_it_is_accounted_for_or_refused(data: bytes, place: int) -> None:
    whole = written(
        [
            HEADINGS,
            ["P1", "Ashgrove Ltd", "01/04/2024", "Parks", "10.00"],
            ["P2", "Birch", "02/04/2024", "Parks", "£1,020.05"],
        ]
    )
    file_reader(whole[:place] + data + whole[place:])


def pounds(pennies: int, style: int) -> str:
    amount = Decimal(abs(pennies)) / 100
    plain, grouped = f"{amount:.2f}", f"{amount:,.2f}"
    if pennies < 0:
        return [f"-{plain}", f"({grouped})", f"{plain}-", f"-£{grouped}"][style]
    return [plain, grouped, f"£{grouped}", f"£ {plain}"][style]


PAID = st.tuples(PENNIES, DAYS, st.integers(0, 3))


@effort(max_examples=80, suppress_health_check=SLOW)
@given(paid=st.lists(PAID, min_size=1, max_size=6))
def test_money_and_days_come_out_as_they_were_written_in_whatever_style(paid: list[tuple[int, date, int]]) -> None:
    rows = [
        [f"P{number}", "Ashgrove Ltd", day.strftime("%d/%m/%Y"), "Parks", pounds(pennies, style)]
        for number, (pennies, day, style) in enumerate(paid)
    ]
    try:
        reading = read("april", written([HEADINGS, *rows]), RULES)
    except BadRecordError as error:
        assert error.field in ("dates", "headings")  # noqa: PT017 (that the month may stand in front is a reason to refuse)
        return
    assert total(entities_of(reading)) == sum(Decimal(p) for p, _, _ in paid) / 100
    told = {
        (each.number, each.payment_date or each.document_date, abs(sum(line.net for line in each.lines)))
        for each in entities_of(reading)
        if isinstance(each, Invoice | CreditNote)
    }
    assert told == {(f"P{n}", day, abs(Decimal(pennies) / 100)) for n, (pennies, day, _) in enumerate(paid)}
