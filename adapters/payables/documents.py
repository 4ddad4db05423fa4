"""
From lines to records: finds the lines of each document, its key, the payee, and the dimensions that were used.

Nothing here depends on the order of the rows, so a corrected file publishes only the differences. Lines are sorted on
disk (`FileScratch`), and one document at a time is in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from typing import Any

from adapters.payables.cells import plain
from adapters.payables.layout import DATES, PayablesLayout
from adapters.payables.payees import Payees
from adapters.payables.rows import CellFault, PayablesLine
from adapters.payables.scratch import FileScratch
from adapters.payables.sheets import place
from adapters.port import Row
from canonical.errors import BadRecordError
from canonical.key import escaped, key_as_written

_LONG = 48


def token(text: str) -> str:
    """A text as an identifier in a key, escaped. A text that is too long is cut, and gets a digest of itself."""
    safe = escaped(" ".join(text.split()))
    return safe if len(safe) <= _LONG else f"{safe[:30].rstrip(' %')}~{digest(text)}"


def digest(*content: object) -> str:
    return blake2b(repr(content).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Origin:
    """
    An origin holds all that the records of one file have in common: the source, the extract's name, its layout, the
    currency.
    """

    source: str
    extract: str
    layout: PayablesLayout
    currency: str

    def key(self, entity: str, *parts: str) -> str:
        """A key of parts that `token` made."""
        return key_as_written(self.source, entity, *parts)


@dataclass(slots=True)
class PayablesDocument:
    """
    Some lines that are one document, or one that is spoilt: then `faults` says by what. A row whose own document cannot be
    told has no identity, and its place in the file is its key: no word of a ledger can be taken for that.
    """

    identity: tuple[str, ...]
    number: str
    lines: list[PayablesLine]
    faults: list[CellFault]
    copy: bool = False

    @property
    def copies(self) -> int:
        """
        Tell how many of its lines repeat another one exactly. Without a document number each copy is a document of its
        own.
        """
        return 1 if self.copy else len(self.lines) - len({line.content for line in self.lines})

    @property
    def net(self) -> Decimal:
        return sum((line.net for line in self.lines if line.net is not None), Decimal(0))

    @property
    def entity(self) -> str:
        return "credit-note" if self.net < 0 else "invoice"

    @property
    def may_be_either(self) -> bool:
        """Tell whether it may be an invoice or a credit note: an amount cannot be read, or another row may belong to it."""
        strays = {fault.row for fault in self.faults} - {line.row for line in self.lines}
        return bool(strays) or any(line.net is None for line in self.lines)


# -- grouping ------------------------------------------------------------------------------------------------------


def documents(
    origin: Origin, lines: Iterable[PayablesLine], scratch: FileScratch, payees: Payees
) -> Iterator[PayablesDocument]:
    """
    The lines as documents, in the order of their keys' parts. A row with a fault spoils its document as a whole: a part
    of an invoice is wrong money. One whose own document cannot be told spoils every document that it might belong to.
    """
    heading = origin.layout.heading("supplier_number")
    for identity, group in scratch.grouped(_placed(origin, lines, scratch, payees)):
        settled = [payees.settled(line, heading) for line in group]
        for document in _apart(origin, _document(origin, identity, settled)):
            for stray in scratch.strays(document.number):
                if _might_hold(origin.layout, document.lines[0], payees.settled(stray, heading)):
                    document.faults += stray.faults
            yield document
    for line in map(partial(payees.settled, heading=heading), scratch.strays()):
        yield PayablesDocument((), "", [line], line.faults)


def _placed(
    origin: Origin, lines: Iterable[PayablesLine], scratch: FileScratch, payees: Payees
) -> Iterator[tuple[tuple[str, ...], PayablesLine]]:
    """Each line with its document's identity; a line without one becomes a stray."""
    for line in lines:
        payees.meet(line)
        if _placeable(origin.layout, line):
            yield _identity(origin, line), line
        else:
            scratch.stray(line)


