"""A whole file read: its records, and an account of every row and every penny of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic import ValidationError

from adapters.ledger import mapping
from adapters.ledger.documents import (
    Document,
    Ledger,
    bad_row,
    dimension_rows,
    document_row,
    documents,
    refused,
    supplier_rows,
)
from adapters.ledger.layout import Layout
from adapters.ledger.recognise import Fit, fit
from adapters.ledger.rows import Lines, lines
from adapters.ledger.tables import Table, tables
from adapters.port import Record, Row
from canonical.entity import bad_record
from canonical.errors import BadRecordError


@dataclass(slots=True)
class Reckoning:
    """
    Where every row of a file went, and its money. `rows` counts all rows as a spreadsheet does.

    `duplicates` are published too: rows that repeat another one exactly are payments of their own; they are told apart.
    `unreadable` counts the quarantined rows whose amount could not be read; all others are in the sums.
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
    unreadable: int = 0
    money_published: Decimal = Decimal("0.00")
    money_quarantined: Decimal = Decimal("0.00")
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def accounted(self) -> int:
        """All rows that went somewhere: equal to `rows`, or a row was lost."""
        apart = self.blank + self.preamble + self.headings + self.totals + self.notes
        return apart + self.published + self.duplicates + self.quarantined

    @property
    def money(self) -> Decimal:
        return self.money_published + self.money_quarantined


@dataclass(frozen=True, slots=True)
class Reading:
    """The records of a file in the order of their keys within each kind: suppliers, dimensions, documents, bad rows."""

    records: list[Record]
    reckoning: Reckoning


@dataclass(frozen=True, slots=True)
class Rules:
    """What a source's files are read by."""

    source: str
    layouts: Mapping[str, Layout]
    currency: str = "GBP"
    encoding: str | None = None
    largest: int = 50_000_000


def read(name: str, data: bytes, rules: Rules) -> Reading:
    """
    Read a file's bytes; `name` is what it is an extract of.

    :raises BadRecordError: the file cannot be read as one thing: no layout or several, an encoding in doubt, a total
        that does not agree. Single rows that cannot be read are records whose mapping raises.
    """
    where = f"{rules.source} extract {name}"
    if not data.strip(b"\r\n\t \xef\xbb\xbf"):
        raise BadRecordError(where, field="file", rule="is empty", shape="nothing", fix="export it again")
    readings = []
    for ways in tables(where, data, encoding=rules.encoding, largest=rules.largest):
        readings.append(_read(where, name, ways, rules))
        if readings[-1].records != readings[0].records:
            raise BadRecordError(
                where, field="encoding", rule=f"may be {readings[0].reckoning.how} or {readings[-1].reckoning.how}, "
                "and the records would differ", shape="bytes",
                fix="export it as UTF-8, or name its encoding in the settings",
            )  # fmt: skip
    return readings[0]


def _read(where: str, name: str, ways: list[Table], rules: Rules) -> Reading:
    found = fit(where, ways, rules.layouts)
    read = lines(where, found, rules.currency)
    ledger = Ledger(rules.source, name, found.layout, rules.currency)
    good, bad = _sorted(ledger, documents(ledger, read.lines))
    published = [line for document, _ in good for line in document.lines]
    rows: list[Row] = [
        *supplier_rows(ledger, published),
        *dimension_rows(ledger, published),
        *(row for _, row in good),
        *(bad_row(ledger, document) for document in bad),
    ]
    records = [Record(row[1], (at,), row) for at, row in enumerate(rows)]
    return Reading(records, _reckoned(found, read, [document for document, _ in good], bad))


def _sorted(ledger: Ledger, made: list[Document]) -> tuple[list[tuple[Document, Row]], list[Document]]:
    """The documents that map, with their rows, and those that are spoilt or that the canonical schema refuses."""
    good, bad = [], []
    for document in made:
        if document.faults:
            bad.append(document)
            continue
        row = document_row(ledger, document)
        try:
            mapping.entity(row)
        except ValidationError as error:
            bad.append(refused(document, bad_record(row[1], error)))
        else:
            good.append((document, row))
    return good, bad


def _reckoned(found: Fit, read: Lines, good: list[Document], bad: list[Document]) -> Reckoning:
    spoilt = [line for document in bad for line in document.lines]
    copies = _copies(good)
    reckoning = Reckoning(
        layout=found.name, how=found.table.how, rows=len(found.table.rows), blank=found.blank, preamble=found.preamble,
        headings=found.headings, totals=read.totals, notes=read.notes, duplicates=copies,
        published=sum(len(d.lines) for d in good) - copies, quarantined=len(spoilt),
        unreadable=sum(1 for line in spoilt if line.net is None),
        money_published=sum((d.net for d in good), Decimal("0.00")),
        money_quarantined=sum((line.net for line in spoilt if line.net is not None), Decimal("0.00")),
    )  # fmt: skip
    for document in bad:
        reason = f"{document.faults[0].heading} {document.faults[0].rule}"
        reckoning.reasons[reason] = reckoning.reasons.get(reason, 0) + len(document.lines)
    return reckoning


def _copies(documents: list[Document]) -> int:
    """A copy of a numbered row lies in the same document; unnumbered copies are documents of their own."""
    seen: set[tuple[object, ...]] = set()
    copies = 0
    for document in documents:
        for line in document.lines:
            copies += line.content in seen
            seen.add(line.content)
    return copies
