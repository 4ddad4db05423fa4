"""The changes that the guard holds back, and the word that lets them through (see adapters/engine/guard.py)."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.journal import Guarded
from ironbridge.store.database import Store


class HeldBack(NamedTuple):
    """An entry of the guard; `part` is `adapter.stream`, `allowed` how many changes a person has let through."""

    stream: int
    part: str
    entry: Guarded
    allowed: int | None


async def held_back(store: Store) -> list[HeldBack]:
    """All entries that are held back, the oldest first."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT s.id, s.adapter || '.' || s.name AS part, g.region, g.what, g.began, g.done, g.base, g.held, g.since, "
                "g.allowed FROM guarded g JOIN streams s ON s.id = g.stream WHERE g.since IS NOT NULL AND g.held > 0 "
                "ORDER BY g.since, part, g.what, g.region"
            )
        )
        return [HeldBack(stream, part, Guarded(*entry), allowed) for stream, part, *entry, allowed in found]


async def let_through(connection: AsyncConnection, stream: int, region: str, what: str, number: int) -> bool:
    """Let so many changes of an entry through; False if it is held back no longer."""
    let = await connection.execute(
        text(
            "UPDATE guarded SET allowed = :number WHERE stream = :stream AND region = :region AND what = :what "
            "AND since IS NOT NULL AND held > 0"
        ),
        {"number": number, "stream": stream, "region": region, "what": what},
    )
    return bool(let.rowcount)
