"""Keeps the part going that writes the open tables."""

from __future__ import annotations

import asyncio

from canonical.errors import FencedError, IronbridgeError, UnavailableError
from ironbridge.kafka.claims import Claims
from ironbridge.runtime.insist import in_our_words, insist
from ironbridge.runtime.systems import TABLES
from ironbridge.tables.writer import TablesWriter


async def keep_tables(writer: TablesWriter, claims: Claims, stop: asyncio.Event) -> None:
    """Write the open tables, while this installation holds the part."""

    async def once() -> None:
        try:
            await claims.while_held(TABLES, lambda: in_our_words(TABLES, lambda: writer.run(stop)))
        except FencedError as error:
            raise UnavailableError(TABLES, error.what) from error

    async def trouble(error: IronbridgeError) -> None:
        writer.trouble = str(error)

    await insist(TABLES, once, stop, trouble)
