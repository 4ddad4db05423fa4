"""UBL: the suite, the money of a document, the invented mailbox, and the shared documents to the penny."""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

from adapters.kit.files_world import Sheets
from adapters.kit.layouts import Passed
from adapters.kit.typed import typed
from adapters.port import Adapter
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit
from adapters.ubl import UblAdapter, UblSettings, system
from adapters.ubl.adapter import DECLARED
from adapters.ubl.world import WORLD, document, read_ubl, write_ubl
from canonical.errors import BadRecordError
from canonical.finance import CreditNote, Invoice

DAY = date(2026, 6, 1)


def adapter(folder: Path) -> UblAdapter:
    return UblAdapter("ubl", UblSettings(folders=(folder,), settle=timedelta(0)))


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "ubl"
    missing_is_deleted = False
    changed = RowEdit("one.xml", 0, {"item": "Another item"}, "ubl:invoice:01000001:INV-00001")
    broken = RowEdit(
        "two.xml", 0, {"payable": "1.00"}, "ubl:invoice:01000002:INV-00002", mended={"payable": "", "item": "A right item"}
    )
    files: ClassVar = {"credit-note": "three.xml"}

    def read(self, path: Path) -> list[dict[str, str]]:
        return read_ubl(path)

    def write(self, path: Path, rows: Sequence[Mapping[str, str]]) -> None:
        write_ubl(path, rows)

    def sheets(self) -> Sheets:
        kinds = {"one.xml": "Invoice", "two.xml": "Invoice", "three.xml": "CreditNote"}
        told = enumerate(kinds.items(), 1)
        return {name: [document(n, kind, f"0100000{n}", Random(n), DAY)] for n, (name, kind) in told}

    def besides(self) -> Mapping[str, int]:
        return {"supplier": 3, "invoice": 2}

    async def delete_one(self, adapter: Adapter) -> str:
        (self.folder / "one.xml").unlink()
        return self.changed.key


def mapped(stream: str, xml: bytes) -> Any:
    [declared] = [each for each in DECLARED if each.name == stream]
    [row] = declared.layout.rows(BytesIO(xml))
    return row if isinstance(row, Passed) else declared.map("ubl", typed(declared.row)(row))


@pytest.fixture
def xml(tmp_path: Path) -> bytes:
    write_ubl(tmp_path / "x.xml", [document(1, "Invoice", "01000001", Random(1), DAY) | {"net": "100.00"}])
    return (tmp_path / "x.xml").read_bytes()


@pytest.mark.parametrize(
    ("right", "wrong", "field", "rule"),
    [
        ("LineExtensionAmount", "99.00", "LineExtensionAmount", "is not the sum of the lines"),
        ("TaxExclusiveAmount", "99.00", "TaxExclusiveAmount", "is not the lines with charges and without allowances"),
        ("TaxInclusiveAmount", "99.00", "TaxInclusiveAmount", "is not the net amount and the tax"),
        ("PayableAmount", "99.00", "PayableAmount", "is not the gross amount without what is prepaid"),
        ("TaxableAmount", "99.00", "TaxableAmount", "is not the sum of the lines of its category and rate"),
        ("TaxAmount", "19.00", "TaxAmount", "is not the sum of its subtotals"),
    ],
)
def test_money_that_does_not_agree_is_told_by_field_and_rule(xml: bytes, right: str, wrong: str, field: str, rule: str) -> None:
    start = xml.index(f"<cbc:{right} ".encode())
    harmed = xml[:start] + xml[start:].replace(xml[start:][: xml[start:].index(b"<", 1)].split(b">")[1], wrong.encode(), 1)
    with pytest.raises(BadRecordError) as caught:
        mapped("invoice", harmed)
    assert (caught.value.field, caught.value.rule) == (field, rule)


