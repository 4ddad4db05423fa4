"""One look at a legacy system: all that it holds is read, whatever was read before, and mapped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from adapters.engine.catchup import closing
from adapters.engine.difference import Comparison
from adapters.engine.guard import accepted
from adapters.engine.mapping import Made
from adapters.engine.numbers import references, resolved, under
from adapters.engine.regions import tamed
from adapters.port import Adapter, Extract, Files, Push, Record, Stream, Sweep, Tail
from canonical.errors import BadRecordError
from canonical.key import entity_of
from canonical.turns import in_turns
from ironbridge.operate.reconcile.certificate import Compared
from ironbridge.operate.reconcile.scratch import Scratch
from ironbridge.store import Store, comparing

_PUT = (
    "INSERT INTO legacy VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (look, key) DO UPDATE SET source = excluded.source, "
    # The first row of a key in a reading stands, and so does the newest extract that has it: both as the pump does.
    "entity = excluded.entity, place = excluded.place, digest = excluded.digest, data = excluded.data, "
    "problem = excluded.problem WHERE legacy.place <> excluded.place"
)
_SETTLE = 15.0  # seconds that a file may have to lie still before a new reader takes it for whole


@dataclass(frozen=True, slots=True)
class Source:
    """A legacy system, opened for the comparison alone, and those of its streams that the flow has facts from."""

    adapter: Adapter
    streams: Sequence[Stream]

    @property
    def entities(self) -> set[str]:
        return {entity.type_name for stream in self.streams for entity in stream.entities}

    @property
    def lasting(self) -> set[str]:
        """Types of which a reading that lacks one says nothing."""
        return {name for stream in self.streams for name in stream.lasting}


class Look:
    """
    Reads a legacy system's streams (`adapters.port.Reader`) and keeps what becomes of their rows; at the second look only
    the rows that are under suspicion.

    `swept` are the streams of which it has seen all records that there are: one that it has not met is gone.
    """

    def __init__(
        self,
        store: Store,
        scratch: Scratch,
        look: int,
        source: Source,
        entities: set[str],
        part: Compared,
        patience: float,
    ) -> None:
        self._store = store
        self._scratch = scratch
        self._look = look
        self._name = source.adapter.name
        self._entities = entities
        self._part = part
        self._patience = patience
        self.swept: set[str] = set()

    async def sweep(self, stream: Stream, reading: Sweep) -> None:
        async with closing(reading.pages(None)) as pages:
            async for page in pages:
                await self._keep(stream, stream.name, page.records)
        self.swept.add(stream.name)

    async def tail(self, stream: Stream, reading: Tail) -> None:
        await self.sweep(stream, reading.sweep)

    async def files(self, stream: Stream, reading: Files) -> None:
        entries, copies = await comparing.doubts_of(self._store, self._name, stream.name)
        for extract in await self._extracts(stream, reading):
            if extract.name in copies:
                continue
            doubts = accepted(entries, extract.name, extract.digest)
            try:
                async with closing(extract.despite(doubts) if extract.despite else extract.portions()) as portions:
                    async for records in portions:
                        await self._keep(stream, f"{stream.name}/{extract.name}", records)
            except BadRecordError as error:
                self._unreadable(error)
                continue
            read = self._look, stream.name, extract.name
            await self._scratch.do("INSERT OR IGNORE INTO extracts VALUES (?, ?, ?)", *read)

    async def push(self, stream: Stream, reading: Push) -> None:
        """Read nothing: pushed records cannot be read again, and what comes now is for the adapter alone."""

    async def _extracts(self, stream: Stream, reading: Files) -> list[Extract]:
        """The extracts that lie ready, once all are that were read before: to a new reader a file has to settle first."""
        wanted = await comparing.regions_of(self._store, self._name, stream.name)
        until = time.monotonic() + max(self._patience, _SETTLE)
        while True:
            found = [extract async for extract in reading.extracts()]
            if wanted <= {extract.name for extract in found} or time.monotonic() > until:
                return found
            await asyncio.sleep(0.25)

    def _unreadable(self, error: BadRecordError) -> None:
        if self._look == 1:
            self._part.untold += 1
            self._part.notes.append(f"a file cannot be read: {error}")

    async def _keep(self, stream: Stream, place: str, records: Sequence[Record]) -> None:
        """Map records that were read at a place, and keep what comes of them."""
        comparison = Comparison(self._name, stream, (), set(), datetime.fromtimestamp(self._store.clock(), UTC))
        read = [tamed(record) async for record in in_turns(records)]
        names = await comparing.names_of(self._store, self._name, [record.key for record in read])
        wanted = await self._wanted(read, names)
        mapped = [
            (names.get(record.key, record.key), _made_or_bad(comparison, record)) async for record in in_turns(wanted)
        ]
        named = references(self._name, [made for _, made in mapped if isinstance(made, Made)])
        kept = await comparing.names_of(self._store, self._name, named)
        rows = [self._row(name, place, made, kept) for name, made in mapped]
        await self._scratch.put(_PUT, [row for row in rows if row[3] in self._entities])

    async def _wanted(self, records: list[Record], names: Mapping[str, str]) -> list[Record]:
        if self._look == 1:
            return records
        asked = "SELECT key FROM suspects WHERE side = 'legacy' AND key IN (SELECT value FROM json_each(?))"
        keys = [names.get(r.key, r.key) for r in records]
        wanted = {key for (key,) in await self._scratch.among(asked, keys)}
        return [record for record, key in zip(records, keys, strict=True) if key in wanted]

    def _row(self, name: str, place: str, made: Made | BadRecordError, kept: Mapping[str, str]) -> tuple[Any, ...]:
        if isinstance(made, BadRecordError):
            kind = entity_of(name) or next(iter(self._entities))
            return self._look, name, self._name, kind, place, None, None, str(made)
        data = under(resolved(self._name, made, kept), name).data
        digest = blake2b(data, digest_size=16).digest()
        return self._look, name, self._name, made.kind.type_name, place, digest, data if self._look > 1 else None, None


def _made_or_bad(comparison: Comparison, record: Record) -> Made | BadRecordError:
    try:
        return comparison.made(record)
    except BadRecordError as error:
        return error
