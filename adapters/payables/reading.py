"""
Reads a whole file: its records, and an account of every row and every penny of it.

The file is read to its end, and every document of it mapped once, before the first record is given: so a file that must
be refused is refused whole. The records wait on disk meanwhile (`FileScratch`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

from pydantic import ValidationError

from adapters.kit.open_days import NO_DAYS
from adapters.kit.plain import loads
from adapters.payables import mapping
from adapters.payables.documents import (
    Origin,
    PayablesDocument,
    bad_row,
    document_row,
    documents,
    other_rows,
    refused,
    said,
    said_row,
)
from adapters.payables.layout import PayablesLayout
from adapters.payables.payees import EarlierPayees, Names, Payees, Unlike
from adapters.payables.recognise import fit
from adapters.payables.rows import lines
from adapters.payables.scratch import FileScratch
from adapters.payables.tables import Table, is_workbook, tables
from adapters.payables.totals import RowTally, refuse_hidden_total
from adapters.payables.wholeness import Doubts, refuse_doubled, refuse_torn
from adapters.port import Record, Row
from canonical.entity import bad_record
from canonical.errors import BadRecordError

_SUPPLIERS_AND_DIMENSIONS, _DOCUMENTS, _BAD, _OTHER = range(4)
_FACTS = {"vat_number": 4, "company_number": 5, "charity_number": 6}  # and where they stand in a supplier's row


@dataclass(slots=True)
class Reckoning:
    """
    A reckoning accounts for every row of a file and for its money. `rows` counts all rows as a spreadsheet does.

    `duplicates` are published too: rows that repeat another one exactly are payments of their own; they are told apart.
    `suspects` counts the quarantined rows that may be totals, and `unreadable` the ones whose amount could not be read; all
    others are in the sums. `dropped` counts the suppliers' numbers that are wrong, by field: the suppliers are published
    without them. `doubtful` are the suppliers' numbers that an older file gives to somebody else, each with that file, and
    `names` are the names of all numbers: personal data, which only this adapter may see.
    """

    layout: str = ""
    how: str = ""
    rows: int = 0
    blank: int = 0
    preamble: int = 0
    headings: int = 0
    totals: int = 0
    notes: int = 0
    published: int = 0
    duplicates: int = 0
    quarantined: int = 0
    suspects: int = 0
    unreadable: int = 0
    money_published: Decimal = Decimal("0.00")
    money_quarantined: Decimal = Decimal("0.00")
    reasons: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    names: Names = field(default_factory=dict, repr=False)

    @property
    def accounted(self) -> int:
        """All rows that went somewhere: equal to `rows`, or a row was lost."""
        apart = self.blank + self.preamble + self.headings + self.totals + self.notes
        return apart + self.published + self.duplicates + self.quarantined

    @property
    def money(self) -> Decimal:
        return self.money_published + self.money_quarantined

    @property
    def doubts(self) -> frozenset[str]:
        """The doubts about single rows, by which a person accepts them."""
        return frozenset([*(["sum"] if self.suspects else []), *(["names"] if self.doubtful else [])])

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class FileRecords:
    """
    The records of a file in the order of their keys within each kind: suppliers, dimensions, documents, bad rows. Records of
    which the file says nothing (`adapters.payables.documents.other_rows`) are none of these.
    """

    records: list[Record]
    reckoning: Reckoning


@dataclass(frozen=True, slots=True)
class Rules:
    """
    Holds what a source's files are read by, and for this one file the doubts that a person has `accepted`, and the payees of
    `earlier` files, the newest first.
    """

    source: str
    layouts: Mapping[str, PayablesLayout]
    currency: str = "GBP"
    encoding: str | None = None
    last_line: str = "closed"
    unlike: Unlike = "by-name"
    largest: int = 50_000_000
    accepted: frozenset[str] = frozenset()
    earlier: tuple[EarlierPayees, ...] = ()
    no_days: frozenset[date] = NO_DAYS


def read(name: str, data: bytes, rules: Rules) -> FileRecords:
    """
    Read a file's bytes; `name` is the extract's name.

    :raises BadRecordError: see `opened`.
    """
    with opened(name, data, rules) as found:
        records = [record for portion in found.portions(1000) for record in portion if record.row[0] != "other"]
        return FileRecords(records, found.reckoning)


@dataclass(slots=True)
class WholeFile:
    """A file that was read to its end and is whole: its account, and its records, which wait on disk."""

    reckoning: Reckoning
    scratch: FileScratch
    digest: bytes = b""

    def packed(self, most: int) -> Iterator[list[bytes]]:
        """The rows of its records, so many at a time; `unpacked` makes records of them."""
        rows = self.scratch.rows()
        while some := list(islice(rows, most)):
            yield some

    def portions(self, most: int) -> Iterator[list[Record]]:
        """Its records, so many at a time."""
        given = 0
        for rows in self.packed(most):
            yield unpacked(rows, given)
            given += len(rows)


def unpacked(rows: Sequence[bytes], given: int) -> list[Record]:
    """A portion of records; `given` is how many came before it."""
    return [Record(row[1], (at,), row) for at, row in enumerate(map(loads, rows), start=given)]


@contextmanager
def opened(name: str, data: bytes, rules: Rules) -> Iterator[WholeFile]:
    """
    Read a file's bytes to their end, and keep its records ready; `name` is the extract's name.

    :raises BadRecordError: the file cannot be read as one thing: no layout or several fit, the encoding is in doubt, or it is
    not whole. A single row that cannot be read is a record whose mapping raises.
    :raises DoubtfulError: that may be, and a person may accept it: its end, a total, copies of all rows.
    """
    where = f"{rules.source} extract {name}"
    if not is_workbook(data):
        data = data.rstrip(b"\x1a")  # DOS ends a text so
    if not data.strip(b"\r\n\t \xef\xbb\xbf"):
        raise BadRecordError(where, field="file", rule="is empty", shape="nothing", fix="export it again")
    ways = tables(where, data, encoding=rules.encoding, largest=rules.largest)
    with ExitStack() as stack:
        found: list[WholeFile] = []
        for way in ways:
            scratch = stack.enter_context(closing(FileScratch()))
            found.append(_read(where, name, way, rules, scratch, digested=len(ways) > 1))
            if found[-1].digest != found[0].digest:
                raise BadRecordError(
                    where, field="encoding", rule=f"may be {found[0].reckoning.how} or {found[-1].reckoning.how}, "
                    "and the records would differ", shape="bytes",
                    fix="export it as UTF-8, or name its encoding in the settings",
                )  # fmt: skip
        yield found[0]


def _read(where: str, name: str, ways: list[Table], rules: Rules, scratch: FileScratch, *, digested: bool) -> WholeFile:
    fits, doubts = fit(where, ways, rules.layouts), Doubts(where, rules.accepted)
    found = fits[0]
    refuse_torn(doubts, found, rules.last_line)
    origin, tally, payees = Origin(rules.source, name, found.layout, rules.currency), RowTally(), _payees(found.layout, rules)
    how, count = "; ".join(f.table.how for f in fits), sum(f.table.count for f in fits)
    read = WholeFile(Reckoning(found.name, how, count), scratch)
    every = chain.from_iterable(lines(doubts, each, rules.currency, tally, rules.no_days) for each in fits)
    for document in documents(origin, every, scratch, payees):
        _keep(origin, document, read)
    refuse_hidden_total(doubts, found, tally)
    for about, sayings in scratch.said():
        scratch.keep(_SUPPLIERS_AND_DIMENSIONS, _with_good_facts(said_row(origin, about, sayings), read.reckoning))
    if digested:
        content = blake2b(digest_size=16)
        for row in scratch.rows():
            content.update(repr(loads(row)).encode())
        read.digest = content.digest()
    _count_apart(read.reckoning, tally)
    read.reckoning.doubtful, read.reckoning.names = payees.doubtful, payees.names
    refuse_doubled(doubts, read.reckoning.published, read.reckoning.duplicates)
    return read


def _payees(layout: PayablesLayout, rules: Rules) -> Payees:
    sundry, renamed = re.compile(layout.sundry), re.compile(layout.renamed)
    return Payees(rules.unlike, sundry, renamed, rules.earlier, "names" in rules.accepted)


def _keep(origin: Origin, document: PayablesDocument, read: WholeFile) -> None:
    """Keep a document's row, and its lines' other statements. A document that is spoilt, or refused when mapped, is a bad row."""
    row = _good_row(origin, document)
    if isinstance(row, PayablesDocument):
        read.scratch.keep(_BAD, bad_row(origin, row))
        for other in other_rows(origin, row):
            read.scratch.keep(_OTHER, other)
        _count_bad(read.reckoning, row)
        return
    read.scratch.keep(_DOCUMENTS, row)
    for line in document.lines:
        for about, saying in said(line):
            read.scratch.say(about, saying)
    _count_good(read.reckoning, document)


def _good_row(origin: Origin, document: PayablesDocument) -> Row | PayablesDocument:
    """The document's row; the document with its faults if it is spoilt, or if the canonical schema refuses it."""
    if document.faults:
        return document
    row = document_row(origin, document)
    try:
        mapping.entity(row)
    except ValidationError as error:
        return refused(document, bad_record(row[1], error))
    return row