def test_tax_is_shared_out_to_the_penny_by_rate_and_charges_are_lines(xml: bytes) -> None:
    one = b"<cac:InvoiceLine><cbc:LineExtensionAmount>33.33</cbc:LineExtensionAmount><cac:Item><cbc:Name>N</cbc:Name>"
    one += b"<cac:ClassifiedTaxCategory><cbc:ID>S</cbc:ID><cbc:Percent>20.00</cbc:Percent></cac:ClassifiedTaxCategory>"
    one += b"</cac:Item></cac:InvoiceLine>"
    freight = b"<cac:AllowanceCharge><cbc:ChargeIndicator>%s</cbc:ChargeIndicator><cbc:Amount>%s</cbc:Amount><cac:TaxCategory>"
    freight += b"<cbc:ID>S</cbc:ID><cbc:Percent>20</cbc:Percent></cac:TaxCategory></cac:AllowanceCharge>"
    start, end = xml.index(b"<cac:InvoiceLine>"), xml.index(b"</Invoice>")
    told = xml[:start] + one * 3 + freight % (b"true", b"1.00") + freight % (b"false", b"0.99") + xml[end:]
    told = told.replace(b">100.00</cbc:Line", b">99.99</cbc:Line")
    lines = mapped("invoice", told).lines
    assert [(line.net, line.tax) for line in lines] == [
        *[(Decimal("33.33"), Decimal("6.67"))] * 3, (Decimal("1.00"), Decimal("0.20")), (Decimal("-0.99"), Decimal("-0.21")),
    ]  # fmt: skip
    assert (sum(line.net for line in lines), sum(line.tax or 0 for line in lines)) == (Decimal("100.00"), Decimal("20.00"))


def test_an_invoice_is_no_credit_note_and_another_root_is_refused(xml: bytes) -> None:
    assert mapped("credit-note", xml) == Passed("invoices")
    with pytest.raises(BadRecordError, match="its first element is no CreditNote or Invoice"):
        mapped("invoice", xml.replace(b"<Invoice", b"<Order").replace(b"</Invoice", b"</Order"))


def test_a_supplier_without_a_number_is_told_by_a_digest_that_names_nobody(xml: bytes) -> None:
    found = mapped("supplier", xml.replace(b"<cbc:CompanyID>01000001</cbc:CompanyID>", b""))
    assert found.number.startswith("n-")
    assert found.key == f"ubl:supplier:{found.number}"
    assert "Severn" not in found.key
    assert mapped("supplier", xml).number == "01000001"


# -- the shared documents --------------------------------------------------------------------------------------------

TOTALS = {  # what is payable, and the lines, counted by hand
    "BIS3_Invoice_positive.XML": (Invoice, "782179.43", 1),
    "ubl-tc434-creditnote1.xml": (CreditNote, "100.11", 1),
    "ubl-tc434-example1.xml": (Invoice, "250.33", 20),
    "ubl-tc434-example3.xml": (Invoice, "2005.00", 3),
}


@pytest.mark.shared
async def test_every_shared_document_is_published_to_the_penny(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data" / "finance" / "ubl"
    assert {path.name for path in folder.iterdir()} == TOTALS.keys()
    for name in TOTALS:
        shutil.copy(folder / name, tmp_path)
    bench = Bench(adapter(tmp_path))
    events = await bench.read()
    assert not bench.problems()
    assert sum(event.key.startswith("ubl:supplier:") for event in events) == 4
    for path in tmp_path.iterdir():
        kind, payable, lines = TOTALS[path.name]
        found = mapped("invoice" if kind is Invoice else "credit-note", path.read_bytes())
        assert (type(found), found.outstanding, len(found.lines)) == (kind, Decimal(payable), lines)
        assert found.net + sum(line.tax for line in found.lines) == Decimal(payable)
        assert found.to_bytes() in [event.data for event in events]


@pytest.mark.shared
def test_no_account_of_a_seller_is_read(shared: Path) -> None:
    for name, (kind, _, _) in TOTALS.items():
        xml = (shared / "data" / "finance" / "ubl" / name).read_bytes()
        told = mapped("supplier", xml).to_bytes() + mapped("invoice" if kind is Invoice else "credit-note", xml).to_bytes()
        accounts = [found.strip() for found in _texts(xml, b"<cac:PayeeFinancialAccount>")]
        assert accounts
        assert not any(account in told for account in accounts)


def _texts(xml: bytes, element: bytes) -> Iterator[bytes]:
    for piece in xml.split(element)[1:]:
        yield piece.split(b"<cbc:ID>")[1].split(b"<")[0]


async def test_the_invented_mailbox_fills(tmp_path: Path) -> None:
    folder = tmp_path / "ubl"
    assert WORLD.create(folder, 20) == 0
    bench = Bench(adapter(folder))
    events = await bench.read()
    assert Counter(event.key.split(":")[1] for event in events) == {"invoice": 18, "credit-note": 2, "supplier": 3}
    first, second = WORLD.change(folder, 1)
    assert first.startswith("INV-00021 arrives from ")
    assert second.endswith("is sent again: it is due two weeks later.")
    assert [event.key.split(":")[1] for event in await bench.read()] == ["invoice", "invoice"]
    assert not bench.problems()
