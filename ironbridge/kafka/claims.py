"""
Each part (an adapter or a flow) has one installation, which claims it in Kafka. A second living installation of the part
is refused, and the error names the first one.

An installation is a state with all the processes that share it. Nobody sends signs of life. If an installation finds a
claim that is not its own, it writes a knock, and the living holder answers it. If nobody answers, the claim belonged to a
state that is lost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from ironbridge.kafka.claims_log import Book, InstallationClaim, Knock, record
from ironbridge.kafka.client import client_options, connecting, translated
from ironbridge.kafka.consumer import consumer
from ironbridge.kafka.topics import claims_topic
from ironbridge.settings import KafkaSettings
from ironbridge.store.installation import Installation

log = logging.getLogger(__name__)
_ANSWER = 6.0  # seconds that a knock waits for: a living process reads it within a moment, a stalled one a little later
_PATIENCE = 30.0  # seconds for Kafka to take or to give something
_LAST_WORDS = 5.0  # seconds to say that this worker ends

Work = Callable[[], Awaitable[None]]


class Claims(Protocol):
    """Decides which parts this process may run."""

    async def hold(self, part: str) -> None:
        """
        Return once the part is this installation's and others can see that this worker runs it.

        :raises MisconfiguredError: another living installation has the part. :raises UnavailableError: Kafka is away.
        """
        ...

    async def while_held(self, part: str, work: Work) -> None:
        """Hold the part and do the work. If another installation takes over, cancel it and raise `MisconfiguredError`."""
        ...

    async def close(self) -> None: ...


class Alone:
    """Claims for the embedded broker: no other installation can be there, because the broker belongs to this process."""

    async def hold(self, part: str) -> None: ...

    async def while_held(self, part: str, work: Work) -> None:
        await work()

    async def close(self) -> None: ...


class KafkaClaims:
    """
    The claims in Kafka, as one process of an installation sees them (`Claims`). `patience` is how long a knock waits for an
    answer, in seconds; `clock` is the one that an installation's processes share.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        mine: Installation,
        host: str,
        *,
        patience: float = _ANSWER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._mine = mine
        self._host = host
        self._patience = patience
        self._clock = clock
        self._topic = TopicPartition(claims_topic(settings), 0)
        self._held: dict[str, asyncio.Event] = {}
        """The parts that we hold; the event is set once another installation has taken the part over."""
        self._begun: dict[str, InstallationClaim] = {}
        """The adapters that this worker runs, as it has said in the log."""
        self._turn = asyncio.Lock()
        self._moved: asyncio.Future[None] | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._reading: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None
        self._book = Book()
        self._read = 0
        self._refusal: MisconfiguredError | None = None

    async def hold(self, part: str) -> None:
        await self._hold(part)
        if part not in self._begun:
            self._begun[part] = mine = self._claim_of(part)
            try:
                await self._write("begin", mine, -1)
            except BaseException:
                del self._begun[part]
                raise

    async def _hold(self, part: str) -> None:
        async with self._turn:
            await self._open()
        if (held := self._held.get(part)) is None or held.is_set():
            await self._claim(part)
            self._held[part] = asyncio.Event()

    async def while_held(self, part: str, work: Work) -> None:
        await self._hold(part)
        doing = asyncio.ensure_future(work())
        lost = asyncio.ensure_future(self._held[part].wait())
        try:
            await asyncio.wait({doing, lost}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
                return
            holder = self._book.holder(part)
            raise refused(part, holder[1] if holder else self._claim_of(part))
        finally:
            for each in (doing, lost):
                each.cancel()
            await asyncio.gather(doing, lost, return_exceptions=True)

    async def _claim(self, part: str) -> None:
        while True:
            mine, holder = self._claim_of(part), self._book.holder(part)
            if holder is not None and holder[1].same(mine):
                return
            if holder is not None:
                await self._knock(mine, holder[1])
                if self._book.holder(part) != holder:
                    continue  # another installation knocked, too, and was faster
                log.warning(
                    "%s: the installation that had claimed it (%s) does not answer: this one takes it over",
                    part, spoken(holder[1]),
                )  # fmt: skip
            at = await self._write("claim", mine, holder[0] if holder else -1)
            await self._read_to(at + 1)

    async def _knock(self, mine: InstallationClaim, holder: InstallationClaim) -> None:
        at = await self._write("knock", mine, -1)
        deadline = time.monotonic() + self._patience
        while (left := deadline - time.monotonic()) > 0:
            if (answer := self._book.answers.get(at)) is not None:
                raise refused(mine.part, answer)
            if (now := self._book.holder(mine.part)) is None or now[1] != holder:
                return
            await self._next(left)

    def _claim_of(self, part: str) -> InstallationClaim:
        return InstallationClaim(part, self._mine.id, self._mine.place, self._host, self._clock())

    # -- reading the log -----------------------------------------------------------------------------------------

    def _knocked(self, knock: Knock) -> None:
        held = self._held.get(knock.by.part)
        mine = self._claim_of(knock.by.part)
        if held is not None and not held.is_set() and not knock.by.same(mine):
            answering = asyncio.ensure_future(self._answer(mine, knock.at))
            self._answering.add(answering)
            answering.add_done_callback(self._answering.discard)

    async def _answer(self, mine: InstallationClaim, at: int) -> None:
        try:
            await self._write("answer", mine, at)
        except IronbridgeError as error:
            log.warning("%s: another installation asks for it, and could not be answered: %s", mine.part, error)

    def _changed(self, part: str) -> None:
        holder = self._book.holder(part)
        if (held := self._held.get(part)) is not None and holder and not holder[1].same(self._claim_of(part)):
            held.set()

    # -- Kafka ---------------------------------------------------------------------------------------------------

    async def _open(self) -> None:
        """Start to listen and to write. All records that the log holds until now are read when this returns."""
        if self._reading is not None:
            return
        async with connecting(self._settings, "claims"), asyncio.timeout(_PATIENCE):
            # The fetch waits at the broker, so new records come at once and no polling is needed.
            reading = consumer(self._settings, auto_offset_reset="earliest", fetch_max_wait_ms=2_000)
            self._producer = AIOKafkaProducer(**client_options(self._settings), acks="all", enable_idempotence=True)
            try:
                await asyncio.gather(reading.start(), self._producer.start())
                # Asked before the first fetch, because a question behind a fetch waits as long as the fetch.
                end = (await reading.end_offsets([self._topic]))[self._topic]
            except BaseException:
                self._reading = reading
                await self._let_go()
                raise
        self._book, self._read = Book(self._knocked, self._changed), 0
        reading.assign([self._topic])
        reading.seek(self._topic, 0)
        self._reading, self._listening = reading, asyncio.create_task(self._listen(reading))
        await self._read_to(end)

    async def _listen(self, reading: AIOKafkaConsumer) -> None:
        while True:
            try:
                with translated("claims"):
                    found = await reading.getmany(timeout_ms=5_000)
                    self._read = max(self._read, await reading.position(self._topic))
            except IronbridgeError as error:
                log.warning("the claims of other installations cannot be read now: %s", error)
                self._refusal = error if isinstance(error, MisconfiguredError) else None
                self._wake()
                await asyncio.sleep(1.0)
                continue
            self._refusal = None
            for each in found.get(self._topic, ()):
                self._book.apply(each.offset, each.value)
            self._wake()

    def _wake(self) -> None:
        if self._moved is not None:
            self._moved.set_result(None)
            self._moved = None

    async def _read_to(self, end: int) -> None:
        deadline = time.monotonic() + _PATIENCE
        while self._read < end:
            if self._refusal is not None:
                raise self._refusal
            if (left := deadline - time.monotonic()) <= 0:
                raise UnavailableError(
                    "claims", f"the records of {self._topic.topic} do not come", fix="look at the broker"
                )
            await self._next(left)

    async def _next(self, seconds: float) -> None:
        """Wait for the log's next records."""
        if self._moved is None:
            self._moved = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._moved}, timeout=seconds)

    async def _write(self, kind: str, claim: InstallationClaim, to: int) -> int:
        """Append a record; returns its offset."""
        if (producer := self._producer) is None:
            raise UnavailableError("claims", "the connection to Kafka is closed")
        key, value = record(kind, claim, to)
        with translated("claims"):
            async with asyncio.timeout(_PATIENCE):
                at = int(self._clock() * 1000)
                sent = await producer.send_and_wait(self._topic.topic, value, key=key, partition=0, timestamp_ms=at)
                return int(sent.offset)

    async def close(self) -> None:
        with suppress(IronbridgeError, TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await asyncio.gather(*(self._write("end", claim, -1) for claim in self._begun.values()))
        await self._let_go()

    async def _let_go(self) -> None:
        tasks = [*self._answering, *([self._listening] if self._listening else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        reading, producer = self._reading, self._producer
        self._listening, self._reading, self._producer = None, None, None
        for client in (reading, producer):
            if client is not None:
                with suppress(Exception):
                    async with asyncio.timeout(5.0):
                        await client.stop()


async def claimed(settings: KafkaSettings) -> Book:
    """
    Read what the log of claims says now, and write nothing. The topic must be there.

    :raises UnavailableError: Kafka does not answer. :raises MisconfiguredError: it refuses us.
    """
    topic, book = TopicPartition(claims_topic(settings), 0), Book()
    async with connecting(settings, "claims"), asyncio.timeout(_PATIENCE):
        reading = consumer(settings, auto_offset_reset="earliest")
        await reading.start()
        try:
            end = (await reading.end_offsets([topic]))[topic]
            reading.assign([topic])
            reading.seek(topic, 0)
            while await reading.position(topic) < end:
                for each in (await reading.getmany(timeout_ms=500)).get(topic, ()):
                    book.apply(each.offset, each.value)
        finally:
            await reading.stop()
    return book


def refused(part: str, other: InstallationClaim) -> MisconfiguredError:
    """The error of an installation that wants a part which another living one has."""
    return MisconfiguredError(
        part, f"another installation runs it with these topics: {spoken(other)}",
        fix="stop that one, or give this one a `kafka.topic_prefix` of its own, so that it has topics of its own",
    )  # fmt: skip


def spoken(claim: InstallationClaim) -> str:
    """Say which installation it is, for a person."""
    return f"{claim.installation[:12]} on {claim.host}, as of {claim.when}"
