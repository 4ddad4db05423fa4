"""These queries tell what is on its way: published and not taken in, taken in and not written, and what was written lately."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.engine.journal import Partition
from ironbridge.store.database import Store
from ironbridge.store.rows import rows
from ironbridge.store.statement import text


@dataclass(frozen=True, slots=True)
class Written:
    """
    This row counts how many attempts of a flow came out confirmed lately; `oldest` is the first one's time in seconds
    since 1970.
    """

    flow: str
    writes: int
    oldest: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """This row counts how many attempts of a flow came out in one way."""

    flow: str
    outcome: str
    attempts: int


async def published(store: Store) -> dict[Partition, int]:
    """Behind which offset each partition's events end, as the adapters know it."""
    async with store.read() as connection:
        found = await connection.execute(
            text('SELECT topic, "partition", max(next) FROM offsets GROUP BY topic, "partition"')
        )
        return {(topic, partition): behind for topic, partition, behind in found}


async def taken_in(store: Store, flow: str) -> dict[Partition, int]:
    """Behind which offset of each partition a flow stands."""
    async with store.read() as connection:
        found = await connection.execute(
            text('SELECT topic, "partition", next FROM ingested WHERE flow = :flow'), {"flow": flow}
        )
        return {(topic, partition): behind for topic, partition, behind in found}


async def behind(store: Store) -> dict[str, int]:
    """For each flow the events that it has not taken in yet, as far as the state knows what was published."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT i.flow, SUM(CASE WHEN o.next > i.next THEN o.next - i.next ELSE 0 END) FROM ingested i "
                'JOIN offsets o ON o.topic = i.topic AND o."partition" = i."partition" GROUP BY i.flow'
            )
        )
        return {flow: int(count or 0) for flow, count in found.fetchall()}


async def busy(store: Store) -> int:
    """Tell how many subjects are dirty or in hand, and how many flows still look at all of theirs again."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT (SELECT count(*) FROM subjects WHERE state IN ('dirty', 'sending')) "
                "+ (SELECT count(*) FROM flows WHERE reopened IS NOT NULL)"
            )
        )
        return int(found.scalar_one())


async def confirmed(store: Store, since: float, most: int) -> list[Written]:
    """By flow, the confirmed ones of the newest `most` attempts since a time (seconds since 1970)."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT flow, count(*) AS writes, min(at) AS oldest FROM (SELECT flow, outcome, at FROM attempts "
                "ORDER BY id DESC LIMIT :most) AS newest WHERE outcome = 'confirmed' AND at > :since GROUP BY flow"
            ),
            {"most": most, "since": since},
        )
        return rows(Written, found)


async def outcomes(store: Store, since: float) -> list[Outcome]:
    """By flow, how the attempts since a time (seconds since 1970) came out."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT flow, outcome, count(*) AS attempts FROM attempts WHERE at > :since "
                "GROUP BY flow, outcome ORDER BY flow"
            ),
            {"since": since},
        )
        return rows(Outcome, found)


async def last_confirmed(store: Store) -> float | None:
    """Tell when a subject was confirmed last, in seconds since 1970."""
    async with store.read() as connection:
        found = await connection.execute(text("SELECT max(confirmed) FROM subjects"))
        last: float | None = found.scalar_one()
        return last
