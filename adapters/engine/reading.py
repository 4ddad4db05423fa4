"""The readings of one adapter share these means: the system, the publisher, the memory, and the comparison of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from adapters.engine.connection import Connection
from adapters.engine.contents import Contents
from adapters.engine.difference import Aside, Comparison, Difference
from adapters.engine.guard import Guard, Watch
from adapters.engine.journal import Known, Memory, Step, problem_keys
from adapters.engine.numbers import NOBODY, Others
from adapters.engine.publisher import Publisher
from adapters.port import Stream

_BATCH = 500  # changes put aside that are published in one transaction


class Numbers:
    """Knows whether a record of the adapter keeps another key than its row's, without asking the memory each time."""

    def __init__(self) -> None:
        self._kept: bool | None = None

    async def kept(self, memory: Memory) -> bool:
        if self._kept is None:
            found = await memory.keeps()
            self._kept = self._kept or found  # a sweep may have begun to, meanwhile
        return self._kept

    def keep(self) -> None:
        self._kept = True


@dataclass(frozen=True, slots=True)
class Means:
    """The means by which an adapter's streams are read. `salt` names the mapping's edition in the rows' digests."""

    adapter: str
    system: Connection
    publisher: Publisher
    memory: Memory
    guard: Guard
    contents: Contents
    salt: bytes
    clock: Callable[[], datetime]
    mean_region: int
    numbers: Numbers
    streams: Callable[[], Sequence[Stream]]

    def comparison(
        self,
        stream: Stream,
        known: Iterable[Known],
        quarantined: set[str],
        watch: Watch | None = None,
        extract: str = "",
        others: Others = NOBODY,
    ) -> Comparison:
        largest = self.publisher.largest
        return Comparison(self.adapter, stream, known, quarantined, self.clock(), extract, watch, largest, others)

    async def watch(self, stream: Stream) -> Watch:
        """The guard's counts of a stream, for one reading."""
        guarded = await self.memory.guarded(stream.name)
        return Watch(self.guard, self.contents, guarded, self.clock().timestamp())

    async def quarantined(self, stream: Stream, keys: list[str]) -> set[str]:
        """The problems of these keys, those of their second rows and of what is left out among them."""
        return await self.memory.quarantined(stream.name, [each for key in keys for each in problem_keys(key)])

    async def intend(self, stream: Stream, watch: Watch) -> None:
        """Save the changes that the guard lets through before they are published, so that a killed copy has counted them."""
        if guarded := watch.changed():
            await self.publisher.publish(stream.name, Difference(), {}, Step(guarded=guarded))


def batches(asides: list[Aside]) -> Iterator[list[Aside]]:
    """Changes that were put aside, as many at a time as one transaction may hold."""
    return (asides[start : start + _BATCH] for start in range(0, len(asides), _BATCH))
