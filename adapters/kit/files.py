"""
Reading files that a system leaves: an adapter declares its rows (`row_of`), maps each in one function, names both with a layout
as a `FileStream`, and is a `FilesAdapter`.

A file is looked through to its end before its first record is given: a file that must be refused is refused whole.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import monotonic
from typing import Any, Literal, Self
from weakref import finalize

from pydantic import ConfigDict, Field, field_validator, model_validator

from adapters.kit.aside import FileWork, in_a_process, in_a_thread
from adapters.kit.codes import CodeList, agreed
from adapters.kit.file_reading import FileReading, record_of
from adapters.kit.layouts import HowWritten, Layout, told_how
from adapters.kit.mirror import Mirror, OtherPlace
from adapters.kit.object_store import ObjectPrefix, ObjectStoreSettings
from adapters.kit.open_days import NoDaysSettings
from adapters.kit.openpgp import PgpKeys, PgpSettings, opened_name
from adapters.kit.places import Folder, Found, extract_name, newest_of_each, printable
from adapters.kit.rows import code_maps_of
from adapters.kit.scratch import unpacked
from adapters.kit.sftp import SftpFolder, SftpSettings
from adapters.kit.soft import softening
from adapters.kit.streams import types_of
from adapters.kit.typed import Mapped
from adapters.kit.workbook import clear
from adapters.port import Extract, ExtractReport, Files, Record, Stream
from canonical.entity import Entity
from canonical.errors import IronbridgeError, MisconfiguredError
from canonical.finding import Finding
from canonical.key import KeysOf

log = logging.getLogger(__name__)

_SMALL = 256_000  # bytes: a smaller file is read in less time than a process needs to start
_SECONDS, _BYTES_A_SECOND = 900, 200_000  # the least of seconds that a file may take, and what it may take for its size
_ON_THE_SHELF = 300.0  # seconds that an opened workbook stays there unused: it holds what the file holds
_MEMORY = 768_000_000  # bytes of addresses that a process may take, most of which it never touches


class FilesSettings(NoDaysSettings):
    """
    These settings say where a system leaves its files. The adapter's own name is the source in every key.

    `folders` are folders of this machine; or `sftp` is a folder on an SFTP server, or `store` a prefix of an object store. `glob`
    says which of the files are looked at,
    `files` how the files of a stream are called if not as the adapter says: a regular expression for the whole name, in which the
    group `extract` names the extract. `settle` is how long a file must have been left alone before it is read; with `done` set to
    a suffix such as `.done`, the marker file says so instead. `encoding` is found out if it is not given. `last_line` is `open`
    for a system that never ends a file's last line. `pgp` opens
    the files that are OpenPGP messages; `may.csv.gpg` is then called `may.csv`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    folders: tuple[Path, ...] = ()
    sftp: SftpSettings | None = None
    store: ObjectStoreSettings | None = None
    pgp: PgpSettings | None = None
    glob: tuple[str, ...] = ("*",)
    files: dict[str, str] = Field(default_factory=dict)
    encoding: Literal["utf-8", "utf-16", "cp1252", "cp850", "cp437"] | None = None
    last_line: Literal["closed", "open"] = "closed"
    settle: timedelta = Field(default=timedelta(seconds=30), ge=timedelta(0))
    done: str = Field(default="", pattern=r"^(\.[A-Za-z0-9]+)?$")
    max_megabytes: int = Field(default=200, ge=1, le=4000)
    every: timedelta = Field(default=timedelta(minutes=1), gt=timedelta(0))
    codes: dict[str, CodeList] = Field(default_factory=dict)

    @field_validator("files")
    @classmethod
    def _compile(cls, value: dict[str, str]) -> dict[str, str]:
        for stream, pattern in value.items():
            try:
                re.compile(pattern)
            except re.error:
                raise ValueError(f"files.{stream}: is a regular expression such as episodes_(?P<extract>\\d+).csv") from None
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if [bool(self.folders), self.sftp is not None, self.store is not None].count(True) != 1:
            raise ValueError("give `folders`, or `sftp`, or `store`")
        return self

    def elsewhere(self, source: str) -> OtherPlace | None:
        """The place where the files lie, if it is not a folder of this machine."""
        if self.sftp is not None:
            return SftpFolder(source, self.sftp)
        return ObjectPrefix(source, self.store) if self.store is not None else None

    @property
    def largest(self) -> int:
        """In bytes."""
        return self.max_megabytes * 1_000_000


