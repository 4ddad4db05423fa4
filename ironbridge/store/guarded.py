"""The changes that the guard holds back, and the word that lets them through (see adapters/engine/guard.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.journal import Guarded
from ironbridge.store.database import Store
from ironbridge.store.statement import text

GUARDED = "region, what, began, done, base, held, since, allowed"
# A number that a person has allowed since the entry was read is kept, unless nothing is held any more.
_GUARD = f"""
INSERT INTO guarded (stream, {GUARDED})
VALUES (:stream, :region, :what, :began, :done, :base, :held, CAST(:since AS DOUBLE PRECISION), CAST(:allowed AS BIGINT))
ON CONFLICT (stream, region, what) DO UPDATE SET began = excluded.began, done = excluded.done, base = excluded.base,
held = excluded.held, since = excluded.since, allowed = CASE WHEN excluded.held = 0 THEN NULL
WHEN coalesce(guarded.allowed, -1) <> coalesce(CAST(:was AS BIGINT), -1) THEN guarded.allowed ELSE excluded.allowed END
"""  # noqa: S608 (our own names)


async def save(connection: AsyncConnection, stream: int, entries: Sequence[Guarded]) -> None:
    """Save what the guard counts and holds in a stream."""
    for e in entries:
        await connection.execute(text(_GUARD), asdict(e) | {"stream": stream})


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


async def allowed(connection: AsyncConnection, stream: int) -> int:
    """Count a stream's kinds of held changes that a person has let through and that are not published yet."""
    asked = "SELECT count(*) FROM guarded WHERE stream = :stream AND since IS NOT NULL AND allowed IS NOT NULL"
    return int((await connection.execute(text(asked), {"stream": stream})).scalar_one())


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
