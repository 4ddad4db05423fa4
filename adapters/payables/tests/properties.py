"""What must hold of any bytes that lie in the drop folder, for the fuzzers (security/properties.py)."""

from __future__ import annotations

import re
import tempfile
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from adapters.payables import mapping, world
from adapters.payables.layout import built_in
from adapters.payables.reading import FileRecords, Rules, read
from canonical import CreditNote, Entity, Invoice
from canonical.errors import BadRecordError
from security.properties import Target

CASES = Path(mapping.__file__).with_name("cases")
RULES = Rules("acme", {name: built_in()[name] for name in world.LAYOUTS}, largest=1_000_000)
WORKBOOK = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def file_reader(data: bytes) -> None:
    """A file is refused, or every row and penny of it is accounted for and every record of it survives being published."""
    if data.startswith(WORKBOOK):
        return  # another process reads them: a millionth of this fuzzer's pace
    try:
        reading = read("april", data, RULES)
    except BadRecordError:
        return
    assert reading.reckoning.accounted == reading.reckoning.rows
    assert read("april", data, RULES).records == reading.records
    entities = entities_of(reading)
    for each in entities:
        published = each.to_bytes()
        again = type(each).from_bytes(published)
        assert again.to_bytes() == published
        assert again == each or _holds_controls(each)  # control characters are not published
    assert total(entities) == reading.reckoning.money_published


def _holds_controls(entity: Entity) -> bool:
    return re.search(rb"\\(u00[01]|[bf])", entity.model_dump_json().encode()) is not None


def entities_of(reading: FileRecords) -> list[Entity]:
    """What is published of a file; what is quarantined raises errors of ours and no others."""
    found = []
    for record in reading.records:
        try:
            found.append(mapping.entity(record.row))
        except (BadRecordError, ValidationError):
            continue
    return found


def total(entities: list[Entity]) -> Decimal:
    """The money of all documents; a credit note's lines count against it."""
    money = Decimal("0.00")
    for each in entities:
        if isinstance(each, Invoice):
            money += sum((line.net for line in each.lines), Decimal(0))
        elif isinstance(each, CreditNote):
            money -= sum((line.net for line in each.lines), Decimal(0))
    return money


def extracts(seed: int) -> list[bytes]:
    """The beginnings of extracts as finance systems write them, and of the cases."""
    with tempfile.TemporaryDirectory() as folder:
        files = [*world.write(Path(folder), seed=seed, suppliers=5, invoices=8)]
        files += sorted(file for file in CASES.glob("*/input.*") if file.suffix != ".xlsx")
        return [file.read_bytes()[:4096] for file in files]


TARGETS = {"file_reader": Target(file_reader, extracts)}
