"""
Files that are one batch: entries, and records that say how many entries there are and what they come to.

    @row_of("trailer")
    class Trailer(NamedTuple):
        count: Annotated[int, At(2, 5), CountOf("the number of payments is")]
        pence: Annotated[int, At(6, 12), SumOf("the sum in pence is")]

    FixedLayout({"D": Payment, "T": Trailer}, whole=Batch(Payment, "pence", trailer=Trailer))

A file is held to each total that it states, and is published whole or not at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from adapters.kit.layout_fixed import Label, heads_of
from adapters.kit.layout_kinds import FoundRow, filled_in, must_agree, refused_file, should_agree
from adapters.kit.layouts import Passed
from adapters.kit.rows import Field, declared_of, fields_of
from adapters.kit.typed import typed
from adapters.port import Row


@dataclass(frozen=True, slots=True)
class CountOf:
    """
    A column states the number of entries, those of one `side` if it is named. An error says `says {what} 4, and holds 3`; a
    `{line}` in the words is the line of the record.
    """

    what: str
    side: str | None = None


@dataclass(frozen=True, slots=True)
class SumOf:
    """A column states the sum of the amounts of the entries, in the same way."""

    what: str
    side: str | None = None


@dataclass(frozen=True)
class Batch:
    """
    Holds a file of entries together: a `Whole` of a layout. `entry` is the row class of the entries, `amount` its column of type
    int or Decimal that is summed up, `number` its `Filled` column for the entry's number in the file, if it has one.

    Totals are the columns with `CountOf` and `SumOf` of these records: `head` states those of the whole file and must be there,
    `trailer` too, and nothing may stand behind it; each `part` states those of the entries since the one before. Entries whose
    columns stand in a `Label` come behind it.

    `side` is the column of an entry by whose code `sides` tells on which side it counts. A code that is not among them refuses
    the file; an entry whose code has something `Passed` counts for nothing. `passes` tells of an entry that counts whether it
    is passed over nevertheless. If totals do not agree the file is refused; where `doubt` is a word, a person may accept it.

    :raises BadRecordError: the file does not hold together, or an entry has no amount, so that no total could be held to.
    :raises DoubtfulError: its totals do not agree, and there is a word for that doubt.
    """

    entry: type[tuple[Any, ...]]
    amount: str
    number: str = ""
    head: type | None = None
    part: type | None = None
    trailer: type | None = None
    side: str = ""
    sides: Mapping[str, str | Passed] = field(default_factory=dict)
    passes: Callable[[Any], Passed | None] | None = None
    doubt: str = ""

    def __call__(self, records: Iterator[FoundRow], accepted: frozenset[str]) -> Iterator[Row | Passed]:
        reading = _BatchReading(self, accepted)
        for found in records:
            if reading.is_entry(found):
                yield reading.entry(found)
        reading.end()


class _Tally:
    """Entries of each side, and the sums of their amounts."""

    def __init__(self) -> None:
        self._count = Counter[str]()
        self._sum: dict[str, Decimal | int] = defaultdict(int)

    def add(self, side: str, amount: Decimal | int) -> None:
        self._count[side] += 1
        self._sum[side] += amount

    @property
    def count(self) -> int:
        return self._count.total()

    def held(self, total: CountOf | SumOf) -> Decimal | int:
        held: Mapping[str, Decimal | int] = self._count if isinstance(total, CountOf) else self._sum
        return sum(held.values()) if total.side is None else held.get(total.side, 0)


class _BatchReading:
    """One file, as far as it is read."""

    def __init__(self, batch: Batch, accepted: frozenset[str]) -> None:
        self._batch, self._accepted = batch, accepted
        self._all, self._part = _Tally(), _Tally()
        self._stated: dict[type | None, FoundRow] = {}
        self._heads, self._headed = heads_of(batch.entry), set[str]()
        self._fields = {its.name: its for its in fields_of(batch.entry)}

    def is_entry(self, found: FoundRow) -> bool:
        """Take a record for what it is; whether it is an entry."""
        batch = self._batch
        if batch.trailer in self._stated:
            raise refused_file(f"goes on in line {found.line}, behind {_word(batch.trailer)}", "a record")
        if found.kind is Label:
            self._headed.add(found.row[0])
        elif found.kind is batch.part:
            self._hold(found, self._part)
            self._part = _Tally()
        elif found.kind is not batch.entry:
            self._stated[found.kind] = found
        return found.kind is batch.entry

    def entry(self, found: FoundRow) -> Row | Passed:
        """Count an entry."""
        batch, row = self._batch, found.row
        if not self._headed.issuperset(self._heads):
            end = f" and {_word(batch.trailer)}" if batch.trailer else ""
            raise refused_file(f"line {found.line} does not stand between {self._heads[-1]}{end}", "a record")
        read = batch.entry(*row)
        side = self._side(read, found.line)
        if isinstance(side, Passed):
            return side
        amount = _amount(self._fields[batch.amount], getattr(read, batch.amount), found.line)
        self._all.add(side, amount)
        self._part.add(side, amount)
        passed = batch.passes(read) if batch.passes else None
        numbered = {batch.number: self._all.count} if batch.number else {}
        return passed or filled_in(batch.entry, row, **numbered)

    def end(self) -> None:
        """Hold the whole file to the totals of its head and its trailer."""
        batch = self._batch
        for kind, why in ((batch.head, ""), (batch.trailer, ": its end is missing")):
            if kind is not None and kind not in self._stated:
                raise refused_file(f"has no {_word(kind)}{why}", "a file")
            if kind is not None:
                self._hold(self._stated[kind], self._all)

    def _side(self, read: Any, line: int) -> str | Passed:
        if not self._batch.side:
            return ""
        code = getattr(read, self._batch.side)
        if code not in self._batch.sides:
            raise refused_file(f"line {line} has a {self._fields[self._batch.side].column} that is not known", "a code")
        return self._batch.sides[code]

    def _hold(self, found: FoundRow, held: _Tally) -> None:
        said = typed(found.kind)(found.row)
        for its in fields_of(found.kind):
            for total in its.notes:
                if isinstance(total, CountOf | SumOf):
                    what = total.what.format(line=found.line)
                    self._agree(what, getattr(said, its.name), held.held(total))

    def _agree(self, what: str, said: Decimal | int | None, held: Decimal | int) -> None:
        if self._batch.doubt:
            should_agree(self._batch.doubt, what, said, held, self._accepted)
        else:
            must_agree(what, said, held)


def _word(kind: type | None) -> str:
    """The name of a kind of record: the last step of a path."""
    return "" if kind is None else declared_of(kind).table.rpartition("/")[2]


def _amount(its: Field, written: Any, line: int) -> Decimal | int:
    """The amount of an entry: digits where its column is an int, as of pence, and a decimal number otherwise."""
    text = str(written)
    if its.kind is int and text.isascii() and text.isdigit():
        return int(text)
    try:
        amount = Decimal("NaN" if its.kind is int or written is None else text)
    except ArithmeticError:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise refused_file(f"line {line} has no amount", "a record")
    return amount
