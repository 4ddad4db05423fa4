"""
Every council-spend file that was published with its defects: no row and no penny may get lost.

What a file has is counted and added up here by other means than the reader's: the plainest use of the csv module, fixed
columns, fixed encodings, no layouts.
"""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from python_calamine import CalamineWorkbook

from adapters.payables.layout import built_in
from adapters.payables.mapping import entity
from adapters.payables.reading import FileRecords, Rules, read
from canonical import CreditNote, Invoice, Supplier

SPEND = "data/finance/council-spend"


@dataclass(frozen=True)
class Published:
    """What we know of a file from looking at it: its amounts' column (from 0), its rows, copies and redacted payees."""

    path: str
    layout: str
    amount: int
    rows: int
    data: int
    copies: int = 0
    encoding: str = "utf-8-sig"
    quarantined: int = 0  # all of them can be read, defects and all


FILES = [
    Published("calderdale/2017-12-card.csv", "calderdale-card", 5, 868, 867),
    Published("calderdale/2018-12.csv", "calderdale-spend", 5, 1702, 1701),
    Published("darlington/2014-08.csv", "darlington-spend", 4, 686, 685, 99),
    Published("gateshead/2017-08.csv", "gateshead-agresso", 7, 3650, 3649, 21),
    Published("hyndburn/2017-01.csv", "hyndburn-ledger", 6, 181, 180, 2, "cp1252"),
    Published("hyndburn/2017-03.csv", "hyndburn-ledger", 6, 257, 256, 7, "cp437"),
    Published("hyndburn/2017-05.csv", "hyndburn-ledger", 6, 179, 178, 1, "cp1252"),
    Published("hyndburn/2020-06.csv", "hyndburn-ledger", 6, 554, 248, 4, "cp1252"),
    # One copy more than byte for byte, as in 2023-05: rows that differ only in how many blanks a description has.
    Published("hyndburn/2021-01.csv", "hyndburn-ledger", 6, 1241, 232, 3, "cp1252"),
    Published("hyndburn/2021-10.csv", "hyndburn-ledger", 6, 690, 224, 2, "cp1252"),
    Published("hyndburn/2022-09.csv", "hyndburn-ledger", 6, 16, 14),
    Published("hyndburn/2023-05.csv", "hyndburn-ledger", 6, 579, 572, 2),
    Published("hyndburn/2024-02.csv", "hyndburn-ledger", 6, 824, 569, 2, "cp1252"),
    Published("hyndburn/2024-03.csv", "hyndburn-erp", 7, 659, 658, 3, "cp1252"),
    Published("hyndburn/2024-08.csv", "hyndburn-erp", 7, 791, 790, 1),
    Published("hyndburn/2024-10.csv", "hyndburn-erp", 16, 589, 587),
    Published("hyndburn/2025-03.csv", "hyndburn-erp", 16, 889, 888, 0, "cp1252"),
    Published("hyndburn/2025-10.csv", "hyndburn-erp", 16, 596, 595),
    Published("lancashire-fire/2025-26-q2.xlsx", "lancashire-fire", 5, 865, 864, 46),
    Published("leeds/2011-06.raw.csv", "leeds-spend", 9, 11708, 9485),
    Published("leeds/2013-06.raw.csv", "leeds-spend", 9, 8335, 8334),
    Published("salford/2017-10.csv", "salford-sap", 5, 1141, 1140),
    Published("wakefield/2021-Q3-card.csv", "wakefield-card", 12, 5156, 5155),
]


def plain_rows(shared: Path, file: Published) -> list[list[str]]:
    path = shared / SPEND / file.path
    if path.suffix == ".xlsx":
        sheet = CalamineWorkbook.from_path(path).get_sheet_by_index(0)
        return [[str(cell) for cell in row] for row in sheet.to_python(skip_empty_area=False)]
    return list(csv.reader(io.StringIO(path.read_bytes().decode(file.encoding), newline="")))


def plain_amount(row: list[str], at: int) -> Decimal | None:
    text = row[at].strip().replace("£", "").replace(",", "") if at < len(row) else ""
    if text.endswith("-"):
        text = "-" + text[:-1]
    return Decimal(text) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text) else None


