"""The legacy system as the readings reach it: connected before it is read, and connected again after an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

from adapters.engine.catchup import closing
from adapters.port import Adapter
from canonical.errors import UnavailableError

T = TypeVar("T")


class Connection:
    """Opens and closes an adapter; all its streams share the connection."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._connecting = asyncio.Lock()
        self._connected = False
        self._connections = 0

    async def ready(self) -> None:
        """Connect, unless the connection holds."""
        async with self._connecting:
            if self._connected:
                return
            if self._connections:
                with suppress(UnavailableError):
                    await self._adapter.close()
            await self._adapter.open()
            self._connected = True
            self._connections += 1

    async def close(self) -> None:
        self._connected = False
        await self._adapter.close()

    async def items(self, items: AsyncIterator[T], pause: timedelta) -> AsyncIterator[T]:
        """Yield what the system gives, and pause after each item."""
        async with closing(items):
            with self.watched():
                async for item in items:
                    yield item
                    await asyncio.sleep(pause.total_seconds())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note if the legacy system stops answering meanwhile, so that `ready` connects again."""
        connection = self._connections
        try:
            yield
        except UnavailableError:
            # Another stream may have connected again already: then it is that connection that counts.
            self._connected = self._connected and connection != self._connections
            raise
