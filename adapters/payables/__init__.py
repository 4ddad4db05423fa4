"""Payables extracts: CSV and Excel files that a finance system leaves in a folder. README.md is its manual."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from adapters.kit.open_days import NoDaysSettings
from adapters.kit.places import Folder, Found, content, printable
from adapters.payables import aside, mapping, reading
from adapters.payables.earlier import EarlierFiles
from adapters.payables.layout import PayablesLayout, built_in
from adapters.payables.payees import Names, Unlike
from adapters.port import AdapterSystem, Extract, ExtractReport, Files, Record, Stream, World
from canonical import CreditNote, Invoice, LedgerDimension, Supplier
from canonical.errors import IronbridgeError, MisconfiguredError
from canonical.finding import Finding

log = logging.getLogger(__name__)

PORTION = 1000
"""Records of an extract that are given together."""
_NAMED = 5  # suppliers' numbers that are named in one sentence


class PayablesSettings(NoDaysSettings):
    """
    These settings say where the extracts are left and how they are laid out. The adapter's own name is the source in every key.

    `layouts` names built-in layouts; those and the ones declared in `own_layouts` are tried, no others. `settle` is how
    long a file must have been left alone before it is read; with `done` set to a suffix such as `.done`, the marker
    file says so instead. `last_line` is `open` for a finance system that never ends a file's last line.
    `unlike_names` says what becomes of a supplier's number that has several unlike names in a file; with `one-supplier` they
    are not held against those in older files either.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    folders: tuple[Path, ...] = Field(min_length=1)
    glob: tuple[str, ...] = ("*.csv", "*.txt", "*.xlsx", "*.xls", "*.ods")
    layouts: tuple[str, ...] = ()
    own_layouts: dict[str, PayablesLayout] = Field(default_factory=dict)
    currency: str = Field(default="GBP", pattern="^[A-Z]{3}$")
    encoding: Literal["utf-8", "utf-16", "cp1252", "cp850", "cp437"] | None = None
    last_line: Literal["closed", "open"] = "closed"
    unlike_names: Unlike = "by-name"
    settle: timedelta = timedelta(seconds=30)
    done: str = Field(default="", pattern=r"^(\.[A-Za-z0-9]+)?$")
    max_megabytes: int = Field(default=50, ge=1, le=1000)
    every: timedelta = timedelta(minutes=1)

    @model_validator(mode="after")
    def _some_layout(self) -> PayablesSettings:
        if not self.layouts and not self.own_layouts:
            raise ValueError("name at least one layout, or declare one in own_layouts")
        return self

    @property
    def largest(self) -> int:
        """In bytes."""
        return self.max_megabytes * 1_000_000


