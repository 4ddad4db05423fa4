"""Catching up: what was published beyond what is remembered is learned, what the journal lost is put right."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple, TypeVar

from adapters.difference import LEARNED, extract_mark
from adapters.journal import Journal, Known, Memory, Partition, Place, Seen, Step
from canonical import Event

log = logging.getLogger(__name__)
T = TypeVar("T")


class _Held(NamedTuple):
    """The journal's last word on a key in one partition."""

    version: int
    deleted: bool
    owner: str
    stream: str
    entity: str


class CatchUp:
    """
    Brings one adapter's memory to where its journal is. Nothing else may publish meanwhile.

    It may be killed at any point and started again: each step of it is one that can be done twice.
    """

    def __init__(self, adapter: str, journal: Journal, memory: Memory, clock: Callable[[], datetime]) -> None:
        self._adapter = adapter
        self._journal = journal
        self._memory = memory
        self._clock = clock
        self._remembered: dict[Partition, int] = {}

    async def run(self) -> None:
        remembered, ends = await self._memory.offsets(), await self._journal.ends()
        self._remembered = remembered
        cut = {p for p, behind in remembered.items() if p in ends and ends[p] < behind}
        # From the last event that is remembered: if another one lies there now, the log was cut off and grew again.
        since = {
            p: max(remembered.get(p, 0) - 1, 0) for p in ends if p not in cut and ends[p] > remembered.get(p, 0)
        }  # fmt: skip
        unproven = {p for p in since if p in remembered}
        async with closing(self._journal.history(since)) as batches:
            async for batch in batches:
                unproven -= await self._proven(batch)
                await self._learn(batch)
        for partition in sorted(unproven):
            if await self._remembers_wrongly(Place(*partition, remembered[partition] - 1)):
                cut.add(partition)
        for partition in sorted(cut):
            await self._heal(partition)

    async def _proven(self, batch: list[tuple[Event, Place]]) -> set[Partition]:
        """The partitions whose last remembered event lies where it is remembered to lie."""
        proven = set()
        for event, place in batch:
            if self._remembered.get((place.topic, place.partition), 0) - 1 == place.offset:
                known = await self._memory.at(place)
                if known is None or (known.key, known.version) == (event.key, event.version):
                    proven.add((place.topic, place.partition))
        return proven

    async def _remembers_wrongly(self, place: Place) -> bool:
        # Compaction takes what a newer event of the key has replaced, and we have just learned of that one; and
        # tombstones when their time is over. Anything else that is not where it was is lost.
        known = await self._memory.at(place)
        return known is not None and not known.deleted

    async def examine(self, stream: str) -> int:
        """
        Hold what is remembered of a stream against all that the journal holds: what it lacks is published again when it is
        next read. A deletion whose record it does not hold at all is not lacking: compaction takes both. How many lack.
        """
        lacking = 0
        for partition in sorted(await self._journal.ends()):
            held, _ = await self._held(partition)
            deletions: list[Known] = []
            async for name, records in self._memory.in_partition(partition):
                if name != stream:
                    continue
                there = [(k, held.get(k.key)) for k in records]
                lost = [k for k, last in there if not k.deleted and (last is None or last.version < k.version)]
                deletions += [
                    k for k, last in there if k.deleted and last and not last.deleted and last.version < k.version
                ]
                await self._mark_lost(stream, lost)
                lacking += len(lost)
            await self._publish_deletions(partition, {stream: deletions}, [])
            lacking += len(deletions)
        # Every row is compared by itself with the next reading, whatever its region's digest is.
        progress = replace(await self._memory.progress(stream), after=None, completed=None)
        seen = await self._memory.regions(stream)
        questioned = {name: Seen(None, s.sweep) for name, s in seen.items()}
        await self._memory.save(stream, Step(regions=questioned, progress=progress))
        return lacking

    # -- learning ------------------------------------------------------------------------------------------------

    async def _learn(self, batch: list[tuple[Event, Place]]) -> None:
        by_stream: dict[str, list[tuple[Event, Place]]] = {}
        for event, place in batch:
            by_stream.setdefault(event.stream, []).append((event, place))
        for stream, events in by_stream.items():
            known = {k.key: k for k in await self._memory.lookup(stream, [e.key for e, _ in events])}
            behind = offsets_behind(p for _, p in events)
            homes = {k.key: k.region for k in known.values()}
            learned = {e.key: k for e, place in events if (k := _learned(known, e, place)) is not None}
            if not learned and all(self._remembered.get(p) == offset for p, offset in behind.items()):
                continue
            step = Step(list(learned.values()), told=len(learned), offsets=behind)
            step.regions = await self._questioned(
                stream, {homes.get(key) for key in learned} | {k.region for k in step.known}
            )
            if any(k.region == LEARNED for k in step.known):
                # They may lie before where a stopped sweep stands: only the next one can find that they are gone.
                step.regions[LEARNED] = Seen(None, (await self._memory.progress(stream)).sweep)
            step.mended = [k.key for k in step.known if k.deleted]
            await self._memory.save(stream, step)

    async def _questioned(self, stream: str, touched: set[str | None]) -> dict[str, Seen]:
        """Regions, and the files that these are the marks of, to be compared again."""
        touched = touched - {None, LEARNED}
        seen = await self._memory.regions(stream) if touched else {}
        if touched - seen.keys():
            touched |= {name for name in seen if extract_mark(name) in touched}
        return {name: Seen(None, s.sweep) for name, s in seen.items() if name in touched}

    # -- healing -------------------------------------------------------------------------------------------------

    async def _heal(self, partition: Partition) -> None:
        """
        Put right what the journal no longer holds.

        Deletions are published again at once. What lives is published again when it is read, for only the legacy system
        has its content: the next reading is a whole one, and compares its region.
        """
        held, behind = await self._held(partition)
        lost = 0
        deletions: dict[str, list[Known]] = {}
        async for stream, records in self._memory.in_partition(partition):
            missing = [k for k in records if k.version > (held[k.key].version if k.key in held else 0)]
            await self._mark_lost(stream, [k for k in missing if not k.deleted])
            deletions.setdefault(stream, []).extend(k for k in missing if k.deleted)
            lost += len(missing)
        stranded = await self._stranded(partition, held)
        # In one transaction: once the log is as long as it was, nothing would show that it had been cut off.
        behind = max(behind, await self._publish_deletions(partition, deletions, stranded))
        await self._memory.save("", Step(offsets={partition: behind}))
        log.error(
            "%s: the journal's %s[%d] ends before what was published to it: %d events are lost there and will be "
            "published again. To do: find out why the broker lost its tail",
            self._adapter, *partition, lost + len(stranded),
        )  # fmt: skip

    async def _held(self, partition: Partition) -> tuple[dict[str, _Held], int]:
        held: dict[str, _Held] = {}
        behind = 0
        async with closing(self._journal.history({partition: 0})) as batches:
            async for batch in batches:
                for event, place in batch:
                    held[event.key] = _Held(event.version, event.data is None, event.owner, event.stream, event.entity)
                    behind = place.offset + 1
        return held, behind

    async def _mark_lost(self, stream: str, lost: list[Known]) -> None:
        if not lost:
            return
        for known in lost:
            known.lost, known.row_digest = True, None
        progress = replace(await self._memory.progress(stream), after=None, completed=None)
        await self._memory.save(
            stream, Step(lost, await self._questioned(stream, {k.region for k in lost}), progress=progress)
        )

    async def _stranded(self, partition: Partition, held: dict[str, _Held]) -> list[Event]:
        """Deletions of records that have moved to another owner's partition and live on in the journal here."""
        living = [(key, last) for key, last in held.items() if not last.deleted]
        stranded = []
        for start in range(0, len(living), 1000):
            some = living[start : start + 1000]
            for stream in {last.stream for _, last in some}:
                known = {k.key: k for k in await self._memory.lookup(stream, [key for key, _ in some])}
                for key, last in some:
                    now = known.get(key)
                    if now and now.version > last.version and (now.topic, now.partition) != partition:
                        # The version that a move's tombstone has, and no other event of the key (see `fresh`).
                        version = max(last.version + 1, now.version - 1)
                        stranded.append(self._deletion(key, last.entity, last.owner, version, stream))
        return stranded

    async def _publish_deletions(
        self, partition: Partition, deletions: dict[str, list[Known]], stranded: list[Event]
    ) -> int:
        about = [(stream, known) for stream, several in deletions.items() for known in several]
        events = [self._deletion(k.key, k.entity, k.owner, k.version, stream) for stream, k in about] + stranded
        if not events:
            return 0
        places = await self._journal.publish(events, None)
        note([known for _, known in about], places[: len(about)])
        for stream, several in deletions.items():
            await self._memory.save(stream, Step(several))
        return offsets_behind(places)[partition]

    def _deletion(self, key: str, entity: str, owner: str, version: int, stream: str) -> Event:
        return Event(entity, self._adapter, key, owner, version, self._clock(), None, stream)


