"""
Text of fixed-width records as a layout: a line is a record, and its columns stand at fixed places.

    @row_of("payment", key="number")
    class PaymentRecord(NamedTuple):
        number: Annotated[int, At(1, 6)]
        payee: Annotated[str | None, At(7, 24)]

    FixedLayout({"H": Header, "T": Trailer, "": PaymentRecord}, whole=totals)

Where records are headed by others, a column may stand in one of those: `Annotated[str, At(5, 10, of="H")]` with `"H": Label`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from typing import BinaryIO, NamedTuple, Self

from adapters.kit.layout_kinds import FoundRow, Whole, each_row, refused_file
from adapters.kit.layouts import HowWritten, Passed
from adapters.kit.rows import Field, fields_of
from adapters.kit.text import Text, encodings
from adapters.port import Row, UnreadRow
from canonical.errors import DoubtfulError, MisconfiguredError

BLANK_LINES = Passed("blank lines")


@dataclass(frozen=True, slots=True)
class At:
    """
    A column's place in its record, the first and the last character, counted from 1: `Annotated[str, At(7, 24)]`. With `of`
    it is a place in the last `Label` that begins with this text. Of several places the first one counts that is not blank.
    """

    first: int
    last: int
    of: str = ""


class Label(NamedTuple):
    """A record that heads others, or stands between them: only columns of theirs are read from it."""

    beginning: str


@dataclass(frozen=True)
class FixedLayout:
    """
    The records of a text file, a line each. `kinds` are their row classes by the characters that a record begins with; the
    longest that fits counts, and an empty text fits any. Every column has its place, `At`, and comes without the blanks round it.

    A line that ends early holds blanks in its last columns; one that goes on behind them is an `UnreadRow`, unless with blanks.
    `whole` is asked to hold the records together. Where there is none, a last line without an end leaves the file in doubt.
    """

    kinds: Mapping[str, type]
    whole: Whole = field(default=each_row, repr=False)
    encoding: str | None = None
    how: HowWritten = field(default_factory=HowWritten)

    def written(self, how: HowWritten) -> Self:
        return replace(self, how=how)

    def rows(self, file: BinaryIO) -> Iterator[Row | Passed]:
        """
        Give the rows to publish.

        :raises BadRecordError: the encoding is in doubt, or a line is no record of the kinds.
        :raises DoubtfulError: the last line may have been cut off.
        """
        text, blanks = self._text(file), list[int]()
        with closing(self._found(text, blanks)) as found:
            yield from self.whole(found, self.how.accepted)
        yield from (BLANK_LINES for _ in blanks)
        if self.whole is each_row and text.torn and not text.ends_as_in_dos:
            self._insist_on_an_end()

    def _insist_on_an_end(self) -> None:
        if self.how.last_line == "closed" and "end" not in self.how.accepted:
            fix = "export it again; if it is right as it is, let it through: see `ironbridge held`"
            rule = "ends in the middle of a line: it may have been cut off"
            raise DoubtfulError("the file", "end", field="file", rule=rule, shape="text", fix=fix)

    def _text(self, file: BinaryIO) -> Text:
        if not file.read(1):
            raise refused_file("is empty", "nothing")
        file.seek(0)
        names = encodings("the file", file, self.how.encoding or self.encoding)
        if len(names) > 1:
            rule = f"may be {' or '.join(names)}, and the texts would differ"
            raise refused_file(rule, "bytes", "name its encoding in the settings")
        return Text(file, names[0])

    def _found(self, text: Text, blanks: list[int]) -> Generator[FoundRow]:
        heads: dict[str, str] = {}
        for number, line in enumerate(text.lines(), start=1):
            record = line.rstrip("\r\n\x1a")
            if record.strip():
                yield self._record(record, number, heads)
            else:
                blanks.append(number)

    def _record(self, record: str, number: int, heads: dict[str, str]) -> FoundRow:
        beginning = max((each for each in self.kinds if record.startswith(each)), key=len, default=None)
        if beginning is None:
            raise refused_file(f"line {number} begins with none of {', '.join(self.kinds)}", "text")
        kind = self.kinds[beginning]
        if kind is Label:
            heads[beginning] = record
            return FoundRow(kind, (beginning,), number)
        places, width = _places(kind)
        values = [_cut(each, record, heads) for each in places]
        if record[width:].strip():
            rule = f"line {number} has {len(record)} characters, and {width} are known"
            return FoundRow(kind, UnreadRow.of(values, "the record", rule), number)
        return FoundRow(kind, tuple(values), number)


def heads_of(kind: type) -> tuple[str, ...]:
    """The beginnings of the records that hold columns of this row class, in the order of its fields."""
    notes = (note for its in fields_of(kind) for note in its.notes)
    return tuple(dict.fromkeys(note.of for note in notes if isinstance(note, At) and note.of))


def _cut(places: tuple[At, ...], record: str, heads: Mapping[str, str]) -> str:
    for at in places:
        text = (heads.get(at.of, "") if at.of else record)[at.first - 1 : at.last].strip()
        if text:
            return text
    return ""


@cache
def _places(kind: type) -> tuple[tuple[tuple[At, ...], ...], int]:
    """The places of each column, and the width of the record as far as it is known."""
    places = tuple(_places_of(kind, its) for its in fields_of(kind))
    return places, max(at.last for each in places for at in each if not at.of)


def _places_of(kind: type, its: Field) -> tuple[At, ...]:
    """:raises MisconfiguredError: a column has no place."""
    places = tuple(note for note in its.notes if isinstance(note, At))
    if not (places or its.filled) or not all(1 <= at.first <= at.last for at in places):
        fix = "write Annotated[…, At(first, last)], counted from 1"
        raise MisconfiguredError(f"{kind.__name__}.{its.name}", "has no place in its record", fix=fix)
    return places