@dataclass(frozen=True, slots=True)
class FileStream:
    """
    A stream of the rows of files, which are declared with `row_of`.

    `map` is a function of a module, `def person(source: str, row: Tenant) -> Person`, as for a `SqlStream`. `layout` makes rows
    of the bytes. `files` is a regular expression for the whole name of a file, in any case; its group `extract` names the
    extract, `SSDA903_(?P<extract>[0-9]{4})_episodes.csv`. Without that group the name without its suffix does. What marks a
    correction (`-v2`, `_corrected`) is taken off before. `prefix` is the one of `KeysOf`. A record of a `lasting` stream that is
    missing from a corrected file says nothing.
    """

    name: str
    map: Callable[[str, Any], Entity]
    layout: Layout
    files: str
    prefix: str = ""
    lasting: bool = False

    @property
    def row(self) -> type[tuple[Any, ...]]:
        return types_of(self.name, self.map)[0]

    @property
    def entity(self) -> type[Entity]:
        return types_of(self.name, self.map)[1]


class _FilesPlace:
    """The place where a source's files lie: folders of this machine, or one of ours into which they are fetched."""

    def __init__(self, source: str, settings: FilesSettings) -> None:
        self._source, self._settings = source, settings
        self._looking, self._looked = asyncio.Lock(), 0.0
        self._shelf: Path | None = None
        settle = settings.settle.total_seconds()
        other = settings.elsewhere(source)
        self._mirror = Mirror(other, settle, settings.done, settings.largest) if other else None
        self._folder = Folder(source, settings.folders, settings.glob, settle, settings.done, b"")

    @property
    def shelf(self) -> Path:
        """A folder of ours, in which the streams find what one of them has opened. It goes with us."""
        if self._shelf is None:
            self._shelf = Path(mkdtemp(prefix="ironbridge-opened-"))
            self._tidy = finalize(self, rmtree, self._shelf, ignore_errors=True)
        return self._shelf

    async def settled(self) -> list[Found]:
        if self._shelf is not None:
            await asyncio.to_thread(clear, self._shelf, _ON_THE_SHELF)
        return await asyncio.to_thread((await self._here()).settled)

    async def counted(self) -> tuple[int, list[Found], int]:
        """How many files are settling, the ones that have settled, and how many no `glob` names."""
        here = await self._here()
        waiting, found, others = await asyncio.to_thread(lambda: (here.waiting(), here.settled(), here.others()))
        return (waiting if self._mirror is None else self._mirror.waiting), found, others

    async def digest(self, found: Found) -> str:
        return await asyncio.to_thread(self._folder.digest, found, self._settings.largest)

    def close(self) -> None:
        if self._mirror is not None:
            self._mirror.close()
        if self._shelf is not None:
            self._tidy()
        self._shelf = None

    async def _here(self) -> Folder:
        """The folder, with what has settled on the server in it. Its files are complete."""
        if self._mirror is not None:
            asked = monotonic()
            async with self._looking:  # several streams look at one place, and share what one of them has seen meanwhile
                if self._looked <= asked:
                    self._looked = monotonic()
                    await self._mirror.refresh()
                if self._folder.folders != (self._mirror.folder,):
                    self._folder = Folder(self._source, (self._mirror.folder,), self._settings.glob, 0, "", b"")
        return self._folder


