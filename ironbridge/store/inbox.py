"""A flow's place in its topics, in the state: kept beside the facts, and compared with the place that the inbox knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.journal import Partition
from canonical.errors import UnavailableError
from flows.engine.ledger import Arrivals, Stand
from ironbridge.store.bulk import postgres, put
from ironbridge.store.statement import text
from ironbridge.store.tables import ingested

_STANDS = ("flow", "topic", "partition", "next", "last")


async def stands(connection: AsyncConnection, flow: str) -> dict[Partition, Stand]:
    rows = await connection.execute(
        text(
            'SELECT topic, "partition", next, last, COALESCE(again, 0), COALESCE(hidden, 0) FROM ingested WHERE flow = :flow'
        ),
        {"flow": flow},
    )
    return {(topic, number): Stand(*stand) for topic, number, *stand in rows.fetchall()}


async def reached(connection: AsyncConnection, flow: str, arrivals: Arrivals) -> None:
    """
    Save the place that the inbox has reached.

    If the state stands further than the inbox knows, it has taken in records that the partition's former worker had polled:
    the further place is kept.

    :raises UnavailableError: the state stands before that: it went back meanwhile, and lacks all that was read since.
    """
    known = await _locked(connection, flow, list(arrivals.since)) if arrivals.since else {}
    rows: list[tuple[Any, ...]] = []
    for partition, (behind, last) in sorted(arrivals.reached.items()):
        stands, since = known.get(partition, 0), arrivals.since.get(partition)
        if since is not None and stands < since:
            raise went_back(flow, partition, stands, since)
        if since is None or stands == since or behind > stands:
            rows.append((flow, *partition, behind, last))
    await put(connection, ingested, _STANDS, rows)


async def _locked(connection: AsyncConnection, flow: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
    """The flow's place in these partitions. Locks their rows in the order that every lock follows."""
    bound: dict[str, Any] = {"flow": flow}
    locked = ""
    if postgres(connection):
        locked = (
            'AND (topic, "partition") IN (SELECT * FROM unnest(CAST(:topics AS text[]), CAST(:numbers AS bigint[]))) '
            'ORDER BY topic COLLATE "C", "partition" FOR UPDATE'
        )
        bound |= {"topics": [topic for topic, _ in partitions], "numbers": [number for _, number in partitions]}
    rows = await connection.execute(
        text(f'SELECT topic, "partition", next FROM ingested WHERE flow = :flow {locked}'),  # noqa: S608 (our own words)
        bound,
    )
    return {(topic, number): behind for topic, number, behind in rows.fetchall()}


def went_back(flow: str, partition: Partition, stands: int, since: int) -> UnavailableError:
    topic, number = partition
    return UnavailableError(
        "state", f"it went back: {flow} had read {topic}[{number}] to {since}, and the state knows it to {stands}",
        fix="nothing: the flow reads again from there; find out why the database lost a confirmed transaction",
    )  # fmt: skip


async def hide(connection: AsyncConnection, flow: str, hidden: Mapping[Partition, int], now: float) -> None:
    """Note how many records an unfinished transaction hides in which partitions; 0: none any more."""
    rows = [(flow, *partition, 0, "", count or None, now if count else None) for partition, count in sorted(hidden.items())]
    columns = (*_STANDS, "hidden", "hidden_since")
    since = "CASE WHEN excluded.hidden IS NULL THEN NULL ELSE COALESCE(ingested.hidden_since, excluded.hidden_since) END"
    await put(connection, ingested, columns, rows, {"hidden": "excluded.hidden", "hidden_since": since})
