"""
An invented system that leaves files, for demonstrations and tests: CSV, unless an adapter says how else its rows are written.

It only ever touches a folder that it made itself, which it knows by a hidden file. An adapter says which rows there are and what
a day's work in them is.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any, Generic, TypeVar

from adapters.kit.files import FilesSettings
from adapters.port import World
from canonical.errors import MisconfiguredError

S = TypeVar("S", bound=FilesSettings)
Sheets = dict[str, list[dict[str, str]]]
"""The rows of each file, by column."""
SheetReader = Callable[[Path], list[dict[str, str]]]
SheetWriter = Callable[[Path, Sequence[Mapping[str, str]]], None]

_MARKER = ".ironbridge-world"


class FilesWork:
    """Somebody works in an invented system: the rows of its files, a seeded die, and today."""

    def __init__(self, sheets: Sheets, seed: int) -> None:
        self.sheets = sheets
        self.rng = Random(seed)  # noqa: S311 (a story, not a secret)
        self.today = datetime.now(UTC).date()

    def pick(self, file: str, condition: Callable[[dict[str, str]], bool] = lambda _: True) -> dict[str, str] | None:
        """One of the rows that meet a condition; None if none does. What is changed in it is written."""
        found = [row for row in self.sheets[file] if condition(row)]
        return self.rng.choice(found) if found else None


@dataclass(frozen=True, slots=True)
class FilesWorld(Generic[S]):
    """
    The invented systems of one kind.

    `story` makes up the rows of so many records, of a seed, as they stand on a day, for each file by its name; it says how many
    rows are spoilt on purpose. Each of `steps` is one thing of a day's work, and says in a sentence what it did, None if it found
    nothing to do. `section` is as in a `World`.
    """

    name: str
    unit: str
    size: int
    story: Callable[[int, int, date], tuple[Sheets, int]]
    steps: Sequence[Callable[[FilesWork], str | None]]
    section: Callable[[Path], Mapping[str, Any]]
    in_demonstration: bool = False
    read: SheetReader = field(default=lambda path: read_csv(path))
    write: SheetWriter = field(default=lambda path, rows: write_csv(path, rows))

    def create(self, folder: Path, size: int, seed: int = 893, today: date | None = None) -> int:
        """
        Write the files of so many records; leave those that are there already as they are. Say how many rows are spoilt.

        :raises MisconfiguredError: the folder holds something that this did not make.
        """
        marker = folder / _MARKER
        if marker.exists():
            return int(marker.read_text("utf-8"))
        if folder.exists() and any(folder.iterdir()):
            fix = "name an empty folder in `folders`: this one will never be written to"
            raise MisconfiguredError(f"{self.name} world", "the folder holds files that it did not make", fix=fix)
        folder.mkdir(parents=True, exist_ok=True)
        sheets, bad = self.story(size, seed, today or datetime.now(UTC).date())
        marker.write_text(str(bad), "utf-8")
        for name, rows in sheets.items():
            self.write(folder / name, rows)
        return bad

    def change(self, folder: Path, seed: int) -> list[str]:
        """
        Do a day's work, export all files again, and say in plain sentences what was done.

        :raises MisconfiguredError: the folder was not made by `create`.
        """
        if not (folder / _MARKER).exists():
            fix = f"make the invented system first: python -m adapters.{self.name}.world FOLDER"
            raise MisconfiguredError(f"{self.name} world", "the folder was not made by it", fix=fix)
        sheets = {path.name: self.read(path) for path in sorted(folder.glob("*")) if not path.name.startswith(".")}
        before = {name: list(map(dict, rows)) for name, rows in sheets.items()}
        work = FilesWork(sheets, seed)
        said = [sentence for step in self.steps if (sentence := step(work)) is not None]
        for name in (name for name, rows in sheets.items() if rows != before.get(name)):
            self.write(folder / name, sheets[name])
        return said

    def world(self) -> World[S]:
        return World(
            self.unit, self.size, self.section, self._made, self._changed, in_demonstration=self.in_demonstration
        )

    def main(self) -> None:
        """`python -m adapters.NAME.world FOLDER --size 300` makes a system; `--change 1` does a day's work in it."""
        parser = argparse.ArgumentParser(description=f"Make or change an invented system for the adapter {self.name}.")
        parser.add_argument("folder", type=Path)
        parser.add_argument("--size", type=int, default=self.size, help=self.unit)
        parser.add_argument("--seed", type=int, default=893)
        parser.add_argument("--change", type=int, metavar="SEED", help="do a day's work in the one that is there")
        asked = parser.parse_args()
        if asked.change is None:
            print(self._sentence(asked.folder, asked.size, self.create(asked.folder, asked.size, asked.seed)))
        else:
            print("\n".join(self.change(asked.folder, asked.change)))

    async def _made(self, settings: S, size: int, seed: int) -> str:
        bad = await asyncio.to_thread(self.create, settings.folders[0], size, seed)
        return self._sentence(settings.folders[0], size, bad)

    def _sentence(self, folder: Path, size: int, bad: int) -> str:
        return f"{size} {self.unit} in {folder}, {bad} rows spoilt on purpose"

    async def _changed(self, settings: S, seed: int) -> list[str]:
        return await asyncio.to_thread(self.change, settings.folders[0], seed)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by the names in its first line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Put a whole file in the place of the one that is there, if one is. Its columns are those of the first row."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    put_whole(path, text.getvalue().encode("utf-8"))


def put_whole(path: Path, content: bytes) -> None:
    """Put a whole file in the place of the one that is there, if one is: nobody ever sees half of it."""
    half = path.with_name(f".{path.name}")
    half.write_bytes(content)
    os.replace(half, path)
