"""
The pump: read → compare → publish → save.

It connects, and hands each stream to the module of its reading: `reading_sweep`, `reading_tail`, `reading_files` or
`reading_push`. What they find is published and remembered by the `publisher`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import blake2b

from adapters.engine import reading_files, reading_push, reading_sweep, reading_tail
from adapters.engine.connection import Connection
from adapters.engine.contents import Contents
from adapters.engine.guard import Guard
from adapters.engine.journal import Journal, Memory, Progress
from adapters.engine.publisher import Publisher
from adapters.engine.reading import Means, Numbers
from adapters.engine.reading_files import Blocked
from adapters.engine.regions import MEAN_REGION
from adapters.port import Adapter, Files, Push, Stream, Sweep, Tail

_GUARD = Guard()


def _now() -> datetime:
    return datetime.now(UTC)


class Pump:
    """
    Publishes what changed in one legacy system.

    `edition` names the mapping's code: when it changes every row is mapped again, and what comes out different is
    published. `ready` before every reading: it opens what is not open and, after a failure in the middle of a
    transaction, finds out what became of it.
    """

    def __init__(
        self,
        adapter: Adapter,
        journal: Journal,
        memory: Memory,
        *,
        edition: str,
        guard: Guard = _GUARD,
        clock: Callable[[], datetime] = _now,
        mean_region: int = MEAN_REGION,
    ) -> None:
        self.adapter = adapter
        self._memory = memory
        self._system = Connection(adapter)
        self._publisher = Publisher(adapter.name, journal, memory, clock)
        self._blocked = Blocked()
        salt = blake2b(edition.encode(), digest_size=16).digest()
        means = Means(
            adapter.name, self._system, self._publisher, memory, guard, Contents(salt), salt, clock, mean_region, Numbers(),
            adapter.streams,
        )  # fmt: skip
        self._readings = _Readings(means, self._blocked)

    async def ready(self) -> None:
        """Fence off older copies, catch up with the journal, heal what it lost, connect to the legacy system."""
        if await self._publisher.ready():
            self._blocked.free()
        await self._system.ready()

    async def backfill(self, stream: Stream) -> int:
        """
        Make the next reading of a stream compare every row by itself, and publish again what the journal lacks: how many
        records that is. Nothing that the journal holds is published twice. Not while the stream is being read.

        :raises UnavailableError: what was published last is in doubt: `ready`, and then again.
        """
        return await self._publisher.examine(stream.name)

    async def close(self) -> None:
        try:
            await self._publisher.close()
        finally:
            await self._system.close()

    async def read(self, stream: Stream) -> Progress:
        """
        Read a stream once, to its end, and publish what changed; where a stopped reading stood, it goes on.

        :raises UnavailableError: something does not answer: `ready`, and then read again.
        :raises FencedError: a newer copy of this adapter has taken over.
        """
        self._publisher.begin(stream.name)
        await stream.read_by(self._readings)
        return await self._memory.progress(stream.name)


class _Readings:
    """The module that reads a stream, by the kind of its reading (`adapters.port.Reader`)."""

    def __init__(self, means: Means, blocked: Blocked) -> None:
        self._means = means
        self._blocked = blocked

    def sweep(self, stream: Stream, reading: Sweep) -> Awaitable[None]:
        return reading_sweep.sweep(self._means, stream, reading)

    def tail(self, stream: Stream, reading: Tail) -> Awaitable[None]:
        return reading_tail.tail(self._means, stream, reading)

    def files(self, stream: Stream, reading: Files) -> Awaitable[None]:
        return reading_files.files(self._means, stream, reading, self._blocked)

    def push(self, stream: Stream, reading: Push) -> Awaitable[None]:
        return reading_push.push(self._means, stream, reading)
