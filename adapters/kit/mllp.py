"""HL7 v2 over MLLP as the source of a pushed stream: a message is answered once its events are in Kafka."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from pydantic import Field, ValidationError

from adapters.kit.hl7 import Acknowledgement, Hl7Message, Hl7RefusalError, MessageFault, answer, head_of, parsed
from adapters.kit.listener import Listener, ListenerSettings
from adapters.port import Gone, Parcel, Record, Row
from canonical.entity import Entity, bad_record
from canonical.errors import BadRecordError, ends_us, named
from canonical.finding import Finding

log = logging.getLogger(__name__)

START, END, RETURN = b"\x0b", b"\x1c", b"\r"
_NOISE = 10_000  # bytes between two messages, after which a connection is ended

Read = Callable[[Hl7Message], Awaitable[Sequence[Record | Gone]]]


class MllpSettings(ListenerSettings):
    """
    These settings say where messages come in, over which connections (see `adapters.kit.listener`), and how they are written.

    A message that is not in Kafka after `patience` is not answered, and its connection is ended: the sender then sends it again.
    `encoding` counts where MSH-18 names none; `processing` are the values of MSH-11 that are taken in (P is production).
    """

    encoding: Literal["utf-8", "cp1252", "iso8859-1", "iso8859-15"] = "utf-8"
    processing: frozenset[Literal["P", "T", "D"]] = Field(default=frozenset({"P"}), min_length=1)


@dataclass(eq=False)
class _Waiting:
    """A message waits for its answer: `told` becomes the acknowledgement, and what is wrong with the message."""

    message: Hl7Message
    told: asyncio.Future[tuple[Acknowledgement, Sequence[MessageFault]]]
    records: Sequence[Record | Gone] = field(default=())

    def settle(self, acknowledgement: Acknowledgement, faults: Sequence[MessageFault] = ()) -> None:
        if not self.told.done():
            self.told.set_result((acknowledgement, faults))


class Mllp:
    """
    Gives the messages that senders bring as parcels. Declare `Push(mllp.receive)`, and close it in the adapter's `close`. It
    listens from the first `receive` on, so that an adapter that is only looked at takes no port.

    `read` turns a message into its records, or raises `BadRecordError`, which is answered with AE: call `insist` in it. It is
    called again if Kafka was away, so it gives the same for the same message. `map` is the stream's: it tells what is wrong with
    a record that was quarantined. A message without records is accepted. `segments` are the ones that `read` asks for; none
    means all. `wait` is the time in seconds after which no message comes for the moment.

    A connection's next message is read once the last one is answered, so that a sender's messages keep their order. AA means
    that all events of the message are in Kafka, AE that some record of it is in quarantine or that it cannot be read, AR that it
    is not for us. No answer means that Kafka was away for too long, and the sender sends it again.
    """

    def __init__(
        self,
        name: str,
        settings: MllpSettings,
        read: Read,
        map: Callable[[Row], Entity],  # noqa: A002 (it is the stream's)
        *,
        segments: Collection[str] = (),
        wait: float = 5.0,
    ) -> None:
        self._name = name
        self._settings = settings
        self._read = read
        self._map = map
        self._segments = segments
        self._wait = wait
        self._listener = Listener(name, settings, self._converse, "patients")
        self._waiting: list[_Waiting] = []
        self._came = asyncio.Event()

    @property
    def port(self) -> int:
        """The port on which it listens; 0 if it does not."""
        return self._listener.port

    # -- what the pump asks for --------------------------------------------------------------------------------------

    async def receive(self) -> AsyncGenerator[Parcel, None]:
        """Give the messages that were not answered yet (see `adapters.port.Push`)."""
        await self._listener.listen()
        while taken := await self._next():
            good = [each for each in taken if await self._understood(each)]
            if good:
                yield Parcel([word for each in good for word in each.records], partial(self._published, good))
            if not all(each.told.done() for each in taken):
                return  # nobody answered them

    async def close(self) -> None:
        await self._listener.close()
        self._waiting.clear()

    async def check(self) -> list[Finding]:
        """Look whether the port can be listened on, and with which certificate. Changes nothing."""
        return await self._listener.check()

    async def _next(self) -> list[_Waiting]:
        """Wait a little for messages; all that wait for an answer."""
        if not self._waiting:
            self._came.clear()
            try:
                async with asyncio.timeout(self._wait):
                    await self._came.wait()
            except TimeoutError:
                return []
        return list(self._waiting)

    async def _understood(self, waiting: _Waiting) -> bool:
        """Read a message's records. One that has none, or is refused, is answered at once."""
        try:
            waiting.records = await self._read(waiting.message)
        except BadRecordError as error:
            self._refuse(waiting, error)
            return False
        if not waiting.records:
            self._settle(waiting, "AA")
        return bool(waiting.records)

    async def _published(self, taken: Sequence[_Waiting], bad: Collection[str]) -> None:
        for each in taken:
            faults = [self._fault(word) for word in each.records if isinstance(word, Record) and word.key in bad]
            self._settle(each, "AE" if faults else "AA", faults)

    def _settle(self, waiting: _Waiting, acknowledgement: Acknowledgement, faults: Sequence[MessageFault] = ()) -> None:
        waiting.settle(acknowledgement, faults)
        self._forget(waiting)

    def _forget(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _refuse(self, waiting: _Waiting, error: BadRecordError) -> None:
        log.warning("%s: a message is refused: %s: %s", self._name, error.field, error.rule)
        if isinstance(error, Hl7RefusalError):
            self._settle(waiting, error.acknowledgement, [MessageFault(error.field, error.rule, error.code)])
        else:
            self._settle(waiting, "AE", [MessageFault(error.field, error.rule)])

    def _fault(self, record: Record) -> MessageFault:
        """Tell what is wrong with a record that was quarantined."""
        try:
            self._map(record.row)
        except ValidationError as error:
            told = bad_record(self._name, error)
            return MessageFault("", f"{told.field}: {told.rule}")
        except BadRecordError as error:
            return MessageFault(error.field, error.rule)
        except BaseException as error:
            if ends_us(error):
                raise
            return MessageFault("", f"the mapping fails with {named(error)}", "207")
        return MessageFault("", "the record cannot be published", "207")

    # -- connections -------------------------------------------------------------------------------------------------

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._begun(reader):
            block, whole = await self._block(reader)
            said = await self._answered(block) if whole else self._too_large(block)
            if said is None:
                log.warning("%s: a message is not answered: it is not in Kafka in time", self._name)
                return
            writer.write(START + said + END + RETURN)
            async with asyncio.timeout(self._settings.deadline.total_seconds()):
                await writer.drain()

    async def _block(self, reader: asyncio.StreamReader) -> tuple[bytes, bool]:
        """Read to the end of the message that has begun; whether it is whole, or only the beginning of one that is too large."""
        beginning = b""
        async with asyncio.timeout(self._settings.deadline.total_seconds()):
            while True:
                try:
                    block = await reader.readuntil(END)
                except asyncio.LimitOverrunError as error:
                    left_out = await reader.readexactly(error.consumed)
                    beginning = beginning or left_out
                else:
                    return (beginning, False) if beginning else (block[: -len(END)].rpartition(START)[2], True)

    async def _begun(self, reader: asyncio.StreamReader) -> bool:
        """Wait for a message to begin; whether one does. Line ends between two messages count for nothing."""
        async with asyncio.timeout(self._settings.idle.total_seconds()):
            for _ in range(_NOISE):
                if (sign := await reader.read(1)) == START:
                    return True
                if not sign:
                    return False
        raise ConnectionAbortedError("what it sends is no MLLP")

    async def _answered(self, block: bytes) -> bytes | None:
        """The answer to a message; None if there is none in time."""
        s = self._settings
        head = head_of(block)
        try:
            message = parsed(self._name, block, encoding=s.encoding, processing=s.processing, only=self._segments)
        except Hl7RefusalError as error:
            log.warning("%s: a message is refused: %s: %s", self._name, error.field, error.rule)
            return answer(head, error.acknowledgement, [MessageFault(error.field, error.rule, error.code)])
        waiting = _Waiting(message, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._came.set()
        try:
            async with asyncio.timeout(s.patience.total_seconds()):
                return answer(head, *await waiting.told)
        except TimeoutError:
            return None
        finally:
            self._forget(waiting)

    def _too_large(self, beginning: bytes) -> bytes:
        rule = f"the message is larger than {self._settings.max_kilobytes} kilobytes"
        log.warning("%s: a message is refused: %s", self._name, rule)
        return answer(head_of(beginning), "AR", [MessageFault("", rule, "207")])