def _placeable(layout: PayablesLayout, line: PayablesLine) -> bool:
    if not line.words.get("number"):
        return layout.unnumbered == "single" and not line.faults
    return all(part in line.dates for part in layout.document if part in DATES) and "supplier_name" in line.words


def _identity(origin: Origin, line: PayablesLine) -> tuple[str, ...]:
    number = line.words.get("number")
    if not number:
        return ("", digest(line.content))
    scope = (token(origin.extract),) if origin.layout.scope == "extract" else ()
    return (*scope, *(_part(line, part) for part in origin.layout.document))


def _part(line: PayablesLine, part: str) -> str:
    if part == "supplier":
        return supplier_id(line)
    return token(line.words["number"]) if part == "number" else line.dates[part].isoformat()


def _document(origin: Origin, identity: tuple[str, ...], lines: list[PayablesLine]) -> PayablesDocument:
    document = PayablesDocument(identity, lines[0].words.get("number", ""), lines, [f for line in lines for f in line.faults])
    said: list[tuple[str, str, Collection[object]]] = [
        ("supplier", "supplier_name", {supplier_id(line) for line in lines}),
        *((str(part), str(part), {line.dates.get(part) for line in lines}) for part in DATES),
        ("corrected document", "corrects", {line.words.get("corrects") for line in lines}),
    ]
    for what, heading, values in said:
        if len(values) > 1 and not document.faults:
            rule = f"is not the same in all rows of one document, so that its {what} is in doubt"
            title = origin.layout.heading(heading)
            document.faults += [CellFault(line.row, title, rule, f"{len(values)} values") for line in lines]
    return document


def _apart(origin: Origin, document: PayablesDocument) -> list[PayablesDocument]:
    """Rows without a number are a document each; exact copies are told apart by counting them."""
    if document.identity[0]:
        return [document]
    mark = document.identity[1]
    names = [mark if n == 1 else f"{mark}-{n}" for n in range(1, len(document.lines) + 1)]
    return [
        PayablesDocument((token(origin.extract), name), f"u-{name}", [line], document.faults, copy=n > 0)
        for n, (name, line) in enumerate(zip(names, document.lines, strict=True))
    ]


def _might_hold(layout: PayablesLayout, line: PayablesLine, stray: PayablesLine) -> bool:
    """Tell whether a row of the same number may belong to the line's document, as far as it can be read."""
    if "supplier" in layout.document and "supplier_name" in stray.words and supplier_id(stray) != supplier_id(line):
        return False
    return all(stray.dates.get(part, line.dates[part]) == line.dates[part] for part in layout.document if part in DATES)


# -- records -------------------------------------------------------------------------------------------------------


def supplier_id(line: PayablesLine) -> str:
    """
    The ledger's number of the supplier; without one, a digest of its name in plain letters: a key must name nobody. A
    withheld payee has no number, whatever the file says beside it.
    """
    if line.redacted:
        return f"r-{digest(plain(line.words['supplier_name']))}"
    number = line.words.get("supplier_number")
    return token(number) if number else f"n-{digest(plain(line.words['supplier_name']))}"


def document_row(origin: Origin, document: PayablesDocument) -> Row:
    """The row of an invoice or a credit note, which `mapping.entity` maps. A credit note's amounts are positive."""
    first = document.lines[0]
    sign = -1 if document.entity == "credit-note" else 1
    return (
        document.entity,
        origin.key(document.entity, *document.identity),
        document.number,
        origin.key("supplier", supplier_id(first)),
        origin.currency,
        *(first.dates.get(part) for part in DATES),
        first.words.get("corrects"),
        tuple(_numbered(document.lines, sign)),
    )


def _numbered(lines: list[PayablesLine], sign: int) -> Iterable[Row]:
    """The file's own line numbers where they tell all lines apart, else ranks by content, copies side by side."""
    own = [line.words.get("line", "") for line in lines]
    kept = len(set(own)) == len(own) and all(n.isascii() and n.isdigit() and 0 < int(n) < 10**9 for n in own)
    ranked = sorted(lines, key=lambda line: (_as_number(line.words.get("line", "")), repr(line.content)))
    for rank, line in enumerate(ranked, start=1):
        yield (
            int(line.words["line"]) if kept else rank,
            line.words.get("description"),
            line.account[0] if line.account else None,
            _signed(line.net, sign),
            _signed(line.tax, sign),
            tuple((name, code) for name, code, _ in line.dimensions),
        )


