"""Reads CSV and its like by the names in its first line. A file that may have lost its end is refused."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, BinaryIO, Self

from adapters.kit.layouts import HowWritten, Passed
from adapters.kit.rows import Declared, of_header, twofold
from adapters.kit.text import Text, encodings, refused
from adapters.port import Row, UnreadRow
from canonical.errors import BadRecordError, DoubtfulError

BLANK, HEADINGS = Passed("blank lines"), Passed("repeated headings")
_END_OF_DOS = "\x1a"


@dataclass(frozen=True, slots=True)
class Delimited:
    """
    CSV whose first line names the columns, in any order; columns that the row class does not have are left out.

    The texts of a row come without the blanks around them. A row with fewer or more cells than the first line is an `UnreadRow`;
    empty cells behind the last column do not count. Blank lines and repeated headings are passed over. `called` gives columns by
    the headings that a source has for them, where it calls them otherwise.
    """

    row: type[tuple[Any, ...]]
    delimiter: str = ","
    encoding: str | None = None
    how: HowWritten = field(default_factory=HowWritten)
    called: Mapping[str, str] = field(default_factory=dict)

    def written(self, how: HowWritten) -> Self:
        return replace(self, how=how)

    def rows(self, file: BinaryIO) -> Iterator[Row | Passed]:
        """
        Give the file's rows.

        :raises BadRecordError: the encoding or the quotes are in doubt, or a column is missing.
        :raises DoubtfulError: the last line may have been cut off, or a quoted cell may hold another row.
        """
        texts = [Text(file, name) for name in encodings(self._where, file, self.how.encoding or self.encoding)]
        if len({self._digest(text) for text in texts} if len(texts) > 1 else texts) > 1:
            rule = f"may be {' or '.join(text.encoding for text in texts)}, and the rows would differ"
            raise refused(self._where, "encoding", rule, "bytes")
        return self._rows(texts[0])

    @property
    def _where(self) -> str:
        declared: Declared = self.row.__dict__.get("__declared__", Declared(self.row.__name__))
        return declared.table

    def _digest(self, text: Text) -> bytes:
        content = blake2b(digest_size=16)
        for row in self._rows(text):
            content.update(repr(row).encode())
        return content.digest()

    def _rows(self, text: Text) -> Iterator[Row | Passed]:
        try:
            yield from self._below_headings(text)
        except csv.Error as error:
            rule = f"is not text that a CSV reader understands ({error})"
            raise BadRecordError(self._where, field="file", rule=rule, shape="text", fix="export it again") from None

    def _below_headings(self, text: Text) -> Iterator[Row | Passed]:
        lines = csv.reader(text.lines(), delimiter=self.delimiter, strict=True)
        header = next((cells for cells in lines if _written(cells)), None)
        if header is None:
            raise BadRecordError(self._where, field="file", rule="is empty", shape="nothing", fix="export it again")
        while len(header) > 1 and not header[-1].strip():
            header.pop()
        names = [self.called.get(name.strip(), name) for name in header]
        self._insist_on_one_of_each(names)
        pick, width, filled = of_header(self.row, names), len(header), header
        for cells in lines:
            written = _written(cells)
            if not written:
                yield from () if cells == [_END_OF_DOS] else (BLANK,)
                continue
            if "\n" in written or "\r" in written:
                self._insist_on_one_row(cells, width)
            filled = cells
            if cells == header:
                yield HEADINGS
            elif len(cells) == width or (len(cells) > width and not _written(cells[width:])):
                yield tuple(map(str.strip, pick(cells)))
            else:
                yield _ragged(pick([*cells, *[""] * (width - len(cells))]), len(cells), width)
        self._insist_on_an_end(text, short=len(filled) < width)

    def _insist_on_one_of_each(self, header: Sequence[str]) -> None:
        """:raises BadRecordError: a column stands twice in the first line: nobody can tell which one is meant."""
        if doubled := twofold(self.row, header):
            raise BadRecordError(
                self._where, field=", ".join(doubled), rule="the file has two such columns", shape=f"{len(header)} columns",
                fix="ask for the file with one of them",
            )  # fmt: skip

    def _insist_on_one_row(self, cells: Sequence[str], width: int) -> None:
        """:raises DoubtfulError: the lines of a quoted cell would be whole rows: a quote before it was not closed."""
        lines = self.delimiter.join(cells).splitlines()
        if width > 2 and sum(line.count(self.delimiter) >= width - 1 for line in lines) > 1:
            self._refuse("quotes", "has a quoted cell that holds another row: a quote may not be closed")

    def _insist_on_an_end(self, text: Text, *, short: bool) -> None:
        """:raises DoubtfulError: the file may have been cut off."""
        if not text.torn or text.ends_as_in_dos:
            return
        if self.how.last_line == "closed":
            self._refuse("end", "ends in the middle of a line: it may have been cut off")
        elif short:
            self._refuse("end", "ends in the middle of a row")

    def _refuse(self, doubt: str, rule: str) -> None:
        if doubt not in self.how.accepted:
            fix = "export it again; if it is right as it is, let it through: see `ironbridge held`"
            raise DoubtfulError(self._where, doubt, field="file", rule=rule, shape="text", fix=fix)


def _written(cells: Sequence[str]) -> str:
    """The text of some cells; empty if they are blank."""
    return "".join(cells).strip().strip(_END_OF_DOS)


def _ragged(values: Row, cells: int, width: int) -> UnreadRow:
    rule = f"has {cells} cells, and the first line has {width}"
    return UnreadRow.of([value.strip() for value in values], "the row", rule)
