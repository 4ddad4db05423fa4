"""Topics as one list of partitions, a flow's consumer group, and a worker's inbox, read as `ironbridge.kafka.inbox` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from canonical import Event
from canonical.errors import UnavailableError
from flows.engine.ledger import Arrivals, Stand

TOPIC = "canonical"
LOOKS = 5.0  # seconds between two checks that the state stands where it was brought
Partition = tuple[str, int]


@dataclass
class Post:
    """The content of Kafka: partitions of events (None: a marker, or a compacted record), and each group's offsets."""

    partitions: int = 2
    logs: list[list[Event | None]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.logs = [[] for _ in range(self.partitions)]

    def publish(self, event: Event) -> None:
        self.logs[crc32(event.owner.encode()) % self.partitions].append(event)
        self.arrived.set()
        self.arrived = asyncio.Event()

    def compact(self) -> None:
        for log in self.logs:
            newest = {event.key: at for at, event in enumerate(log) if event is not None}
            for at, event in enumerate(log[:-1]):
                if event is not None and newest[event.key] != at:
                    log[at] = None


@dataclass
class Group:
    """A consumer group: who has which partition, and which offsets were committed."""

    post: Post
    committed: dict[int, int] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    generation: int = 0

    def join(self, worker: str) -> None:
        if worker not in self.members:
            self.members.append(worker)
            self.balance()

    def leave(self, worker: str) -> None:
        if worker in self.members:
            self.members.remove(worker)
            self.balance()

    def balance(self) -> None:
        self.generation += 1
        many = len(self.members)
        self.owners = {p: self.members[(p + self.generation) % many] for p in range(self.post.partitions)} if many else {}


class Inbox:
    """One worker's inbox (`Inbox` of the flows). It goes on where the state stands, and knows how far a lost state had read."""

    def __init__(self, group: Group, worker: str, ledger: Any, most: int, alive: Callable[[], bool]) -> None:
        self._group = group
        self._worker = worker
        self._ledger = ledger
        self._most = most
        self._alive = alive
        self._generation = -1
        self._at: dict[int, int] = {}
        self._expected: dict[int, str] = {}
        self._again: dict[int, int] = {}
        self._said: dict[int, int] = {}
        self._there: list[int] = []
        self._durable: dict[int, int] = {}  # how far the state was brought
        self._coming: dict[int, int] = {}
        self._looked = 0.0

    async def _assigned(self) -> None:
        group = self._group
        self._generation = group.generation
        mine = [p for p, owner in group.owners.items() if owner == self._worker]
        stands: dict[Partition, Stand] = await self._ledger.ingested()
        if group.generation != self._generation:
            return  # the group was balanced again meanwhile: the next poll asks again
        known = {p: stands.get((TOPIC, p), Stand()) for p in mine}
        ends = {p: len(group.post.logs[p]) for p in mine}
        self._said = {p: max(group.committed.get(p, 0), known[p].again) for p in mine}
        ahead = {p: min(said, ends[p]) for p, said in self._said.items()}
        self._again = {p: ahead[p] for p in mine if ahead[p] > known[p].behind or known[p].again}
        self._there = []
        if self._again and not stands:
            await self._ledger.forgotten({(TOPIC, p): until for p, until in self._again.items()})
        self._at = {p: known[p].behind for p in mine}
        self._durable, self._coming = dict(self._at), {}

    async def poll(self) -> Arrivals:
        group = self._group
        group.join(self._worker)  # join again if it was taken for dead
        if self._generation != group.generation:
            await self._assigned()
        if self._generation != group.generation:
            return Arrivals()
        await self._look()
        post = group.post
        if all(at >= len(post.logs[p]) for p, at in self._at.items()) and not self._again:
            try:
                await asyncio.wait_for(post.arrived.wait(), 4.0)
            except TimeoutError:
                return Arrivals()
        events: list[tuple[Event, int]] = []
        again: list[Event] = []
        reached: dict[Partition, tuple[int, str]] = {}
        behind = 0
        for p, at in list(self._at.items()):
            end = min(len(post.logs[p]), at + self._most)
            found = [(offset, e) for offset, e in enumerate(post.logs[p][at:end], at) if e is not None]
            events += [(e, p) for _, e in found]
            again += [e for offset, e in found if offset < self._again.get(p, 0)]
            if found:
                offset, last = found[-1]
                reached[TOPIC, p] = (offset + 1, last.id)
                self._coming[p] = offset + 1
            self._at[p] = end
            behind += len(post.logs[p]) - end
        self._there = [p for p, until in self._again.items() if self._at[p] >= until]
        left = {(TOPIC, p): until for p, until in self._again.items() if p not in self._there}
        there = {(TOPIC, p): self._said[p] for p in self._there}
        since = {place: self._durable.get(place[1], 0) for place in reached}
        return Arrivals(events, (), reached, behind, again, left if again else {}, there, since)

    async def _look(self) -> None:
        """Check that the state stands where it was brought, and whether somebody has proven that it is old."""
        now = asyncio.get_running_loop().time()
        if now - self._looked < LOOKS:
            return
        self._looked = now
        stands = await self._ledger.ingested()
        for p in self._at:
            stand = stands.get((TOPIC, p), Stand())
            if stand.behind < self._durable[p]:
                raise UnavailableError("state", "it went back")
            if stand.again > self._again.get(p, 0):
                self._said[p] = stand.again
                self._again[p] = min(stand.again, len(self._group.post.logs[p]))

    async def commit(self) -> None:
        self._durable |= self._coming
        for p in self._there:
            self._again.pop(p, None)
        if self._generation != self._group.generation or self._again:
            return
        if not self._alive():
            raise UnavailableError("kafka", "the process has ended")
        self._group.committed |= self._at