class FilesAdapter:
    """Files that one legacy system leaves, read as its streams declare. `name` is the source in every key."""

    def __init__(self, name: str, settings: FilesSettings, streams: Sequence[FileStream]) -> None:
        self.name = name
        self._settings = settings
        self._streams = {each.name: each for each in streams}
        if unknown := sorted(set(settings.files) - set(self._streams)):
            fix = f"its streams are {', '.join(self._streams)}"
            raise MisconfiguredError(name, f"`files` names no stream: {', '.join(unknown)}", fix=fix)
        self._patterns = {each.name: re.compile(settings.files.get(each.name, each.files), re.I) for each in streams}
        self._codes = agreed(name, settings.codes, [codes for each in streams for codes in code_maps_of(each.row)])
        self._place = _FilesPlace(name, settings)

    def streams(self) -> Sequence[Stream]:
        return [self._stream(each) for each in self._streams.values()]

    async def open(self) -> None:
        """The first look: a file can be ready at the second one."""
        await self._place.settled()

    async def close(self) -> None:
        self._place.close()

    async def check(self) -> Sequence[Finding]:
        """Each folder can be listed, every file is one of a stream, and each can be read as what it is."""
        try:
            await self._keys()
            waiting, found, others = await self._place.counted()
        except IronbridgeError as error:
            return [Finding(f"folders: {error.what}", False, error.fix)]
        ours = [(each, file) for each in self._streams.values() for file in self._of(each, found)]
        looked = [await self._looked_at(each, file) for each, file in ours]
        others += sum(not any(self._named(each, file) for each in self._streams.values()) for file in found)
        return [self._in_all(waiting, others, looked), *looked]

    def _in_all(self, waiting: int, others: int, looked: Sequence[Finding]) -> Finding:
        other = self._settings.elsewhere(self.name)
        where = other.where if other else ", ".join(map(str, self._settings.folders))
        told = [
            f"{len(looked)} extracts" if looked else "no extract yet",
            f"{n} of them refused" if (n := sum(not each.well for each in looked)) else "",
            f"{waiting} files still settling" if waiting else "",
            f"{others} files that belong to no stream" if others else "",
        ]
        well = bool(looked or waiting or not others)
        fix = "" if well else "say in `files` how the files of each stream are called, or take them away"
        return Finding(f"{where}: {', '.join(filter(None, told))}", well, fix)

    async def _looked_at(self, stream: FileStream, found: Found) -> Finding:
        what = f"{printable(found.path.name)}: stream {stream.name}"
        try:
            async with aclosing(self._values(stream, found, frozenset())) as values:
                account = await anext(values)
        except IronbridgeError as error:
            return Finding(f"{what}: {error}", False, error.fix)
        besides = [f"{kind}: {count}" for kind, count in _besides(account).items()]
        return Finding(", ".join([f"{what}, {account['rows']} rows", *besides]), True)

    # -- the files of a stream ---------------------------------------------------------------------------------------

    def _stream(self, declared: FileStream) -> Stream:
        mapped = Mapped(declared.map, declared.row, self.name, self._settings.no_days, self._codes)
        lasting = frozenset({declared.entity.type_name}) if declared.lasting else frozenset[str]()
        files = Files(partial(self._extracts, declared))
        return Stream(
            declared.name, (declared.entity,), mapped, files, self._settings.every, lasting, softly=softening(mapped)
        )

    def _of(self, stream: FileStream, found: Sequence[Found]) -> list[Found]:
        """The newest file of each extract of a stream, the oldest first."""
        return newest_of_each(named for each in found if (named := self._named(stream, each)) is not None)

    def _named(self, stream: FileStream, found: Found) -> Found | None:
        """The file under the name of its extract; None if it is none of the stream's."""
        path = opened_name(found.path)
        stem, _ = extract_name(path.stem)
        match = self._patterns[stream.name].fullmatch(stem + path.suffix)
        if match is None:
            return None
        extract = match.groupdict().get("extract")
        return found if extract is None else replace(found, name=found.name.removesuffix(printable(stem)) + printable(extract))

    async def _extracts(self, stream: FileStream) -> AsyncIterator[Extract]:
        keys = await self._keys()
        for found in self._of(stream, await self._place.settled()):
            content = await self._place.digest(found) + (await asyncio.to_thread(lambda: keys.mark) if keys else "")
            # New rules make a new digest: a file that could not be read is read again once they are other ones.
            rules = repr((content, self._layout(stream, frozenset()), stream.prefix, sorted(self._settings.no_days)))
            digest = blake2b(rules.encode(), digest_size=16).hexdigest()
            accounts: list[Mapping[str, Any]] = []
            portions = partial(self._portions, stream, found, accounts)
            yield Extract(found.name, digest, portions, portions, partial(_report, accounts))

    async def _portions(
        self, stream: FileStream, found: Found, accounts: list[Mapping[str, Any]], accepted: frozenset[str] = frozenset()
    ) -> AsyncIterator[Sequence[Record]]:
        """The file's records. Its account is put into `accounts`."""
        async with aclosing(self._values(stream, found, accepted)) as values:
            accounts[:] = [account := await anext(values)]
            log.info(
                "%s.%s file %s: %d rows%s", self.name, stream.name, printable(found.path.name), account["rows"],
                "".join(f", {kind}: {count}" for kind, count in _besides(account).items()),
            )  # fmt: skip
            async for rows in values:
                yield list(map(record_of, unpacked(rows)))

    async def _values(self, stream: FileStream, found: Found, accepted: frozenset[str]) -> Any:
        found.insist_inside(self.name)
        keys, s = KeysOf(self.name, stream.entity.type_name, stream.prefix), self._settings
        pgp = await self._keys()
        work = FileReading(self.name, found, self._layout(stream, accepted), stream.row, keys, s.largest, s.no_days, pgp)
        this = FileWork(self.name, work, _MEMORY, _SECONDS + found.size // _BYTES_A_SECOND)
        here = found.size > s.largest or (pgp is None and found.size <= _SMALL)
        async with aclosing(in_a_thread(this) if here else in_a_process(this)) as values:
            async for value in values:
                yield value

    async def _keys(self) -> PgpKeys | None:
        pgp = self._settings.pgp
        return await asyncio.to_thread(pgp.loaded, self.name) if pgp else None

    def _layout(self, stream: FileStream, accepted: frozenset[str]) -> Layout:
        how = HowWritten(self._settings.encoding, self._settings.last_line, accepted, self._place.shelf)
        return told_how(stream.layout, how)


def _report(accounts: Sequence[Mapping[str, Any]]) -> ExtractReport:
    return ExtractReport(_besides(accounts[-1]) if accounts else {})


def _besides(account: Mapping[str, Any]) -> dict[str, int]:
    """Count what a file holds besides good records, by kind, in words for a person."""
    kinds = {"copies of other rows": account["copies"], "rows that contradict another one of their key": account["unlike"]}
    return {kind: count for kind, count in {**kinds, **account["passed"]}.items() if count}
