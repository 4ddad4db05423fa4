"""Stand-ins, shipped for tests: a journal and a memory that can fail where they are told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from secrets import randbits
from zlib import crc32

from adapters.engine.journal import (
    AGAIN,
    LARGEST_EVENT,
    TOMBSTONES,
    Cursor,
    ExtractAccount,
    Guarded,
    Known,
    Partition,
    Place,
    Problem,
    Progress,
    Seen,
    Step,
    Watermark,
    named,
)
from adapters.port import Offsets
from adapters.testing.faults import Faults
from canonical import CareEpisode, Entity, Event
from canonical.errors import FencedError, UnavailableError
from canonical.event import topic_of


@dataclass
class Log:
    """
    A Kafka cluster in memory, for any number of adapters.

    A partition holds events, and None where a marker ends a transaction. What an open transaction holds is
    not in it: nobody could read it. `groups` are the offsets that consumer groups have committed. `largest` is, by topic, the
    bytes of the largest event that it takes, where that is less than promised.
    """

    partitions: int = 3
    topics: dict[Partition, list[Event | None]] = field(default_factory=dict)
    cursors: dict[tuple[str, str], Cursor] = field(default_factory=dict)
    groups: dict[str, dict[Partition, int]] = field(default_factory=dict)
    generations: Counter[str] = field(default_factory=Counter)
    transactions: list[list[Event]] = field(default_factory=list)
    largest: dict[str, int] = field(default_factory=dict)

    def events(self) -> list[Event]:
        """All events, partition by partition, in order."""
        return [event for records in self.topics.values() for event in records if event is not None]

    def told(self) -> list[Event]:
        """All events in the order in which they were committed, those that were lost later, too."""
        return [event for events in self.transactions for event in events]

    def state(self) -> dict[str, bytes]:
        """Return what a subscriber that keeps the newest version of each key holds."""
        newest: dict[str, Event] = {}
        for event in self.events():
            if event.key not in newest or event.version > newest[event.key].version:
                newest[event.key] = event
        return {key: event.data for key, event in newest.items() if event.data is not None}

    def compact(self, now: datetime) -> None:
        """Keep the newest record of each key in a partition, as Kafka's cleaner does, and no tombstone that is too old."""
        for records in self.topics.values():
            newest = {event.key: at for at, event in enumerate(records) if event}
            for at, event in enumerate(records):
                old = event and event.data is None and now - event.time > TOMBSTONES
                if event and (old or newest[event.key] != at):
                    records[at] = None

    def make_anew(self, topic: str) -> None:
        """Delete a topic and create it again: nothing lies in it."""
        for partition in [p for p in self.topics if p[0] == topic]:
            del self.topics[partition]

    def lose_tail(self, partition: Partition, keep: int) -> None:
        """Forget everything from an offset on, as a broker does that answered before it wrote."""
        del self.topics[partition][keep:]


class MemoryJournal:
    """One adapter's journal (`adapters.engine.journal.Journal`): transactions are whole, older copies are fenced off."""

    def __init__(
        self,
        log: Log,
        adapter: str,
        entities: Iterable[type[Entity]] = (CareEpisode,),
        faults: Faults | None = None,
        prefix: str = "canonical",
    ) -> None:
        self._log = log
        self._adapter = adapter
        self._prefix = prefix
        self._topics = [topic_of(entity, prefix) for entity in entities]
        self._faults = faults or Faults()
        self._generation: int | None = None
        self._largest: dict[str, int] = {}

    async def open(self) -> None:
        self._faults.point("open")
        self._largest = dict(self._log.largest)
        self._log.generations[self._adapter] += 1
        self._generation = self._log.generations[self._adapter]
        self._faults.point("opened")

    async def close(self) -> None:
        self._generation = None

    def partition_of(self, owner: str) -> int:
        return crc32(owner.encode()) % self._log.partitions

    def topic_of(self, entity: str) -> str:
        return topic_of(entity, self._prefix)

    def largest(self, entity: str) -> int:
        return self._largest.get(self.topic_of(entity), LARGEST_EVENT)

    async def publish(
        self, events: Sequence[Event], cursor: tuple[str, Cursor] | None, offsets: Offsets | None = None
    ) -> list[Place]:
        self._faults.point("publish")
        if any(len(e.data or b"") > self._log.largest.get(self.topic_of(e.entity), LARGEST_EVENT) for e in events):
            raise UnavailableError(self._adapter, "takes no record as large as one of ours any more")
        await asyncio.sleep(0)  # as whoever waits for a server
        if self._generation is None:
            raise UnavailableError(self._adapter, "the journal is closed")
        if self._generation != self._log.generations[self._adapter]:
            raise FencedError(self._adapter, "a newer copy of it has taken over", fix="stop one of the two")
        places = []
        for event in events:
            partition = (self.topic_of(event.entity), self.partition_of(event.owner))
            records = self._log.topics.setdefault(partition, [])
            places.append(Place(*partition, len(records)))
            records.append(event)
        for topic, partition_number in {place[:2] for place in places}:
            self._log.topics[topic, partition_number].append(None)
        if cursor is not None:
            self._log.cursors[self._adapter, cursor[0]] = cursor[1]
        if offsets is not None:
            self._log.groups.setdefault(offsets.group, {}).update(offsets.next)
        self._log.transactions.append(list(events))
        self._faults.point("published")
        return places

    async def ends(self) -> dict[Partition, int]:
        self._faults.point("ends")
        return {
            (topic, number): len(self._log.topics.get((topic, number), ()))
            for topic in self._topics
            for number in range(self._log.partitions)
        }

    async def lying(self, marks: Mapping[Partition, Watermark]) -> set[Partition]:
        self._faults.point("lying")
        return {p for p, mark in marks.items() if mark.next and self._at(p, mark.next - 1) == mark.last}

    def _at(self, partition: Partition, offset: int) -> str:
        """Tell which event lies at an offset, if one of this adapter's does."""
        event = dict(enumerate(self._log.topics.get(partition, ()))).get(offset)
        return named(event) if event and event.source == self._adapter else ""

    async def history(self, since: Mapping[Partition, int]) -> AsyncIterator[list[tuple[Event, Place]]]:
        for partition, start in since.items():
            lying = enumerate(self._log.topics.get(partition, []))
            own = [(e, Place(*partition, at)) for at, e in lying if at >= start and e and e.source == self._adapter]
            for first in range(0, len(own), 100):
                self._faults.point("history")
                await asyncio.sleep(0)
                yield own[first : first + 100]


