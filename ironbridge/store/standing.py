"""How the streams and flows stand, and what does not get on by itself, as the tables have it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from ironbridge.store.database import Store


class StreamStanding(NamedTuple):
    """One stream. `looked` is seconds since 1970; `after` is None unless a reading has begun and not ended."""

    adapter: str
    stream: str
    sweep: int
    read: int
    held: int
    error: str | None
    paused: bool
    looked: float | None
    after: str | None
    events: int
    records: int
    quarantined: int


class FlowStanding(NamedTuple):
    """One flow in brief; `oldest`, `silent_until` and `standby` are seconds since 1970."""

    flow: str
    paused: bool
    error: str | None
    todo: int
    oldest: float | None
    silent_until: float | None
    reopening: bool
    standby: float | None
    rereading: bool


class SubjectCount(NamedTuple):
    """How many subjects of a flow are in a state, and how many of them the target holds."""

    flow: str
    state: str
    subjects: int
    held: int


class HiddenEvents(NamedTuple):
    """How many records of a partition an open transaction hides from a flow, since when (seconds since 1970)."""

    flow: str
    topic: str
    partition: int
    hidden: int
    hidden_since: float


class Unwritten(NamedTuple):
    """A subject that is still to be written, since when (seconds since 1970)."""

    flow: str
    subject: str
    attempts: int
    since: float


class StuckRecord(NamedTuple):
    """A record that does not get on by itself; `part` is the flow or the `adapter.stream`."""

    part: str
    key: str
    state: str
    reason: str | None
    since: float
    cause: str | None


async def streams(store: Store) -> list[StreamStanding]:
    """Every stream, by adapter and name."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT s.adapter, s.name, s.sweep, s.read, s.held, s.error, s.paused, s.looked, s.after, s.events, "
                "COALESCE(r.live, 0), (SELECT count(*) FROM problems p WHERE p.stream = s.id) FROM streams s LEFT JOIN "
                "(SELECT stream, count(CASE WHEN version > 0 AND NOT deleted THEN 1 END) AS live "
                "FROM records GROUP BY stream) AS r ON r.stream = s.id ORDER BY s.adapter, s.name"
            )
        )
        return [StreamStanding(*row) for row in found]


async def flows(store: Store) -> list[FlowStanding]:
    """Every flow by name, cheap enough to be asked often."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT f.name, f.paused, f.error, (SELECT count(*) FROM subjects s WHERE s.flow = f.name AND "
                "s.state IN ('dirty', 'sending')), (SELECT min(since) FROM subjects s WHERE s.flow = f.name AND "
                "s.state IN ('dirty', 'sending')), (SELECT b.held FROM budgets b WHERE b.target = COALESCE(f.target, f.name)), "
                "f.reopened IS NOT NULL, f.standby, EXISTS (SELECT 1 FROM ingested i WHERE i.flow = f.name AND "
                "i.again IS NOT NULL) FROM flows f ORDER BY f.name"
            )
        )
        return [FlowStanding(*row) for row in found]


async def subjects(store: Store) -> list[SubjectCount]:
    """The subjects of every flow, counted by state."""
    async with store.read() as connection:
        found = await connection.execute(
            text("SELECT flow, state, count(*), count(digest) FROM subjects GROUP BY flow, state")
        )
        return [SubjectCount(*row) for row in found]


async def rejects(store: Store) -> dict[str, int]:
    """For each flow that has any, the number of records on its topics that are no events."""
    async with store.read() as connection:
        found = await connection.execute(text("SELECT flow, count(*) FROM rejects GROUP BY flow"))
        return {flow: int(count) for flow, count in found}


async def hidden_events(store: Store) -> list[HiddenEvents]:
    """The partitions in which an open transaction hides events from a flow, the oldest first."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                'SELECT flow, topic, "partition", hidden, hidden_since FROM ingested '
                'WHERE hidden > 0 ORDER BY hidden_since, topic, "partition"'
            )
        )
        return [HiddenEvents(*row) for row in found]


async def oldest(store: Store, most: int) -> list[Unwritten]:
    """The subjects that have waited longest to be written."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT flow, subject, attempts, since FROM subjects WHERE state IN ('dirty', 'sending') "
                "ORDER BY since LIMIT :most"
            ),
            {"most": most},
        )
        return [Unwritten(*row) for row in found]


async def stuck(connection: AsyncConnection, key: str | None = None) -> list[StuckRecord]:
    """Parked and waiting subjects, quarantined rows, records that are no events: all of them, or those of one key."""
    bound = {} if key is None else {"key": key}
    subject, row, place = (
        ("", "", "") if key is None else ("AND s.subject = :key", "WHERE p.key = :key", "WHERE place = :key")
    )
    found = await connection.execute(
        text(
            "SELECT part, key, state, reason, since, cause FROM ("  # noqa: S608 (our own words)
            # Through the flows, so that one key is found in the index, whatever flow has it.
            "SELECT 0 AS kind, s.flow AS part, s.subject AS key, s.state, s.reason, s.since, s.cause FROM flows f "
            f"JOIN subjects s ON s.flow = f.name WHERE s.state IN ('parked', 'waiting', 'dropped') {subject} "
            "UNION ALL SELECT 1, s.adapter || '.' || s.name, p.key, 'quarantined', p.what, p.since, p.cause "
            f"FROM problems p JOIN streams s ON s.id = p.stream {row} "
            f"UNION ALL SELECT 2, flow, place, 'rejected', what, since, cause FROM rejects {place}"
            ") AS stuck ORDER BY kind, part, key"
        ),
        bound,
    )
    return [StuckRecord(*each) for each in found]