@cache
def reading(shared: Path, file: Published) -> FileRecords:
    path = shared / SPEND / file.path
    return read(path.stem, path.read_bytes(), Rules("council", built_in()))


@pytest.fixture(params=FILES, ids=lambda file: file.path)
def file(request: pytest.FixtureRequest) -> Published:
    chosen: Published = request.param
    return chosen


@pytest.mark.shared
def test_every_row_of_a_published_file_is_accounted_for_and_every_penny_adds_up(shared: Path, file: Published) -> None:
    rows = plain_rows(shared, file)
    amounts = [amount for row in rows if (amount := plain_amount(row, file.amount)) is not None]
    got = reading(shared, file)
    found = got.reckoning

    assert (found.layout, found.rows, found.accounted) == (file.layout, len(rows), len(rows)) == (
        file.layout, file.rows, file.rows,
    )  # fmt: skip
    assert found.published + found.duplicates + found.quarantined == len(amounts) == file.data
    assert found.blank == sum(1 for row in rows if not any(cell.strip() for cell in row))
    assert (found.headings, found.preamble, found.totals, found.notes) == (1, 0, 0, 0)
    assert (found.quarantined, found.unreadable, found.reasons) == (file.quarantined, 0, {})
    assert found.money == found.money_published == sum(amounts)
    assert found.duplicates == file.copies


@pytest.mark.shared
def test_what_is_published_is_the_file_s_own_money_line_by_line(shared: Path, file: Published) -> None:
    amounts = Counter(
        amount.quantize(Decimal("0.01"))
        for row in plain_rows(shared, file)
        if (amount := plain_amount(row, file.amount)) is not None
    )
    entities = [entity(record.row) for record in reading(shared, file).records]
    keys = [e.key for e in entities]
    assert len(keys) == len(set(keys))

    published: Counter[Decimal] = Counter()
    for e in entities:
        if isinstance(e, Invoice | CreditNote):
            sign = -1 if isinstance(e, CreditNote) else 1
            assert e.net > 0 if isinstance(e, CreditNote) else e.net >= 0
            assert len({line.number for line in e.lines}) == len(e.lines)
            assert e.supplier in keys
            published.update(sign * line.net for line in e.lines)
    assert published == amounts


@pytest.mark.shared
def test_each_published_file_fits_one_layout_only_and_reads_the_same_each_time(shared: Path, file: Published) -> None:
    path = shared / SPEND / file.path
    only = Rules("council", {file.layout: built_in()[file.layout]})
    # Read anew: the same bytes give the same records, to the last one. Of a large file the first rows tell as much.
    data = path.read_bytes()
    if file.rows > 5000:
        data = b"".join(data.splitlines(keepends=True)[:1500])
        before = read(path.stem, data, Rules("council", built_in())).records
    else:
        before = reading(shared, file).records
    assert repr(read(path.stem, data, only).records) == repr(before)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("path", "redacted"),
    [("leeds/2013-06.raw.csv", 2), ("leeds/2011-06.raw.csv", 2), ("salford/2017-10.csv", 1),
     ("gateshead/2017-08.csv", 1), ("wakefield/2021-Q3-card.csv", 1), ("calderdale/2018-12.csv", 1),
     ("hyndburn/2025-03.csv", 0)],
)  # fmt: skip
def test_a_withheld_payee_is_a_redacted_supplier_and_a_firm_called_redactive_is_not(
    shared: Path, path: str, redacted: int
) -> None:
    file = next(f for f in FILES if f.path == path)
    suppliers = [e for r in reading(shared, file).records if isinstance(e := entity(r.row), Supplier)]
    assert sum(s.redacted for s in suppliers) == redacted


@pytest.mark.shared
def test_no_published_file_s_documents_replace_those_of_another_month(shared: Path) -> None:
    """A reference comes back in later months (a batch, a direct debit run): the day of payment keeps them apart."""
    months = [f for f in FILES if f.path.startswith("hyndburn")]
    documents = Counter(
        r.key for f in months for r in reading(shared, f).records if r.row[0] in ("invoice", "credit-note")
    )
    assert [key for key, count in documents.items() if count > 1] == []
