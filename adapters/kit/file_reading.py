"""Reading one file whole: its rows are looked through, and then given as records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from typing import Any, BinaryIO

from adapters.engine.regions import extract_mark
from adapters.kit.layouts import Layout, Passed
from adapters.kit.openpgp import PgpKeys, decrypted
from adapters.kit.places import Found, opened_file
from adapters.kit.rows import declared_of
from adapters.kit.scratch import KeptRow, KeptRows
from adapters.kit.typed import typed
from adapters.port import Record, Row, UnreadRow
from canonical.errors import BadRecordError, DoubtfulError, MisconfiguredError, UnavailableError, named
from canonical.key import KeysOf


@dataclass(frozen=True, slots=True)
class FileReading:
    """Reads one file. It is a picklable value: another process may do it."""

    source: str
    found: Found
    layout: Layout
    row: type[tuple[Any, ...]]
    keys: KeysOf
    largest: int
    no_days: frozenset[date]
    pgp: PgpKeys | None = None

    def __call__(self) -> Generator[Any, None, None]:
        """
        Give an account of the file, and then its rows, packed a portion at a time (`adapters.kit.scratch.unpacked`).

        :raises BadRecordError: nothing of the file is to be published.
        """
        columns = ", ".join(declared_of(self.row).key)
        with closing(KeptRows(columns)) as kept:
            passed = self._kept(kept)
            copies, unlike = kept.judge()
            yield {"rows": kept.count, "copies": copies, "unlike": unlike, "passed": dict(passed)}
            yield from kept.portions()

    def _kept(self, kept: KeptRows) -> Counter[str]:
        passed, key = Counter[str](), typed(self.row, self.no_days).key
        with opened_file(self.source, self.found, self.largest) as file:
            for row in self._told(self._opened(file)):
                if isinstance(row, Passed):
                    passed[row.kind] += 1
                else:
                    kept.keep(*self._keyed(key, row, kept.count + 1))
        return passed

    def _opened(self, file: BinaryIO) -> Iterator[Row | Passed]:
        with decrypted(file, self.found.path, self.pgp, self.largest) as plain:
            yield from self.layout.rows(plain)

    def _told(self, rows: Iterator[Row | Passed]) -> Iterator[Row | Passed]:
        """The rows. What the layout raises is told of this file."""
        where = f"{self.source} extract {self.found.name}"
        try:
            yield from rows
        except DoubtfulError as error:
            raise DoubtfulError(
                where, error.doubt, field=error.field, rule=error.rule, shape=error.shape, fix=error.fix
            ) from None
        except BadRecordError as error:
            raise BadRecordError(where, field=error.field, rule=error.rule, shape=error.shape, fix=error.fix) from None
        except (UnavailableError, MisconfiguredError, MemoryError, OSError):
            raise
        except Exception as error:
            rule, fix = f"cannot be read: {named(error)}", "report this line"
            raise BadRecordError(where, field="file", rule=rule, shape="bytes", fix=fix) from None

    def _keyed(self, key: Callable[[Row], Iterable[int | str]], row: Row, at: int) -> tuple[str, Row, str, str]:
        """A row under the key of the record that it becomes; under one of its own if its key cannot be read."""
        field, rule = (row.field, row.rule) if isinstance(row, UnreadRow) else ("", "")
        try:
            return self.keys.of(*key(row)), tuple(row), field, rule
        except BadRecordError as error:
            return self.keys.of(f"row-{extract_mark(self.found.name)}-{at}"), tuple(row), field or error.field, rule or error.rule


def record_of(row: KeptRow) -> Record:
    if not row.rule:
        return Record(row.key, (row.at,), row.values)
    # The rule is a part of the row: it is another one than the same row without a fault.
    return Record(row.key, (row.at,), UnreadRow.of((*row.values, row.rule), row.field, row.rule))
