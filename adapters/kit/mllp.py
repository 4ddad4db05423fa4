"""HL7 v2 over MLLP as the source of a pushed stream: a message is answered once its events are in Kafka."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from adapters.kit.hl7 import Acknowledgement, Hl7Message, Hl7RefusalError, MessageFault, answer, head_of, parsed
from adapters.port import Gone, Parcel, Record, Row
from canonical.entity import Entity, bad_record
from canonical.errors import BadRecordError, MisconfiguredError, UnavailableError, ends_us, named
from canonical.finding import Finding

log = logging.getLogger(__name__)

START, END, RETURN = b"\x0b", b"\x1c", b"\r"
_NOISE = 10_000  # bytes between two messages, after which a connection is ended

Read = Callable[[Hl7Message], Awaitable[Sequence[Record | Gone]]]


class MllpSettings(BaseModel):
    """
    These settings say where messages come in, over which connections, and how they are written.

    `certificate` and `key` (PEM files) turn TLS on; with `client_authorities` a sender has to show a certificate that one of
    them has signed. A connection is ended after `idle` without a message, and after `deadline` within a half-sent one. A
    message that is not in Kafka after `patience` is not answered, and its connection is ended: the sender then sends it again.
    `encoding` counts where MSH-18 names none; `processing` are the values of MSH-11 that are taken in (P is production).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(ge=0, le=65535)
    certificate: Path | None = None
    key: Path | None = None
    client_authorities: Path | None = None
    connections: int = Field(default=20, ge=1, le=1000)
    max_kilobytes: int = Field(default=1024, ge=1, le=65536)
    idle: timedelta = Field(default=timedelta(hours=1), gt=timedelta(0))
    deadline: timedelta = Field(default=timedelta(seconds=30), gt=timedelta(0))
    patience: timedelta = Field(default=timedelta(seconds=60), gt=timedelta(0))
    encoding: Literal["utf-8", "cp1252", "iso8859-1", "iso8859-15"] = "utf-8"
    processing: frozenset[Literal["P", "T", "D"]] = Field(default=frozenset({"P"}), min_length=1)

    @model_validator(mode="after")
    def _whole_tls(self) -> MllpSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` go together")
        if self.client_authorities is not None and self.certificate is None:
            raise ValueError("`client_authorities` needs `certificate` and `key`: certificates of senders are asked for in TLS")
        return self

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def tls(self, where: str) -> ssl.SSLContext | None:
        """
        The context for TLS; None if it is off.

        :raises MisconfiguredError: a file cannot be read or is none of PEM.
        """
        if self.certificate is None or self.key is None:
            return None
        what: Path = self.certificate
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            made.load_cert_chain(self.certificate, self.key, password=_no_password)
            if self.client_authorities is not None:
                what = self.client_authorities
                made.load_verify_locations(what)
                made.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ValueError) as error:
            raise MisconfiguredError(
                where, f"{what} cannot be used for TLS ({type(error).__name__})",
                fix="name PEM files that this account may read; a key without a passphrase, and the one of that certificate",
            ) from None  # fmt: skip
        return made


def _no_password() -> str:
    raise ValueError  # else OpenSSL would ask the terminal


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
        self._server: asyncio.Server | None = None
        self._connections = set[asyncio.Task[None]]()
        self._waiting: list[_Waiting] = []
        self._came = asyncio.Event()

    @property
    def port(self) -> int:
        """The port on which it listens; 0 if it does not."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server else 0

    # -- what the pump asks for --------------------------------------------------------------------------------------

    async def receive(self) -> AsyncGenerator[Parcel, None]:
        """Give the messages that were not answered yet (see `adapters.port.Push`)."""
        await self._listen()
        while taken := await self._next():
            good = [each for each in taken if await self._understood(each)]
            if good:
                yield Parcel([word for each in good for word in each.records], partial(self._published, good))
            if not all(each.told.done() for each in taken):
                return  # nobody answered them

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._waiting.clear()

    async def check(self) -> list[Finding]:
        """Look whether the port can be listened on, and with which certificate. Changes nothing."""
        s = self._settings
        tls = s.tls(self._name)
        if self._server is None:
            try:
                server = await asyncio.start_server(_nobody, s.host, s.port, ssl=tls)
            except OSError as error:
                met = self._unbound(error)
                return [Finding(met.what, False, met.fix)]
            server.close()
            await server.wait_closed()
        senders = "any sender" if s.client_authorities is None else "senders with a certificate"
        how = f"with TLS, from {senders}" if tls else "without TLS"
        open_to_all = tls is None and not _here(s.host)
        fix = "give `certificate` and `key`: messages about patients cross the network in the clear" if open_to_all else ""
        return [Finding(f"{s.address} can be listened on, {how}", not open_to_all, fix)]

    async def _listen(self) -> None:
        s = self._settings
        if self._server is not None:
            return
        tls = s.tls(self._name)
        wait = {"ssl_handshake_timeout": s.deadline.total_seconds()} if tls else {}
        limit = s.max_kilobytes * 1024
        try:
            self._server = await asyncio.start_server(self._connected, s.host, s.port, ssl=tls, limit=limit, **wait)
        except OSError as error:
            raise self._unbound(error) from error
        log.info("%s: listens on %s, %s", self._name, s.address, "with TLS" if tls else "without TLS")

    def _unbound(self, error: OSError) -> UnavailableError:
        what = f"cannot listen on {self._settings.address} ({os.strerror(error.errno or 0).lower()})"
        fix = "stop the program that listens there (a running Ironbridge does), or set `host` and `port` to this machine's"
        return UnavailableError(self._name, what, fix=fix)

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

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._settings.connections:
            log.warning("%s: a connection is turned away: %d are open", self._name, len(self._connections))
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._disconnected)

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: a connection is ended: %s", self._name, named(error))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the messages of one connection, one after the other."""
        try:
            await self._converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError) as error:  # TimeoutError and what TLS raises are OSErrors
            log.info("%s: a connection is ended: %s", self._name, _ending(error))
        finally:
            writer.close()

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


def _ending(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "it was silent for too long"
        case asyncio.IncompleteReadError():
            return "its sender went away within a message"
        case ConnectionAbortedError():
            return "what it sends is no MLLP"
    return f"its sender went away ({type(error).__name__})"


async def _nobody(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()  # a check takes nothing in


def _here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
