"""
What must hold of any bytes at all: the file reader and the envelope refuse in our own words or lose nothing.

Both fuzzers use these: Hypothesis in tests/test_fuzz.py, atheris in fuzz.py. What they find is kept in findings/, and tried
again by every run of the tests.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from adapters.payables import mapping, world
from adapters.payables.layout import built_in
from adapters.payables.reading import Reading, Rules, read
from canonical import ENTITIES, CreditNote, Entity, Event, Invoice
from canonical.errors import BadRecordError

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
        assert type(each).from_bytes(each.to_bytes()) == each
    assert total(entities) == reading.reckoning.money_published


def entities_of(reading: Reading) -> list[Entity]:
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


def envelope(data: bytes) -> None:
    """
    A record is refused, or it is an event that is written again as it was read, with a state that is too.

    The bytes are headers and their values in turn, parted by 0x1F; what follows 0x1E is the record's value.
    """
    head, parted, value = data.partition(b"\x1e")
    pieces = head.split(b"\x1f")
    headers: list[tuple[str, Any]] = [
        (n.decode(errors="replace"), v) for n, v in zip(pieces[::2], pieces[1::2], strict=False)
    ]
    decoded(headers, value if parted else None)


def decoded(headers: list[tuple[str, Any]], value: bytes | None) -> None:
    """The same for a record as a Kafka client gives it."""
    try:
        event = Event.from_kafka("canonical.person[0]@1", value, headers)
    except BadRecordError:
        return
    assert Event.from_kafka("x", event.data, event.headers()) == event
    kind = ENTITIES.get(event.entity)
    if kind is None or value is None:
        return
    try:
        state = kind.from_bytes(value)
    except BadRecordError:
        return
    assert kind.from_bytes(state.to_bytes()) == state


TARGETS = {"file_reader": file_reader, "envelope": envelope}
