"""A line of a file may hold several records, or none of a kind: this layout makes a row of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Self

from adapters.kit.layouts import HowWritten, Layout, Passed, told_how
from adapters.port import Row, UnreadRow

NOTHING = Passed("rows without a record of this kind")


@dataclass(frozen=True, slots=True)
class Split:
    """
    Makes rows of each row of another layout: `into` is a function of a module, which is given a row of the class `of` as it was
    read, its values still texts where the file is one, and gives the rows of the records in it. A row that cannot be read stays
    one row. The function is no part of a layout's `repr`, by which a file's digest tells that it is to be read anew: its address
    is another one in every process.
    """

    layout: Layout
    of: type[tuple[Any, ...]]
    into: Callable[[Any], Iterable[Row]] = field(repr=False)

    def written(self, how: HowWritten) -> Self:
        return replace(self, layout=told_how(self.layout, how))

    def rows(self, file: BinaryIO) -> Iterator[Row | Passed]:
        for row in self.layout.rows(file):
            if isinstance(row, Passed | UnreadRow):
                yield row if isinstance(row, Passed) else UnreadRow.of((), row.field, row.rule)
                continue
            made = list(map(tuple, self.into(tuple.__new__(self.of, row))))
            yield from made or [NOTHING]
