"""Days that stand for none in payables files, by the setting that all adapters share."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any

from adapters.payables import PayablesSettings, build

FILE = """Invoice No,Supplier No,Supplier,Invoice Date,Due Date,Net,VAT,Gross
17,S1,Ashgrove Ltd,01/04/2024,31/12/9999,10.00,2.00,12.00
18,S2,Birchfield LLP,01/04/2024,01/01/1900,10.00,2.00,12.00
19,S3,Severn Ltd,01/04/2024,30/04/2024,10.00,2.00,12.00
"""
LAYOUT = {
    "title": "invoices",
    "columns": {
        "number": "Invoice No", "supplier_number": "Supplier No", "supplier_name": "Supplier", "document_date": "Invoice Date",
        "due_date": "Due Date", "net": "Net", "tax": "VAT", "gross": "Gross",
    },
    "document": ["number"],
}  # fmt: skip


async def payables(folder: Path, **section: Any) -> tuple[str, dict[str, date | None]]:
    """The digest of an extract, and the day on which each of its invoices is due."""
    given = {"folders": [folder], "own_layouts": {"invoices": LAYOUT}, "settle": 0, **section}
    adapter = build("acme", PayablesSettings.model_validate(given))
    [stream] = adapter.streams()
    [extract] = [extract async for extract in stream.reading.extracts()]  # type: ignore[union-attr]
    records = [record async for portion in extract.portions() for record in portion]
    made = [stream.map(record.row) for record in records]
    return extract.digest, {each.number: each.due_date for each in made if each.type_name == "invoice"}  # type: ignore[attr-defined]


async def test_an_extract_writes_days_that_stand_for_none_too(tmp_path: Path) -> None:
    path = tmp_path / "invoices.csv"
    path.write_text(FILE)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    digest, due = await payables(tmp_path)
    assert due == {"17": None, "18": None, "19": date(2024, 4, 30)}
    other, due = await payables(tmp_path, no_days=["9999-12-31", "1900-01-01", "2024-04-30"])
    assert due == {"17": None, "18": None, "19": None}
    assert other != digest
