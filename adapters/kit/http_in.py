"""HTTP/1.1 requests that come in over a listener's connections (`adapters.kit.listener`), as h11 reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

import h11

from adapters.kit.listener import ListenerSettings

_HEAD = 16 * 1024  # bytes of a request's head
_PIECE = 64 * 1024
_LINGER = 2.0  # seconds for a sender to read an answer that comes before its request has ended


@dataclass(frozen=True, slots=True)
class CameIn:
    """A request that came in. The names of its headers are in small letters; of several with one name the last counts."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """Our answer to a request; `text` is plain text, for the people of the system that sent it."""

    status: int
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


Answering = Callable[[CameIn], Awaitable[Said]]


class RefusedRequest(Exception):  # noqa: N818 (it is an answer)
    """A request is answered before it was read to its end, and its connection is ended."""

    def __init__(self, said: Said) -> None:
        self.said = said
        super().__init__(said.text)


class HttpConversation:
    """
    Reads the requests of one connection, one after the other, and writes the answers.

    A head has to come within the settings' `deadline` from its first byte on, or from the connection, and a body within another
    one. A connection is ended after `idle` between two requests.
    """

    def __init__(self, settings: ListenerSettings, answering: Answering) -> None:
        self._settings = settings
        self._answering = answering

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD)
        patience = self._settings.deadline.total_seconds()
        while True:
            try:
                request = await self._request(connection, reader, writer, patience)
                said = None if request is None else await self._answering(request)
            except h11.RemoteProtocolError as error:
                said = Said(error.error_status_hint, "what it sends is no HTTP request")
            except RefusedRequest as refused:
                said = refused.said
            if said is None:
                return
            await self._write(connection, writer, said)
            if connection.their_state is h11.SEND_BODY:
                await self._left_unread(reader, writer)
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()
            patience = self._settings.idle.total_seconds()

    async def _request(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: float
    ) -> CameIn | None:
        """Read one request; None if the connection ends before it begins."""
        if not connection.trailing_data[0]:
            async with asyncio.timeout(patience):
                first = await reader.read(1)
            connection.receive_data(first)
            if not first:
                return None
        async with self._deadline():
            head = await self._event(connection, reader)
        if not isinstance(head, h11.Request):
            return None
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        self._insist_on_size(int(headers["content-length"]) if headers.get("content-length", "").isdigit() else 0)
        if connection.they_are_waiting_for_100_continue:
            writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        async with self._deadline():
            body = await self._body(connection, reader)
        return CameIn(head.method.decode("ascii"), head.target.decode("ascii").partition("?")[0], headers, body)

    async def _body(self, connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
        body = bytearray()
        while isinstance(event := await self._event(connection, reader), h11.Data):
            body += event.data
            self._insist_on_size(len(body))
        if not isinstance(event, h11.EndOfMessage):
            raise asyncio.IncompleteReadError(bytes(body), None)
        return bytes(body)

    async def _event(self, connection: h11.Connection, reader: asyncio.StreamReader) -> object:
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await reader.read(_PIECE))
        return event

    def _insist_on_size(self, size: int) -> None:
        most = self._settings.max_kilobytes
        if size > most * 1024:
            raise RefusedRequest(Said(413, f"the message is larger than {most} kilobytes"))

    async def _write(self, connection: h11.Connection, writer: asyncio.StreamWriter, said: Said) -> None:
        text = said.text.encode()
        ends = connection.their_state is not h11.DONE  # what is left of the request is not read
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text)), **said.headers}
        headers |= {"Connection": "close"} if ends else {}
        reason = HTTPStatus(said.status).phrase.encode()
        events = [
            h11.Response(status_code=said.status, headers=list(headers.items()), reason=reason),
            *([h11.Data(data=text)] if text else []), h11.EndOfMessage(),
        ]  # fmt: skip
        for event in events:
            writer.write(connection.send(event) or b"")
        async with self._deadline():
            await writer.drain()

    async def _left_unread(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let the sender see the answer: a connection that is closed while it still sends is reset."""
        if writer.can_write_eof():
            writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while await reader.read(_PIECE):
                    pass

    def _deadline(self) -> asyncio.Timeout:
        return asyncio.timeout(self._settings.deadline.total_seconds())