def note(about: list[Known], places: list[Place]) -> None:
    """Remember where the last events of records lie."""
    for known, place in zip(about, places, strict=True):
        known.topic, known.partition, known.offset = place


def offsets_behind(places: Iterable[Place]) -> dict[Partition, int]:
    """The offset behind the last place in each partition."""
    behind: dict[Partition, int] = {}
    for topic, partition, offset in places:
        behind[topic, partition] = max(behind.get((topic, partition), 0), offset + 1)
    return behind


def _learned(known: dict[str, Known], event: Event, place: Place) -> Known | None:
    had = known.get(event.key)
    if had is None:
        had = known[event.key] = Known(event.key, event.entity, event.owner, None, None, None, 0)
    if (had.version, had.topic, had.partition, had.offset) == (event.version, *place) and not had.lost:
        return None  # the last one that was remembered
    if event.version < had.version:
        return None
    had.entity, had.owner, had.version = event.entity, event.owner, event.version
    had.deleted, had.lost, had.row_digest = event.data is None, False, None
    # Which file a record came from is known, so that its deletion is noticed though the state was lost meanwhile.
    had.region = None if had.deleted else event.extract or LEARNED
    had.fingerprint = None if event.data is None else blake2b(event.data, digest_size=16).digest()
    had.topic, had.partition, had.offset = place
    had.filled = had.former = None
    return had


@asynccontextmanager
async def closing(iterator: T) -> AsyncIterator[T]:
    """Close an asynchronous generator however its loop ends; other iterators have nothing to close."""
    try:
        yield iterator
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()
