"""
Files that lie elsewhere: they are fetched into a folder of ours once they have settled, and are read there.

Nothing is written to the other place. The folder is ours alone and goes with the process; after a start the files are
fetched again, which publishes nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple, Protocol
from zlib import crc32

PATIENCE = 60.0
"""Seconds that the other place has to answer in."""


class FileLook(NamedTuple):
    """A file's size in bytes, its time in seconds since 1970, and the place's own mark of its content, if it has one."""

    size: int
    changed: int
    mark: str = ""


class OpenPlace(Protocol):
    """A place with files that is connected to. Names that begin with a dot, and those of folders, are not among its files."""

    async def listed(self) -> Mapping[str, FileLook]: ...

    async def fetch(self, name: str, to: Path) -> None: ...

    async def look(self, name: str) -> FileLook: ...


class OtherPlace(Protocol):
    """A place where files lie. `where` is how it is named to people."""

    @property
    def where(self) -> str: ...

    def connected(self) -> AbstractAsyncContextManager[OpenPlace]:
        """
        Connect to it.

        :raises UnavailableError: it is not there now.
        :raises MisconfiguredError: it does not take us.
        """


@dataclass(slots=True)
class Mirror:
    """
    Mirrors the files of a place, not those of the folders in it. A file is fetched once its look has not changed for `settle`
    seconds, or once its marker (`done`) lies beside it; one that is taken away there goes here, too. While a file is written
    anew its last content stays. Of a file over `largest` bytes nothing is fetched: an empty one of its size stands for it, and
    is refused by that.
    """

    place: OtherPlace
    settle: float
    done: str
    largest: int
    _scratch: TemporaryDirectory[str] | None = None
    _looks: dict[str, tuple[FileLook, float]] = field(default_factory=dict)
    _fetched: dict[str, FileLook] = field(default_factory=dict)
    waiting: int = 0
    """How many files had not settled at the last look."""

    @property
    def folder(self) -> Path:
        """The folder of ours. It is made when it is asked for first."""
        if self._scratch is None:
            self._scratch = TemporaryDirectory(prefix="ironbridge-fetched-")
        return Path(self._scratch.name)

    async def refresh(self) -> None:
        """Look at the place, and fetch what has settled. Raises as `OtherPlace.connected` does."""
        async with self.place.connected() as place:
            there = await place.listed()
            self._looks = {name: had for name, had in self._looks.items() if name in there}
            for name in self._fetched.keys() - there.keys():
                await asyncio.to_thread((self.folder / name).unlink, missing_ok=True)
                del self._fetched[name]
            self.waiting = 0
            for name, look in there.items():
                if self.done and name.endswith(self.done):
                    continue
                settled = self._settled(name, look, there)
                self.waiting += not settled
                if settled and self._fetched.get(name) != look:
                    await self._fetch(place, name, look)

    def _settled(self, name: str, look: FileLook, there: Mapping[str, FileLook]) -> bool:
        had = self._looks.get(name)
        if had is None or had[0] != look:
            had = self._looks[name] = (look, monotonic())
        return name + self.done in there if self.done else monotonic() - had[1] >= self.settle

    async def _fetch(self, place: OpenPlace, name: str, look: FileLook) -> None:
        """Fetch a file beside its last content, and put it in its place if it is still the one that was seen."""
        half = self.folder / f".{name}"
        if look.size > self.largest:
            await asyncio.to_thread(_stand_in, half, look.size)
        else:
            await place.fetch(name, half)
        if await place.look(name) != look or half.stat().st_size != look.size:
            half.unlink()
            self._looks.pop(name, None)  # it is written to: let it settle again
            return
        # Of two contents of one second each has a time of its own: whoever reads them goes by size and time.
        time = look.changed * 1_000_000_000 + crc32(look.mark.encode()) % 1_000_000_000
        os.utime(half, ns=(time, time))
        os.replace(half, self.folder / name)
        self._fetched[name] = look

    def close(self) -> None:
        """Forget what was fetched."""
        if self._scratch is not None:
            with suppress(OSError):
                self._scratch.cleanup()
        self._scratch = None
        self._fetched.clear()


def _stand_in(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