@dataclass(slots=True)
class PayablesAdapter:
    """The extracts of one finance system: one stream, `payables`."""

    name: str
    settings: PayablesSettings
    layouts: dict[str, PayablesLayout]
    _folder: Folder = field(init=False)
    _earlier: EarlierFiles = field(init=False)

    def __post_init__(self) -> None:
        s = self.settings
        # The pump reads all again when our code changes; that the rules changed is for us to say.
        rules = repr((sorted(self.layouts.items()), s.currency, s.encoding, s.last_line, s.unlike_names, sorted(s.no_days)))
        salt = blake2b(rules.encode(), digest_size=16).digest()
        self._folder = Folder(self.name, s.folders, s.glob, s.settle.total_seconds(), s.done, salt)
        self._earlier = EarlierFiles(self._names)

    def streams(self) -> Sequence[Stream]:
        return [
            Stream(
                name="payables",
                entities=(Invoice, CreditNote, Supplier, LedgerDimension),
                map=mapping.entity,
                reading=Files(self._extracts),
                every=self.settings.every,
                lasting=frozenset({Supplier.type_name, LedgerDimension.type_name}),
            )
        ]

    async def open(self) -> None:
        """The first look: a file can be ready at the second one."""
        await asyncio.to_thread(self._folder.ready)

    async def close(self) -> None:
        return None

    async def check(self) -> Sequence[Finding]:
        """Each folder can be listed, there is a file or none yet, and each file's layout is recognised."""
        try:
            waiting, found, others = await asyncio.to_thread(self._counted)
        except IronbridgeError as error:
            return [Finding(f"folders: {error.what}", False, error.fix)]
        looked = [await self._looked_at(each, found[:n]) for n, each in enumerate(found)]
        return [self._in_all(waiting, others, looked), *looked]

    def _counted(self) -> tuple[int, list[Found], int]:
        return self._folder.waiting(), self._folder.ready(), self._folder.others()

    def _in_all(self, waiting: int, others: int, looked: Sequence[Finding]) -> Finding:
        where = ", ".join(map(str, self.settings.folders))
        here = f"{len(looked)} extracts" if looked else "no extract yet"
        refused = sum(not each.well for each in looked)
        told = [
            f"{refused} of them refused" if refused else "",
            f"{waiting} files still settling" if waiting else "",
            f"{others} files that `glob` ({', '.join(self.settings.glob)}) does not name" if others else "",
        ]
        well = bool(looked or waiting or not others)
        fix = "" if well else "add to `glob` how these files are called, or take them away"
        return Finding(f"{where}: {', '.join([here, *filter(None, told)])}", well, fix)

    async def _extracts(self) -> AsyncIterator[Extract]:
        ready = await asyncio.to_thread(self._folder.ready)
        for n, found in enumerate(ready):
            digest = await asyncio.to_thread(self._folder.digest, found, self.settings.largest)
            read: list[reading.Reckoning] = []
            portions = partial(self._portions, found, read, ready[:n])
            yield Extract(found.name, digest, portions, portions, partial(_report, read))

    async def _portions(
        self, found: Found, read: list[reading.Reckoning], older: Sequence[Found], accepted: frozenset[str] = frozenset()
    ) -> AsyncIterator[Sequence[Record]]:
        """The file's records, as files that are `older` let it be read. Its account is put into `read`."""
        where = found.insist_inside(self.name)
        rules = replace(await self._rules(older), accepted=accepted)

        def say(reckoning: reading.Reckoning) -> None:
            read[:] = [reckoning]
            self._earlier.remember(found, reckoning.names)
            _say(where, reckoning)

        async with aclosing(aside.portions(found, rules, PORTION, say)) as portions:
            async for portion in portions:
                yield portion

    async def _names(self, found: Found) -> Names:
        """Look which names a file gives to suppliers' numbers."""
        found.insist_inside(self.name)
        read: list[reading.Reckoning] = []
        async with aclosing(aside.portions(found, self._rules_alone(), PORTION, read.append)) as portions:
            async for _ in portions:
                break  # the account comes before the first portion
        return read[0].names

    async def _rules(self, older: Sequence[Found]) -> reading.Rules:
        """The rules for a file that these files are older than. A layout without suppliers' numbers needs none of them."""
        numbered = any("supplier_number" in layout.columns for layout in self.layouts.values())
        asked = older if numbered and self.settings.unlike_names != "one-supplier" else ()
        return replace(self._rules_alone(), earlier=await self._earlier.before(asked))

    def _rules_alone(self) -> reading.Rules:
        s = self.settings
        return reading.Rules(
            self.name, self.layouts, s.currency, s.encoding, s.last_line, s.unlike_names, s.largest, no_days=s.no_days
        )

    async def _looked_at(self, found: Found, older: Sequence[Found]) -> Finding:
        try:
            found.insist_inside(self.name)
            read = await asyncio.to_thread(_reckoned, found, await self._rules(older))
        except IronbridgeError as error:
            return Finding(f"{printable(found.path.name)}: {error}", False, error.fix)
        self._earlier.remember(found, read.names)
        what = f"{printable(found.path.name)}: layout {read.layout}, {read.published + read.duplicates} rows to publish"
        why = "; ".join(f"{count} × {reason}" for reason, count in sorted(read.reasons.items()))
        quarantined = [f"{read.quarantined} to quarantine ({why})"] if read.quarantined else []
        return Finding(", ".join([what, *quarantined, *_told(_besides(read))]), True)


