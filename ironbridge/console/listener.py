"""
A listener that no client can exhaust: the number of connections is bounded, and each turn of the client has a deadline.

uvicorn ends connections that are idle between two requests and has no other deadline: half a request may last for ever.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one listener. Times are in seconds."""

    connections: int = 200
    """Connections open at once; any more are answered 503 and cut. A browser has up to six."""
    head: float = 10.0
    """From the connection, or from the first byte of a further request, until the request's whole head has come."""
    body: float = 30.0
    """From then until the whole body has come."""
    taking: float = 30.0
    """For the client to take the bytes that we send, once it has fallen behind."""
    most: int = 64 * 1024
    """Bytes of a body: people send only forms to us."""


PEOPLE = Bounds()
PROBES = Bounds(connections=32, head=5.0, body=5.0, taking=5.0, most=1024)
ACCEPTED = 16
"""Connections that are accepted in one go, before those beyond the bound are cut: so many more descriptors may be open."""
QUEUE = 256
"""Connections that the kernel keeps until we accept them."""
_SAY = 60.0  # seconds between two lines in the log that say that the listener is full
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 10\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class BoundedConfig(uvicorn.Config):
    """uvicorn's settings for a listener with bounds."""

    def __init__(self, app: ASGIApp, bounds: Bounds) -> None:
        super().__init__(
            SmallBodies(app, bounds.most), http=Bounded, ws="none", lifespan="off", log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=2, backlog=ACCEPTED,
        )  # fmt: skip
        self.bounds = bounds
        self._told = -math.inf

    def full(self) -> None:
        """A connection was refused: log that now and then."""
        if time.monotonic() - self._told > _SAY:
            self._told = time.monotonic()
            log.warning("connections are refused: %d are open, which is the limit", self.bounds.connections)


class Bounded(H11Protocol):
    """One connection: HTTP/1.1 as uvicorn speaks it, with a deadline for each of the client's turns."""

    config: BoundedConfig
    _deadline: asyncio.TimerHandle | None = None
    _behind: asyncio.TimerHandle | None = None
    _turn: Any = None  # the turn that the deadline is for: `h11.IDLE` is a head, `h11.SEND_BODY` a body
    _refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self.config.bounds.connections:
            self._refused = True
            self.config.full()
            transport.write(_FULL)
            transport.abort()
            return
        super().connection_made(transport)
        self._mind(expected=True)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)
            self._mind(expected=True)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            # The client loses the bytes that it has not taken by then.
            self.loop.call_later(self.config.bounds.taking, self.transport.abort)
        self._mind(expected=bool(self.conn.trailing_data[0]))

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.config.bounds.taking, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._rest()
        self._caught_up()
        if not self._refused:
            super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._behind = self.loop.call_later(self.config.bounds.taking, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._caught_up()

    def _mind(self, *, expected: bool) -> None:
        """Begin, keep or end the deadline. It covers a whole head or body, in however many pieces that comes."""
        turn = self.conn.their_state
        bounds = {h11.IDLE: self.config.bounds.head, h11.SEND_BODY: self.config.bounds.body}
        if turn not in bounds or not expected or self.transport.is_closing():
            self._rest()
        elif turn is not self._turn:
            self._rest()
            self._turn = turn
            self._deadline = self.loop.call_later(bounds[turn], self.transport.abort)

    def _rest(self) -> None:
        self._turn = None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _caught_up(self) -> None:
        if self._behind is not None:
            self._behind.cancel()
            self._behind = None


class SmallBodies:
    """An application that accepts only so many bytes with a request; a longer body is refused with 413."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, f"A form of more than {self._most // 1024} kB is not read.")
            return message

        await self._app(scope, counted, send)
