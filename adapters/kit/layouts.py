"""
The bytes of a file become rows by a layout: this is what a layout promises.

`adapters.kit.delimited` reads CSV by the names in its first line. Layouts may stand on others: one that opens an archive gives
the member to another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, Protocol, Self, runtime_checkable

from adapters.port import Row


class Passed(NamedTuple):
    """
    A layout passes something over that is no row, such as a blank line. It is counted by `kind`, which is in words for people,
    in the plural and without any value of the file: `blank lines`.
    """

    kind: str


class Layout(Protocol):
    """
    How the bytes of a file become rows.

    A layout is a picklable value without state: another process may read with it.
    """

    def rows(self, file: BinaryIO) -> Iterator[Row | Passed]:
        """
        Give the rows in the file's order: plain tuples of a row class's fields in their order, in which joined parts nest. Their
        values are texts, numbers, days and times. A row that cannot be read is an `UnreadRow` of the values that can be.

        The file is at its beginning, and `seek` works on it. Memory does not grow with the file: a gigabyte is read in 256 MB.

        :raises BadRecordError: the file is not what it claims to be, with field="file"; at any time before the end. Nothing of
        the file is published then.
        :raises DoubtfulError: that may be, and a person may accept it.
        """
        ...


@dataclass(frozen=True, slots=True)
class HowWritten:
    """
    The settings of a source say how its texts are written, and a person has `accepted` doubts about this one file.

    `encoding` is None where it is found out. `last_line` is `open` for a system that never ends a file's last line. `shelf` is a
    folder of the adapter's own, in which a layout may lay what it made of a file for the other streams that read the same one.
    """

    encoding: str | None = None
    last_line: Literal["closed", "open"] = "closed"
    accepted: frozenset[str] = frozenset()
    shelf: Path | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class XmlOr:
    """Reads a file whose first sign is `<` by the layout `xml`, and any other one by `other`."""

    xml: Layout
    other: Layout

    def written(self, how: HowWritten) -> Self:
        return replace(self, xml=told_how(self.xml, how), other=told_how(self.other, how))

    def rows(self, file: BinaryIO) -> Iterator[Row | Passed]:
        begin = file.read(64).lstrip(b"\xef\xbb\xbf\xfe\xff\0 \t\r\n")
        file.seek(0)
        yield from (self.xml if begin.startswith(b"<") else self.other).rows(file)


@runtime_checkable
class WrittenLayout(Protocol):
    """A layout that reads text or lays something on the shelf, or that hands a file on to such a one."""

    def written(self, how: HowWritten) -> Self: ...


def told_how(layout: Layout, how: HowWritten) -> Layout:
    """The layout, told how texts are written if it wants to know."""
    return layout.written(how) if isinstance(layout, WrittenLayout) else layout