@contextmanager
def _opened(found: Found, rules: reading.Rules) -> Iterator[reading.WholeFile]:
    with reading.opened(found.name, content(rules.source, found, rules.largest), rules) as opened:
        yield opened


def _reckoned(found: Found, rules: reading.Rules) -> reading.Reckoning:
    with _opened(found, rules) as opened:
        return opened.reckoning


def _report(read: Sequence[reading.Reckoning]) -> ExtractReport:
    if not read:
        return ExtractReport()
    bad = {f"rows in quarantine because {reason}": count for reason, count in sorted(read[-1].reasons.items())}
    return ExtractReport({**_besides(read[-1]), **bad}, read[-1].doubts)


def _besides(read: reading.Reckoning) -> dict[str, int]:
    """Count what a file holds besides its records and its quarantined rows, by kind, in words for a person."""
    kinds = {"copies of other rows": read.duplicates, "totals passed over": read.totals, "notes": read.notes}
    kinds |= {**_dropped(read), **_doubtful(read)}
    return {kind: count for kind, count in kinds.items() if count}


def _told(kinds: Mapping[str, int]) -> list[str]:
    return [f"{kind}: {count}" for kind, count in kinds.items()]


def _say(where: str, read: reading.Reckoning) -> None:
    log.info(
        "%s: %d rows by layout %s (%s): %d published, %d of them copies; %d quarantined; %d blank, %d headings, "
        "%d preamble, %d totals, %d notes%s",
        where, read.rows, read.layout, read.how, read.published + read.duplicates, read.duplicates, read.quarantined,
        read.blank, read.headings, read.preamble, read.totals, read.notes, "".join(f"; {d}" for d in _told(_dropped(read))),
    )  # fmt: skip


def _dropped(read: reading.Reckoning) -> dict[str, int]:
    """Count the wrong numbers of suppliers that are left out."""
    words = {"vat_number": "VAT numbers", "company_number": "company numbers", "charity_number": "charity numbers"}
    return {f"suppliers' {words[field]} that are wrong, and left out": n for field, n in sorted(read.dropped.items())}


def _doubtful(read: reading.Reckoning) -> dict[str, int]:
    """Count the suppliers' numbers that have unlike names here and in an older file, and name some of them."""
    by_file: dict[str, list[str]] = {}
    for number, extract in sorted(read.doubtful.items()):
        by_file.setdefault(extract, []).append(number)
    told = {extract: ", ".join(numbers[:_NAMED]) + ", …" * (len(numbers) > _NAMED) for extract, numbers in by_file.items()}
    return {
        f"suppliers' numbers with unlike names here and in {extract} ({told[extract]})": len(numbers)
        for extract, numbers in by_file.items()
    }


def build(name: str, settings: PayablesSettings) -> PayablesAdapter:
    """
    The adapter of a section of the settings.

    :raises MisconfiguredError: a layout is named that does not exist, or the name cannot begin a key.
    """
    if not re.fullmatch("[a-z][a-z0-9_.-]{0,39}", name):
        raise MisconfiguredError(
            name, "this name cannot begin a key", fix="use up to 40 small letters, digits, `-`, `_` and `.`"
        )
    known = {**built_in(), **settings.own_layouts}
    asked = settings.layouts + tuple(n for n in settings.own_layouts if n not in settings.layouts)
    if missing := [n for n in asked if n not in known]:
        raise MisconfiguredError(
            name, f"no layout is called {', '.join(missing)}", fix=f"use some of: {', '.join(sorted(known))}"
        )
    return PayablesAdapter(name, settings, {n: known[n] for n in asked})


def _world() -> World[PayablesSettings]:
    from adapters.payables.world import WORLD  # a bridge has no use for it

    return WORLD


system = AdapterSystem(PayablesSettings, build, __name__, _world)
