"""A gate in front of a server: requests wait there until they are let through, so that they arrive late."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


class Gate:
    """Passes bytes on. After `shut` with a word, it keeps all pieces from the first request that contains it until `open`."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._word: bytes | None = None
        self._opened = asyncio.Event()
        self.held = asyncio.Event()
        """Set as soon as something waits."""
        self.url = ""

    def shut(self, word: str) -> None:
        self._word = word.encode()
        self._opened.clear()
        self.held.clear()

    def open(self) -> None:
        self._word = None
        self._opened.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        ways = [asyncio.ensure_future(way) for way in (self._there(reader, back), _pass(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.close()
            writer.close()

    async def _there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            if self._word is not None and self._word in piece:
                self.held.set()
                await self._opened.wait()
            writer.write(piece)
            await writer.drain()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(1 << 16):
        writer.write(piece)
        await writer.drain()


@contextlib.asynccontextmanager
async def gated(upstream: str) -> AsyncIterator[Gate]:
    gate = Gate(upstream)
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    gate.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield gate
    finally:
        gate.open()
        server.close()
