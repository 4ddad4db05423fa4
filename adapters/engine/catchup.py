"""Catching up: what was published beyond what is remembered is learned, what the journal lost is put right."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

from adapters.engine.journal import (
    NOTHING,
    TOMBSTONES,
    Journal,
    Known,
    Memory,
    Partition,
    Place,
    Seen,
    Step,
    Watermark,
    marks,
    named,
    problem_keys,
)
from adapters.engine.mapping import fingerprint_of
from adapters.engine.numbers import unrowed
from adapters.engine.regions import LEARNED, extract_mark, is_place
from canonical import ENTITIES, Event

log = logging.getLogger(__name__)
T = TypeVar("T")
STALE = timedelta(days=1)
"""
A memory older than that is held against the whole journal: tombstones that it never learned of may be gone. It is the
shortest time that topics made by others keep them (Kafka's default for `delete.retention.ms`).
"""


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

    It may be killed at any point and started again: each step of it is one that can be done twice, and no mark of a
    partition moves before all of it is done. `told` are the events that it published, and their places.
    """

    def __init__(self, adapter: str, journal: Journal, memory: Memory, clock: Callable[[], datetime]) -> None:
        self._adapter = adapter
        self._journal = journal
        self._memory = memory
        self._clock = clock
        self._remembered: dict[Partition, Watermark] = {}
        self._newest: dict[Partition, Watermark] = {}
        self._moved: set[str] = set()
        # By key and partition: a record that lives on there, as far as was read, though it lives elsewhere by now.
        self._left: dict[tuple[str, Partition], _Held] = {}
        self.told: list[tuple[Event, Place]] = []

    async def run(self) -> dict[Partition, Watermark]:
        """Learn what is new, and put right what is not proven to be as it was; where the newest event of each partition lies."""
        self._remembered, ends = await self._memory.offsets(), await self._journal.ends()
        self._newest = dict.fromkeys(ends, NOTHING)
        await self._move_to_our_topics(ends)
        whole = await self._in_question(ends)
        whole |= await self._follow([p for p in ends if p not in whole])
        for partition in sorted(whole):
            lost = await self._look_through(partition)
            if lost and partition[0] not in self._moved:
                log.error(
                    "%s: the journal's %s[%d] does not hold what was published to it: %d events are lost there and will "
                    "be published again. To do: find out whether the broker lost its tail or the topic was made anew; have a "
                    "system that pushes its records send them again",
                    self._adapter, *partition, lost,
                )  # fmt: skip
        await self._publish_deletions({}, await self._left_behind())
        gone = [p for p in self._remembered if p not in ends]
        await self._memory.save("", Step(offsets=self._newest, gone_offsets=gone, at=self._clock()))
        return self._newest

    async def _in_question(self, ends: Mapping[Partition, int]) -> set[Partition]:
        """The partitions that have to be looked through whole, as far as that can be told without reading them."""
        saved = await self._memory.saved()
        # Ahead of the clock, too: then the clock was set back since, and nobody can say how old the memory is.
        stale = saved is not None and abs(self._clock() - saved) > STALE
        whole = set()
        for partition, end in ends.items():
            had = self._remembered.get(partition)
            if had is None:
                asked = await self._remembers(partition)
            else:
                asked = stale or partition[0] in self._moved or end < had.next or bool(had.next and not had.last)
            if asked:
                whole.add(partition)
        return whole

    async def _remembers(self, partition: Partition) -> bool:
        async for _, records in self._memory.in_partition(partition):
            if records:
                return True
        return False

    async def _follow(self, partitions: list[Partition]) -> set[Partition]:
        """Learn what lies behind the marks; the partitions in which the event of the mark does not lie where it lay."""
        remembered = {p: self._remembered.get(p, NOTHING) for p in partitions}
        unproven = {p for p, mark in remembered.items() if mark.next}
        async with closing(self._journal.history({p: max(m.next - 1, 0) for p, m in remembered.items()})) as batches:
            async for batch in batches:
                for event, (topic, partition, offset) in batch:
                    mark = remembered[topic, partition]
                    if offset + 1 == mark.next and named(event) == mark.last:
                        unproven.discard((topic, partition))
                await self._learn(batch)
        older = {p: Watermark(m.since, m.first) for p, m in remembered.items() if m.since and p not in unproven}
        return unproven | (older.keys() - await self._journal.lying(older)) if older else unproven

    async def _look_through(self, partition: Partition, only: str | None = None) -> int:
        """
        Hold what is remembered of a partition (of one stream) against all that lies in it; how many events it lacks.

        Deletions are published again at once. What lives is published again when it is read, for only the legacy system
        has its content: the next reading is a whole one, and compares its region.
        """
        held = await self._held(partition)
        lost = 0
        deletions: dict[str, list[Known]] = {}
        async for stream, records in self._memory.in_partition(partition):
            if only not in (None, stream):
                continue
            lacking = [k for k in records if self._lacks(held.get(k.name), k)]
            await self._mark_lost(stream, [k for k in lacking if not k.deleted])
            deletions.setdefault(stream, []).extend(k for k in lacking if k.deleted)
            lost += len(lacking)
        stranded = await self._stranded(partition, held, only)
        await self._publish_deletions(deletions, stranded)
        return lost + len(stranded)

    def _lacks(self, last: _Held | None, known: Known) -> bool:
        """Tell whether the journal lacks the last event of a record. `last` is all that it says of it."""
        if last is not None and last.version >= known.version:
            return False
        if not known.deleted or (last is not None and not last.deleted):
            return True
        # Compaction takes a tombstone that is old enough, and a version is the time of its event in milliseconds.
        return self._clock().timestamp() * 1000 - known.version < TOMBSTONES.total_seconds() * 1000

    async def examine(self, stream: str) -> int:
        """
        Hold what is remembered of a stream against all that the journal holds: what it lacks is published again when it is
        next read. How many events it lacks.
        """
        lacking = 0
        for partition in sorted(await self._journal.ends()):
            lacking += await self._look_through(partition, stream)
        # Every row is compared by itself with the next reading, whatever its region's digest is.
        progress = replace(await self._memory.progress(stream), after=None, completed=None)
        seen = await self._memory.regions(stream)
        questioned = {name: Seen(None, s.sweep) for name, s in seen.items()}
        await self._memory.save(stream, Step(regions=questioned, progress=progress))
        return lacking

    async def _move_to_our_topics(self, ends: Mapping[Partition, int]) -> None:
        """Records that were published under other topics than the adapter's count as lost: another prefix is another journal."""
        ours = {topic for topic, _ in ends}
        lost = 0
        for partition in sorted(self._remembered.keys() - ends.keys()):
            async for stream, records in self._memory.in_partition(partition):
                # A type that the adapter no longer publishes stays where it is.
                elsewhere = [k for k in records if self._journal.topic_of(k.entity) in ours]
                for known in elsewhere:
                    topic, number = self._journal.topic_of(known.entity), self._journal.partition_of(known.owner)
                    self._moved.add(topic)
                    # Nothing is to be deleted where nothing was published.
                    known.topic, known.partition = (None, None) if known.deleted else (topic, number)
                    known.offset = None
                await self._memory.save(stream, Step([k for k in elsewhere if k.deleted]))
                await self._mark_lost(stream, [k for k in elsewhere if not k.deleted])
                lost += sum(not k.deleted for k in elsewhere)
        if lost:
            log.error(
                "%s: %d records were published under other topics than now and will be published again. To do: nothing, if "
                "`kafka.topic_prefix` was changed on purpose; otherwise set it back",
                self._adapter, lost,
            )  # fmt: skip

    # -- learning ------------------------------------------------------------------------------------------------

    async def _learn(self, batch: list[tuple[Event, Place]]) -> None:
        by_stream: dict[str, list[tuple[Event, Place]]] = {}
        for event, place in batch:
            by_stream.setdefault(event.stream, []).append((event, place))
        self._newest |= marks([event for event, _ in batch], [place for _, place in batch])
        for stream, events in by_stream.items():
            found = await self._memory.lookup(stream, [e.key for e, _ in events])
            known, rows = {k.name: k for k in found}, {k.key for k in found}
            homes = {k.name: k.region for k in found}
            learned: dict[str, Known] = {}
            for event, place in events:
                self._follow_move(known.get(event.key), event, place[:2])
                if (now := _learned(known, rows, event, place)) is not None:
                    learned[event.key] = now
            if not learned:
                continue
            step = Step(list(learned.values()), told=len(learned))
            step.regions = await self._questioned(
                stream, {homes.get(key) for key in learned} | {k.region for k in step.known}
            )
            if any(k.region == LEARNED for k in step.known):
                # They may lie before where a stopped sweep stands: only the next one can find that they are gone.
                step.regions[LEARNED] = Seen(None, (await self._memory.progress(stream)).sweep)
            # A record that is gone has neither a bad row nor a second one.
            step.mended = [key for k in step.known if k.deleted for key in problem_keys(k.key)]
            await self._memory.save(stream, step)

    def _follow_move(self, had: Known | None, event: Event, here: Partition) -> None:
        """
        Note where a record lives on after it moved. Its tombstone there was published with its move: it comes, or it was lost.
        """
        self._left.pop((event.key, here), None)
        if had is None or had.topic is None or had.partition is None or here == (had.topic, had.partition):
            return
        if event.version > had.version and not had.deleted:
            there = (had.topic, had.partition)
            self._left[event.key, there] = _Held(had.version, False, had.owner, event.stream, had.entity)
        elif event.version < had.version and event.data is not None:
            self._left[event.key, here] = _Held(event.version, False, event.owner, event.stream, event.entity)

    async def _questioned(self, stream: str, touched: set[str | None]) -> dict[str, Seen]:
        """Regions, and the files that these are the marks of, to be compared again."""
        touched = touched - {None, LEARNED}
        seen = await self._memory.regions(stream) if touched else {}
        if touched - seen.keys():
            touched |= {name for name in seen if extract_mark(name) in touched}
        return {name: Seen(None, s.sweep) for name, s in seen.items() if name in touched}

    # -- healing -------------------------------------------------------------------------------------------------

    async def _held(self, partition: Partition) -> dict[str, _Held]:
        """All that a partition holds of the adapter's; what is not known of it is learned."""
        held: dict[str, _Held] = {}
        self._newest[partition] = NOTHING
        async with closing(self._journal.history({partition: 0})) as batches:
            async for batch in batches:
                for event, _ in batch:
                    held[event.key] = _Held(event.version, event.data is None, event.owner, event.stream, event.entity)
                await self._learn(batch)
        return held

    async def _mark_lost(self, stream: str, lost: list[Known]) -> None:
        if not lost:
            return
        for known in lost:
            known.lost, known.row_digest = True, None
        progress = replace(await self._memory.progress(stream), after=None, completed=None)
        await self._memory.save(
            stream, Step(lost, await self._questioned(stream, {k.region for k in lost}), progress=progress)
        )

    async def _stranded(self, partition: Partition, held: dict[str, _Held], only: str | None) -> list[Event]:
        """Deletions of records that live on in the journal here, and have been deleted or moved elsewhere since."""
        living = [(key, partition, last) for key, last in held.items() if not last.deleted and only in (None, last.stream)]
        stranded = [(key, event) async for key, event in self._gone_on(living)]
        for key, _ in stranded:
            self._left.pop((key, partition), None)
        return [event for _, event in stranded]

    async def _left_behind(self) -> list[Event]:
        """Deletions of records of which the journal shows that they moved, and lacks the tombstone that went with the move."""
        left = [(key, partition, last) for (key, partition), last in sorted(self._left.items())]
        return [event async for _, event in self._gone_on(left)]

    async def _gone_on(self, living: list[tuple[str, Partition, _Held]]) -> AsyncIterator[tuple[str, Event]]:
        """Deletions in partitions where records live on, of those that have been deleted or moved elsewhere since."""
        for start in range(0, len(living), 1000):
            some = living[start : start + 1000]
            for stream in sorted({last.stream for _, _, last in some}):
                here = [each for each in some if each[2].stream == stream]
                known = {k.name: k for k in await self._memory.lookup(stream, [key for key, _, _ in here])}
                for key, partition, last in here:
                    now = known.get(key)
                    if now and now.version > last.version and (now.topic, now.partition) != partition:
                        yield key, self._ended(key, last, now)

    def _ended(self, key: str, last: _Held, now: Known) -> Event:
        """The deletion of a record that lives on in one partition, and lives or was deleted in another."""
        # The version that a move's tombstone has, and no other event of the key (see `fresh`).
        version = now.version if now.deleted else max(last.version + 1, now.version - 1)
        ended = self._deletion(key, last.entity, last.owner, version, last.stream)
        return ended if now.deleted else ended._replace(moved_to=now.owner)

    async def _publish_deletions(self, deletions: dict[str, list[Known]], stranded: list[Event]) -> None:
        about = [(stream, known) for stream, several in deletions.items() for known in several]
        events = [self._deletion(k.name, k.entity, k.owner, k.version, stream) for stream, k in about] + stranded
        if not events:
            return
        places = await self._journal.publish(events, None)
        self.told += zip(events, places, strict=True)
        self._newest.update(marks(events, places))
        note([known for _, known in about], places[: len(about)])
        for stream, several in deletions.items():
            await self._memory.save(stream, Step(several))

    def _deletion(self, key: str, entity: str, owner: str, version: int, stream: str) -> Event:
        contract = ENTITIES.version_of(entity)
        return Event(entity, self._adapter, key, owner, version, self._clock(), None, stream, schema_version=contract)


def note(about: list[Known], places: list[Place]) -> None:
    """Remember where the last events of records lie."""
    for known, place in zip(about, places, strict=True):
        known.topic, known.partition, known.offset = place


def _learned(known: dict[str, Known], rows: Collection[str], event: Event, place: Place) -> Known | None:
    """
    Note in a record what its event says of it; None if that was known. `rows` are the keys of rows, which may differ from the
    names that their records are published under.
    """
    had = known.get(event.key)
    if had is None:
        had = Known(event.key, event.entity, event.owner, None, None, None, 0)
        had = known[event.key] = unrowed(had) if event.key in rows else had
    if (had.version, had.topic, had.partition, had.offset) == (event.version, *place) and not had.lost:
        return None  # the last one that was remembered
    if event.version < had.version:
        return None
    had.entity, had.owner, had.version = event.entity, event.owner, event.version
    had.deleted, had.lost, had.row_digest = event.data is None, False, None
    # Which file a record came from is known, so that its deletion is noticed though the state was lost meanwhile; so is the
    # position of a pushed one, even if it is deleted, so that nothing older counts that is sent again.
    had.region = None if had.deleted and not is_place(event.extract) else event.extract or LEARNED
    had.fingerprint = None if event.data is None else fingerprint_of(event.data)
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