def _with_good_facts(row: Row, reckoning: Reckoning) -> Row:
    """
    Return a supplier's row without the numbers that the canonical schema refuses, as a wrong or a foreign VAT number: they are
    dropped and counted, because its invoices go out, and they need their supplier.
    """
    if row[0] != "supplier" or not any(row[at] for at in _FACTS.values()):
        return row
    try:
        mapping.entity(row)
    except ValidationError as error:
        for field in {str(each["loc"][0]) for each in error.errors()} & _FACTS.keys():
            row = (*row[: _FACTS[field]], None, *row[_FACTS[field] + 1 :])
            reckoning.dropped[field] = reckoning.dropped.get(field, 0) + 1
    return row


def _count_good(reckoning: Reckoning, document: PayablesDocument) -> None:
    copies = document.copies
    reckoning.duplicates += copies
    reckoning.published += len(document.lines) - copies
    reckoning.money_published += document.net


def _count_bad(reckoning: Reckoning, document: PayablesDocument) -> None:
    amounts = [line.net for line in document.lines if line.net is not None]
    reckoning.quarantined += len(document.lines)
    reckoning.unreadable += len(document.lines) - len(amounts)
    reckoning.money_quarantined += sum(amounts, Decimal("0.00"))
    reason = f"{document.faults[0].heading} {document.faults[0].rule}"
    reckoning.reasons[reason] = reckoning.reasons.get(reason, 0) + len(document.lines)


def _count_apart(reckoning: Reckoning, tally: RowTally) -> None:
    apart = tally.apart
    reckoning.blank, reckoning.preamble, reckoning.headings = apart.blank, apart.preamble, apart.headings
    reckoning.totals, reckoning.notes, reckoning.suspects = tally.totals, tally.notes, tally.suspects
