"""Every quirk that a file has had is a folder under adapters/payables/cases/: what came in, and what must come out."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters import payables
from adapters.payables.layout import built_in, declared
from adapters.payables.mapping import entity
from adapters.payables.reading import Rules, read
from canonical import CreditNote, Entity, Invoice, Supplier
from canonical.entity import bad_record
from canonical.errors import BadRecordError

CASES = Path(payables.__file__).parent / "cases"


def outcome(case: Path, given: dict[str, Any]) -> dict[str, Any]:
    """What a case's file comes to, in the words of its expected.json."""
    file = next(case.glob("input.*"))
    layouts = {name: built_in()[name] for name in given["layouts"]}
    if (own := case / "layout.toml").exists():
        layouts["own"] = declared("own", tomllib.loads(own.read_text("utf-8")))
    try:
        reading = read("case", file.read_bytes(), Rules("acme", layouts, encoding=given.get("encoding")))
    except BadRecordError as error:
        return {"refused": str(error)}
    counts = {
        name: str(count) if name.startswith("money") else count
        for name in ("how", "rows", "blank", "preamble", "headings", "totals", "notes", "published", "duplicates",
                     "quarantined", "unreadable", "money_published", "money_quarantined", "dropped")
        if (count := getattr(reading.reckoning, name))
    }  # fmt: skip
    assert reading.reckoning.accounted == reading.reckoning.rows
    return {"reckoning": counts, "records": [told for record in reading.records for told in tell(record.row)]}


def tell(row: tuple[Any, ...]) -> Iterator[str]:
    """An entity in a line; dimensions are left to other tests."""
    try:
        found: Entity = entity(row)
    except BadRecordError as error:
        yield f"QUARANTINED {error}"
        return
    except ValidationError as error:
        yield f"QUARANTINED {bad_record(row[1], error)}"
        return
    match found:
        case Supplier():
            vat = f" VAT {found.vat_number}" if found.vat_number else ""
            yield f"{found.key} {found.name}{' (redacted)' if found.redacted else ''}{vat}"
        case Invoice() | CreditNote():
            day = found.document_date or found.payment_date
            corrects = f" corrects {found.corrects}" if isinstance(found, CreditNote) and found.corrects else ""
            yield f"{found.key} number {found.number} of {found.supplier} on {day}{corrects}"
            yield from (
                f"  line {n.number}: {n.net}" + (f" tax {n.tax}" if n.tax is not None else "") for n in found.lines
            )


@pytest.mark.parametrize("case", sorted(p for p in CASES.iterdir() if p.is_dir()), ids=lambda path: path.name)
def test_a_file_with_this_quirk_comes_out_as_expected(case: Path) -> None:
    expected = json.loads((case / "expected.json").read_text("utf-8"))
    given = {name: expected.pop(name) for name in ("layouts", "encoding") if name in expected}
    assert outcome(case, given) == expected
