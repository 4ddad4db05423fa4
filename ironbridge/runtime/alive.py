"""
Gives signs of life for the parts that this process runs, so that any process that shares the state knows which parts run.

A part gives none before it runs (its process waits for Kafka, or its code fails at the start) and none once it has stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from canonical.errors import IronbridgeError
from ironbridge.runtime.insist import insist, nap
from ironbridge.store import Store, signs


@asynccontextmanager
async def signs_of_life(
    store: Store, parts: Callable[[], Iterable[str]], stop: asyncio.Event, every: float = signs.EVERY
) -> AsyncIterator[None]:
    """Give a sign of life every so many seconds for each part that `parts` names then. Nothing else waits for that."""
    giving = asyncio.create_task(_give(store, parts, stop, every))
    try:
        yield
    finally:
        giving.cancel()
        await asyncio.gather(giving, return_exceptions=True)


async def _give(store: Store, parts: Callable[[], Iterable[str]], stop: asyncio.Event, every: float) -> None:
    async def give() -> None:
        await signs.give(store, parts())

    async def trouble(error: IronbridgeError) -> None:
        """The log has it. If the state is away, the parts say so as well."""

    while not stop.is_set():
        await insist("signs of life", give, stop, trouble)
        await nap(stop, every)