@dataclass
class Remembered:
    """A `MemoryMemory` holds one of these for each stream."""

    records: dict[str, Known] = field(default_factory=dict)
    regions: dict[str, Seen] = field(default_factory=dict)
    accounts: dict[str, ExtractAccount] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    guarded: dict[tuple[str, str], Guarded] = field(default_factory=dict)


@dataclass
class MemoryState:
    """A state database in memory, for one adapter; it outlives the memories that are opened on it."""

    streams: dict[str, Remembered] = field(default_factory=dict)
    offsets: dict[Partition, Watermark] = field(default_factory=dict)
    claims: int = 0
    steps: int = 0
    saved: datetime | None = None

    def go_back(self, to: MemoryState) -> None:
        """Be again what a copy of it holds, under the feet of those who have it open, as after a failover."""
        self.__dict__.update(deepcopy(to).__dict__)

    def of(self, stream: str) -> Remembered:
        return self.streams.setdefault(stream, Remembered())


class MemoryMemory:
    """One adapter's memory (`adapters.engine.journal.Memory`) in a `MemoryState`; a step is saved whole or not at all."""

    def __init__(self, state: MemoryState, faults: Faults | None = None) -> None:
        self._state = state
        self._faults = faults or Faults()
        self._claim: int | None = None
        self._steps = 0

    async def claimed(self) -> int:
        self._faults.point("claimed")
        return self._state.claims

    async def claim(self, had: int) -> bool:
        self._faults.point("claim")
        if self._state.claims != had:
            return False
        self._claim = self._state.claims = had + 1
        self._steps = self._state.steps = randbits(40)
        self._faults.point("claimed_it")
        return True

    async def current(self) -> bool:
        self._faults.point("current")
        await asyncio.sleep(0)
        return (self._claim, self._steps) == (self._state.claims, self._state.steps)

    async def saved(self) -> datetime | None:
        return self._state.saved

    async def offsets(self) -> dict[Partition, Watermark]:
        self._faults.point("offsets")
        return dict(self._state.offsets)

    async def progress(self, stream: str) -> Progress:
        self._faults.point("progress")
        return self._state.of(stream).progress

    async def regions(self, stream: str) -> dict[str, Seen]:
        self._faults.point("regions")
        return dict(self._state.of(stream).regions)

    async def members(self, stream: str, regions: Iterable[str]) -> list[Known]:
        self._faults.point("members")
        wanted = set(regions)
        return [copy(k) for k in self._state.of(stream).records.values() if k.region in wanted]

    async def members_after(self, stream: str, regions: Sequence[str], after: str, most: int) -> list[Known]:
        members = sorted(await self.members(stream, regions), key=lambda known: known.key)
        return [known for known in members if known.key > after][:most]

    async def lookup(self, stream: str, keys: Sequence[str]) -> list[Known]:
        self._faults.point("lookup")
        await asyncio.sleep(0)
        asked = set(keys)
        return [copy(k) for k in self._state.of(stream).records.values() if k.key in asked or k.kept in asked]

    async def quarantined(self, stream: str, keys: Sequence[str]) -> set[str]:
        self._faults.point("quarantined")
        return self._state.of(stream).problems.keys() & set(keys)

    async def doubled(self, stream: str) -> set[str]:
        self._faults.point("doubled")
        return {key for key in self._state.of(stream).problems if key.endswith(AGAIN)}

    async def live(self, stream: str) -> int:
        self._faults.point("live")
        return sum(1 for k in self._state.of(stream).records.values() if k.version and not k.deleted)

    async def guarded(self, stream: str) -> list[Guarded]:
        self._faults.point("guarded")
        return [replace(each, was=each.allowed) for each in self._state.of(stream).guarded.values()]

    async def filled(self, stream: str, region: str | None = None) -> Mapping[bytes | None, int]:
        self._faults.point("filled")
        records = self._state.of(stream).records.values()
        return Counter(k.filled for k in records if k.version and not k.deleted and region in (None, k.region))

    async def missing(self, stream: str, sweep: int, lasting: Collection[str]) -> int:
        self._faults.point("missing")
        return sum(1 for known in self._unseen(stream, sweep, lasting) if known.published)

    async def unseen(self, stream: str, sweep: int, lasting: Collection[str]) -> list[Known]:
        self._faults.point("unseen")
        return [copy(known) for known in self._unseen(stream, sweep, lasting)[:50]]

    async def missing_after(
        self, stream: str, sweep: int, lasting: Collection[str], after: str, most: int
    ) -> list[Known]:
        self._faults.point("missing_after")
        missing = [copy(k) for k in self._unseen(stream, sweep, lasting) if k.published and k.key > after]
        return sorted(missing, key=lambda known: known.key)[:most]

    async def strays(self, stream: str, fingerprints: Collection[bytes] | None, most: int) -> list[Known]:
        self._faults.point("strays")
        strays = [copy(k) for k in self._state.of(stream).records.values() if k.stray and k.region is not None]
        wanted = [k for k in strays if fingerprints is None or k.fingerprint in fingerprints]
        return sorted(wanted, key=lambda known: (known.fingerprint or b"", known.key))[:most]

    async def published(self, keys: Collection[str]) -> set[str]:
        self._faults.point("published")
        every = [k for stream in self._state.streams.values() for k in stream.records.values() if k.published]
        return {k.name for k in every} & set(keys)

    async def kept(self, keys: Collection[str]) -> Mapping[str, str]:
        self._faults.point("kept")
        every = [k for stream in self._state.streams.values() for k in stream.records.values()]
        return {k.key: k.kept for k in every if k.kept is not None and k.key in keys}

    async def keeps(self) -> bool:
        self._faults.point("keeps")
        return any(k.kept is not None for s in self._state.streams.values() for k in s.records.values())

    def _unseen(self, stream: str, sweep: int, lasting: Collection[str]) -> list[Known]:
        here = self._state.of(stream)
        seen = {name for name, s in here.regions.items() if s.sweep >= sweep}
        return [
            k for k in here.records.values()
            if (not k.deleted or k.region) and k.region not in seen and (not k.version or k.entity not in lasting)
        ]  # fmt: skip

    async def in_partition(self, partition: Partition) -> AsyncIterator[tuple[str, list[Known]]]:
        for name, stream in list(self._state.streams.items()):
            yield name, [copy(k) for k in stream.records.values() if (k.topic, k.partition) == partition]

    async def save(self, stream: str, step: Step) -> None:
        self._faults.point("save")
        await asyncio.sleep(0)
        if self._claim is not None:
            if self._claim < self._state.claims:
                raise FencedError("memory", "a newer copy of it has taken over", fix="stop one of the two")
            if (self._claim, self._steps) != (self._state.claims, self._state.steps):
                raise UnavailableError("memory", "has gone back to what it was")
            self._steps = self._state.steps = self._steps + 1
        here = self._state.of(stream)
        for key in step.renamed:
            here.records.pop(key, None)
        if step.again is not None:
            self._map_again(step.again)
        here.records.update((known.key, copy(known)) for known in step.known)
        here.regions.update(step.regions)
        here.accounts.update(step.accounts)
        for name in step.gone_regions:
            here.regions.pop(name, None)
            here.accounts.pop(name, None)
        for key in step.mended:
            here.problems.pop(key, None)
        here.problems.update((problem.key, problem) for problem in step.problems)
        here.progress = step.progress or here.progress
        for each in step.guarded:
            had = here.guarded.get((each.region, each.what))
            newer = had is not None and had.allowed != each.was and each.held
            here.guarded[each.region, each.what] = replace(each, allowed=had.allowed if newer and had else each.allowed)
        self._state.offsets.update(step.offsets)
        for partition in step.gone_offsets:
            self._state.offsets.pop(partition, None)
        self._state.saved = step.at or self._state.saved
        self._faults.point("saved")

    def _map_again(self, since: int) -> None:
        for stream in self._state.streams.values():
            for known in stream.records.values():
                if known.version >= since:
                    known.row_digest = None
                    if known.region in stream.regions:
                        stream.regions[known.region] = replace(stream.regions[known.region], digest=None)
