"""The changes that the guard holds back, and the word that lets them through (see adapters/engine/guard.py)."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.journal import Guarded
from ironbridge.store.database import Store


@dataclass(frozen=True, slots=True)
class HeldBack:
    """An entry of the guard; `stream` is the stream's number in the tables, `part` its name for people (`adapter.stream`)."""

    stream: int
    part: str
    entry: Guarded


async def held_back(store: Store) -> list[HeldBack]:
    """All entries that are held back, the oldest first."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT s.id AS stream, s.adapter || '.' || s.name AS part, g.region, g.what, g.began, g.done, g.base, "
                "g.held, g.since, g.allowed FROM guarded g JOIN streams s ON s.id = g.stream "
                "WHERE g.since IS NOT NULL AND g.held > 0 ORDER BY g.since, part, g.what, g.region"
            )
        )
        return [HeldBack(row.pop("stream"), row.pop("part"), Guarded(**row)) for row in map(dict, found.mappings())]


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
