"""
The publisher: claim, doubt and transaction, which all readings of an adapter share.

Kafka is the record and the memory is a view of it. A step's events and its cursor go into one Kafka transaction; only
then does the memory follow. Between the two the publisher is in doubt; after a kill there, the next start first reads
what it published beyond what it remembers. So a read_committed subscriber sees each change of a key once and in order,
whenever the process was killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from adapters.engine.catchup import CatchUp, note
from adapters.engine.difference import Difference
from adapters.engine.journal import Cursor, Journal, Memory, Step
from adapters.engine.lookout import Lookout
from adapters.engine.meters import count
from adapters.port import Offsets
from canonical.errors import FencedError, UnavailableError


class Publisher:
    """
    Publishes one adapter's changes, as its only copy. `ready` before every reading: it takes over from older copies and,
    after a failure in the middle of a transaction, finds out what became of it.
    """

    def __init__(self, adapter: str, journal: Journal, memory: Memory, clock: Callable[[], datetime]) -> None:
        self._adapter = adapter
        self._journal = journal
        self._memory = memory
        self._clock = clock
        self._publishing = asyncio.Lock()  # one transaction at a time is all that a producer can have
        self._lookout = Lookout(adapter, journal, memory, clock)
        self._in_doubt = True
        self._claim: int | None = None
        self._caught_up = 0  # how often: a reading that began before the last time compares with an outdated memory
        self._began: dict[str, int] = {}

    async def ready(self) -> bool:
        """Fence off older copies, catch up with the journal, heal what it lost. True if that was necessary."""
        async with self._publishing:
            if not self._in_doubt:
                self._in_doubt = True  # in case the look fails
                self._in_doubt = not await self._lookout.holds()
            if not self._in_doubt:
                return False
            await self._take_over()
            self._lookout.begin(await self._catch_up().run())
            self._caught_up += 1
            self._in_doubt = False
            return True

    def begin(self, stream: str) -> None:
        """Begin a reading of a stream: it ends with the first doubt, because what it compared with may no longer be so."""
        self._began[stream] = self._caught_up

    async def examine(self, stream: str) -> int:
        """
        Hold what is remembered of a stream against the journal, and put all its rows in question: how many events the journal
        lacks. The journal is opened anew, because its topics may take larger events by now.

        :raises UnavailableError: what was published last is in doubt.
        """
        async with self._publishing:
            if self._in_doubt:
                raise UnavailableError(self._adapter, "what was published last is in doubt")
            self._in_doubt = True
            await self._take_over()
            look = self._catch_up()
            lacking = await look.examine(stream)
            first = self._lookout.published([event for event, _ in look.told], [place for _, place in look.told])
            await self._memory.save("", Step(offsets=first))
            self._in_doubt = False
            return lacking

    async def publish(
        self,
        stream: str,
        found: Difference,
        cursor: Cursor,
        step: Step,
        read: int = 0,
        offsets: Offsets | None = None,
    ) -> None:
        """
        Publish what was found in `read` records, commit the source's offsets with it, and remember it with the step.

        :raises UnavailableError: something does not answer, or a failure since the reading began left doubt.
        :raises FencedError: a newer copy of this adapter has taken over.
        """
        async with self._publishing:
            if self._in_doubt or self._began[stream] != self._caught_up:
                raise UnavailableError(self._adapter, "stopped reading: what was published last was in doubt")
            # Until both are done the memory may be behind Kafka; only catching up tells.
            self._in_doubt = True
            try:
                if found.events or offsets:
                    await self._nothing_went_back()
                    places = await self._journal.publish(found.events, (stream, cursor), offsets)
                    note(found.about, places)
                    step.offsets, step.told = self._lookout.published(found.events, places), len(places)
                step.at = self._clock()
                step.known = list(found.known.values())
                step.problems += found.problems
                step.mended += found.mended
                await self._memory.save(stream, step)
            except FencedError as error:
                if await self._newer_copy():
                    raise self._fenced_off() from error
                raise UnavailableError(self._adapter, "Kafka ended its transaction, which took too long") from error
            self._in_doubt = False
        count(self._adapter, stream, read, found.events, step.problems)

    def largest(self, entity: str) -> int:
        """The bytes of data that an event of this type may have."""
        return self._journal.largest(entity)

    async def close(self) -> None:
        self._in_doubt = True
        await self._journal.close()

    def _catch_up(self) -> CatchUp:
        return CatchUp(self._adapter, self._journal, self._memory, self._clock)

    async def _take_over(self) -> None:
        """
        Become the only copy, for Kafka and for the memory: if two start at once, the same one must win both.

        The memory decides which copy is the newest, because Kafka also fences off a copy whose transaction took too long. If the
        memory counts fewer copies than this one has seen, it has gone back to an older state.
        """
        while True:
            had = await self._memory.claimed()
            if self._claim is not None and had > self._claim:
                raise self._fenced_off()
            await self._journal.close()
            await self._journal.open()
            if await self._memory.claim(had):
                self._claim = had + 1
                return

    async def _newer_copy(self) -> bool:
        return await self._memory.claimed() > (self._claim or 0)

    def _fenced_off(self) -> FencedError:
        return FencedError(self._adapter, "a newer copy of it has taken over", fix="stop one of the two")

    async def _nothing_went_back(self) -> None:
        """
        :raises UnavailableError: the memory, or the journal, is not the one that this copy caught up with.
        :raises FencedError: a newer copy of this adapter has taken over.
        """
        if not await self._memory.current():
            if await self._newer_copy():
                raise self._fenced_off()
            raise UnavailableError(self._adapter, "the state is not the one that was saved last: catching up first")
        if not await self._lookout.holds():
            raise UnavailableError(self._adapter, "the journal is not the one that was read: reading it again first")