def _as_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _signed(amount: Decimal | None, sign: int) -> Decimal | None:
    return None if amount is None else amount * sign + Decimal(0)


_OF_SUPPLIERS = ("supplier_number", "supplier_name", "vat_number", "company_number", "charity_number")


def said(line: PayablesLine) -> Iterator[tuple[tuple[str, ...], tuple[Any, ...]]]:
    """
    The statements of a published line besides its document: about a supplier, and about values of dimensions. First come the
    kind and the key of the thing, then the statement. Accounts are the dimension ACCOUNT.
    """
    yield ("0 supplier", supplier_id(line)), (line.redacted, *(line.words.get(word) for word in _OF_SUPPLIERS))
    analysed = [("ACCOUNT", *line.account)] if line.account else []
    for dimension, code, name in (*analysed, *line.dimensions):
        yield ("1 dimension", dimension, code), (name,)


def said_row(origin: Origin, about: tuple[str, ...], sayings: Sequence[tuple[tuple[Any, ...], int]]) -> Row:
    """The row of a supplier or of a dimension's value. Of several spellings the commonest wins, so that no single row decides."""
    kind, *what = about
    columns = [_commonest(column, sayings) for column in range(len(sayings[0][0]))]
    if kind == "0 supplier":
        return _supplier_row(origin, what[0], columns)
    dimension, code = what
    key = origin.key("ledger-dimension", token(dimension), token(code))
    return ("ledger-dimension", key, dimension, code, *columns)


def _supplier_row(origin: Origin, name: str, columns: Sequence[Any]) -> Row:
    withheld, number, called, *facts = columns
    shown, told = (name, [None] * len(facts)) if withheld else (number or name, facts)
    return ("supplier", origin.key("supplier", name), shown, called, *told, withheld)


def _commonest(column: int, sayings: Iterable[tuple[tuple[Any, ...], int]]) -> Any:
    counts = Counter[Any]()
    for values, times in sayings:
        if values[column] is not None:
            counts[values[column]] += times
    return min(counts, key=lambda value: (-counts[value], str(value)), default=None)


def bad_row(origin: Origin, document: PayablesDocument) -> Row:
    """The row of a document that must not be published: what is wrong with which rows of the file."""
    key = _bad_key(origin, document)
    first = document.faults[0]
    alike = sorted({f.row for f in document.faults if (f.heading, f.rule) == (first.heading, first.rule)})
    others = dict.fromkeys(f"{f.heading} {f.rule}" for f in document.faults if (f.heading, f.rule) != (first.heading, first.rule))
    return ("bad", key, _rows(alike), first.heading, "; and ".join([first.rule, *others]), first.shape, first.fix)


def _bad_key(origin: Origin, document: PayablesDocument) -> str:
    if document.identity:
        return origin.key(document.entity, *document.identity)
    row = place(document.lines[0].row).replace(" of sheet ", "-")
    return origin.key("row", f"{token(origin.extract)}-{row}")


def other_rows(origin: Origin, document: PayablesDocument) -> Iterator[Row]:
    """The row of what a bad document may be as well, a credit note or an invoice: it stays if it was published."""
    if document.identity and document.may_be_either:
        other = "invoice" if document.entity == "credit-note" else "credit-note"
        yield ("other", origin.key(other, *document.identity))


def _rows(rows: Sequence[int]) -> str:
    shown = ", ".join(map(place, rows[:5])) + (f" and {len(rows) - 5} more" if len(rows) > 5 else "")
    return f"row {shown}" if len(rows) == 1 else f"rows {shown}"


def refused(document: PayablesDocument, error: BadRecordError) -> PayablesDocument:
    """The document with what the canonical schema said of it as its fault."""
    faults = [CellFault(line.row, error.field, error.rule, error.shape) for line in document.lines]
    return PayablesDocument(document.identity, document.number, document.lines, faults)
