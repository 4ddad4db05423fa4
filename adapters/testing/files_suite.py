"""
The scenarios of every adapter, for one that reads files: the author says which rows lie there, and what is done to three of them.

>>> class TestTheSuite(FilesSuite):                        # doctest: +SKIP
...     system = system
...     changed = RowEdit("pets.csv", 0, {"NAME": "Rover"}, "pets:pet:1")
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Any, ClassVar

import pytest

from adapters.kit.files_world import SheetReader, Sheets, SheetWriter, read_csv, write_csv
from adapters.port import Adapter, AdapterSystem
from adapters.testing.suite import AdapterSuite


@dataclass(frozen=True, slots=True)
class RowEdit:
    """An edit writes `cells` into a file's row (counted from 0); `key` is its record's key. `mended` are cells that mend it."""

    file: str
    row: int
    cells: Mapping[str, str]
    key: str
    mended: Mapping[str, str] | None = None


def edit(
    folder: Path, this: RowEdit, cells: Mapping[str, str] | None, read: SheetReader = read_csv, write: SheetWriter = write_csv
) -> None:
    """Export a file again with other cells in a row; without that row if there are none. Its time is another one for sure."""
    path = folder / this.file
    rows, before = read(path), path.stat().st_mtime_ns
    rows[this.row : this.row + 1] = [] if cells is None else [rows[this.row] | dict(cells)]
    write(path, rows)
    now = max(time_ns(), before + 1_000_000)
    os.utime(path, ns=(now, now))


class FilesSuite(AdapterSuite):
    """
    The suite of an adapter of files: CSV, unless `read` and `write` are the functions of another kind of file.

    `sheets` gives the rows of each file: good ones, and a file for each stream. `files` names, by stream, the file whose rows are
    counted for it; a stream that is not named is counted by `besides`.
    """

    system: ClassVar[AdapterSystem[Any]]
    name: ClassVar[str]
    changed: ClassVar[RowEdit]
    deleted: ClassVar[RowEdit]
    broken: ClassVar[RowEdit]
    files: ClassVar[Mapping[str, str]]

    def read(self, path: Path) -> list[dict[str, str]]:
        return read_csv(path)

    def write(self, path: Path, rows: Sequence[Mapping[str, str]]) -> None:
        write_csv(path, rows)

    def sheets(self) -> Sheets:
        raise NotImplementedError

    def besides(self) -> Mapping[str, int]:
        """Count the records of streams that have not one record a row."""
        return {}

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Adapter:
        self.folder = tmp_path / "left"
        self.folder.mkdir()
        for name, rows in self.sheets().items():
            self.write(self.folder / name, rows)
        settings = self.system.settings.model_validate({"folders": (self.folder,), "settle": 0})
        return self.system.build(self.name, settings)

    async def change_one(self, adapter: Adapter) -> str:
        self._edit(self.changed, self.changed.cells)
        return self.changed.key

    async def delete_one(self, adapter: Adapter) -> str:
        self._edit(self.deleted, None)
        return self.deleted.key

    async def break_one(self, adapter: Adapter) -> str:
        self._edit(self.broken, self.broken.cells)
        return self.broken.key

    async def mend_it(self, adapter: Adapter) -> None:
        self._edit(self.broken, self.broken.mended)

    async def counted(self, adapter: Adapter) -> Mapping[str, int]:
        return {stream: len(self.read(self.folder / file)) for stream, file in self.files.items()} | dict(self.besides())

    def _edit(self, this: RowEdit, cells: Mapping[str, str] | None) -> None:
        edit(self.folder, this, cells, self.read, self.write)
