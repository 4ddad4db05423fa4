"""
A person's actions on streams and flows: retry, drop, pause, resume, release, replay, backfill. Each one is written to the
audit trail in the transaction that does it.

Each one is a word in the state that the running adapters and flows take up with their next step. So these functions never
write to Kafka, to a legacy system or to a target, and need not know where those run.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from flows.port import Flow
from ironbridge import budget
from ironbridge.audit import Action, Actor, note
from ironbridge.store import Store
from ironbridge.store.bulk import among, postgres, values
from ironbridge.store.database import now
from ironbridge.store.subjects import EARLIEST

_PIECE = 2000  # subjects marked in one transaction, so that deliveries never wait long for their rows


async def retry(store: Store, by: Actor, keys: Sequence[str], why: str = "") -> int:
    """
    Look at parked subjects and quarantined rows again; how many there were. A row is read again with its next sweep. Only
    what something was done to is on record.
    """
    count = 0
    for piece in _pieces(keys):
        async with store.write() as connection:
            bound = {"keys": values(connection, piece), "now": store.clock()}
            those = await _those(connection, bound, ("parked", "waiting", "dropped"))
            woken = await connection.execute(
                text(f"UPDATE subjects SET state = 'dirty', due = NULL, since = :now WHERE {those} RETURNING subject"),  # noqa: S608
                bound,
            )
            done = [key for (key,) in woken] + await _reread(connection, bound)
            await note(connection, by, Action.RETRY, _once(piece, done), why)
        count += len(done)
    return count


def _pieces(keys: Sequence[str]) -> list[list[str]]:
    every = list(dict.fromkeys(keys))
    return [every[at : at + _PIECE] for at in range(0, len(every), _PIECE)]


def _once(keys: Sequence[str], done: Sequence[str]) -> list[str]:
    """The keys of the records that were changed, in the order in which they were named."""
    there = set(done)
    return [key for key in keys if key in there]


async def _those(connection: AsyncConnection, bound: dict[str, Any], states: Sequence[str]) -> str:
    """The condition for subjects of these keys and states. Locks their rows, in the order that every lock follows."""
    stuck = ", ".join(f"'{state}'" for state in states)
    those = f"flow IN (SELECT name FROM flows) AND {among(connection, 'subject', 'keys')} AND state IN ({stuck})"  # noqa: S608
    if postgres(connection):
        order = 'ORDER BY subject COLLATE "C" FOR UPDATE'
        await connection.execute(text(f"SELECT 1 FROM subjects WHERE {those} {order}"), bound)  # noqa: S608
    return those


async def _reread(connection: AsyncConnection, bound: dict[str, Any]) -> list[str]:
    """Forget the digests of quarantined rows and their regions, so that the next reading maps them again. Returns their keys."""
    await connection.execute(
        text(
            "UPDATE regions SET digest = NULL WHERE (stream, name) IN (SELECT r.stream, r.region FROM problems p "  # noqa: S608
            "JOIN records r ON r.stream = p.stream AND r.key = p.key "
            f"WHERE p.stream IN (SELECT id FROM streams) AND {among(connection, 'p.key', 'keys')})"
        ),
        bound,
    )
    freed = await connection.execute(
        text(
            "UPDATE records SET row_digest = NULL WHERE stream IN (SELECT id FROM streams) "  # noqa: S608
            f"AND {among(connection, 'key', 'keys')} AND EXISTS "
            "(SELECT 1 FROM problems p WHERE p.stream = records.stream AND p.key = records.key) RETURNING key"
        ),
        bound,
    )
    return [key for (key,) in freed]


async def drop(store: Store, by: Actor, keys: Sequence[str], why: str) -> int:
    """
    Give up parked subjects and quarantined rows, with the reason on record; how many. A new fact brings them back. Only
    what something was done to is on record.
    """
    count = 0
    for piece in _pieces(keys):
        async with store.write() as connection:
            bound = {"keys": values(connection, piece), "why": why, "now": store.clock()}
            done = await _dropped(connection, bound)
            await note(connection, by, Action.DROP, _once(piece, done), why)
        count += len(done)
    return count


async def _dropped(connection: AsyncConnection, bound: dict[str, Any]) -> list[str]:
    those = await _those(connection, bound, ("parked", "waiting"))
    await connection.execute(
        text(
            "INSERT INTO attempts (flow, subject, at, outcome, detail) "  # noqa: S608 (our own words)
            f"SELECT flow, subject, :now, 'dropped', :why FROM subjects WHERE {those}"
        ),
        bound,
    )
    done: list[str] = []
    for statement in (
        f"UPDATE subjects SET state = 'dropped' WHERE {those} RETURNING subject",  # noqa: S608
        "DELETE FROM problems WHERE stream IN (SELECT id FROM streams) "  # noqa: S608
        f"AND {among(connection, 'key', 'keys')} RETURNING key",
        "DELETE FROM rejects WHERE flow IN (SELECT name FROM flows) "  # noqa: S608
        f"AND {among(connection, 'place', 'keys')} RETURNING place",
    ):
        done += [key for (key,) in await connection.execute(text(statement), bound)]
    return done


async def pause(store: Store, by: Actor, name: str, why: str = "") -> None:
    """
    Hold a flow's delivery or a stream's reading (`adapter.stream`) back. What a paused flow is sent by Kafka it still
    takes in: nothing is lost, and `plan` shows what waits.
    """
    async with store.write() as connection:
        await _hold(connection, name, paused=True)
        await note(connection, by, Action.PAUSE, [name], why)


async def resume(store: Store, by: Actor, name: str, why: str = "") -> None:
    """Let a paused flow or stream go on; what waited goes at once."""
    async with store.write() as connection:
        await _hold(connection, name, paused=False)
        await note(connection, by, Action.RESUME, [name], why)


async def release(store: Store, by: Actor, target: str, why: str = "") -> bool:
    """
    Lift the silence that a target has asked for (its Retry-After): the workers that wait for it go on within a few seconds.
    True if there was one; only then it is written to the audit trail.
    """
    async with store.write() as connection:
        lifted = await budget.release(connection, target)
        if lifted:
            await note(connection, by, Action.RELEASE, [target], why)
    return lifted


async def _hold(connection: AsyncConnection, name: str, *, paused: bool) -> None:
    adapter, _, stream = name.partition(".")
    insert = (
        "INSERT INTO streams (adapter, name, paused) VALUES (:adapter, :stream, :paused) "
        "ON CONFLICT (adapter, name) DO UPDATE SET paused = excluded.paused"
        if stream
        else "INSERT INTO flows (name, paused) VALUES (:name, :paused) "
        "ON CONFLICT (name) DO UPDATE SET paused = excluded.paused"
    )
    await connection.execute(text(insert), {"name": name, "adapter": adapter, "stream": stream, "paused": paused})


async def replay(
    store: Store, by: Actor, flow: Flow, why: str = "", *, since: float | None = None, rewrite: bool = False
) -> int:
    """
    Make a flow look again at all its subjects, or at those whose facts were observed to change `since` (seconds since
    1970): what they should be is worked out again, and written where it is another than what was confirmed. How many.

    `rewrite` takes nothing for confirmed: a target that can show what it holds is read back, and put right where
    somebody has changed it there; one that cannot is written again, whole. What a person has dropped stays dropped.
    """
    count, after = 0, ""
    async with store.write() as connection:
        scope = "all" if since is None else f"changed since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(since))}"
        await note(connection, by, Action.REPLAY, [f"{flow.name} ({scope}{', rewrite' if rewrite else ''})"], why)
    while True:
        async with store.write() as connection:
            page = await _subjects(connection, flow, since, after)
            count += await _again(connection, flow.name, page, rewrite=rewrite)
        if not page:
            return count
        after = page[-1]


async def _subjects(connection: AsyncConnection, flow: Flow, since: float | None, after: str) -> list[str]:
    bound: dict[str, Any]
    changed, bound = "", {"flow": flow.name, "after": after, "piece": _PIECE}
    if since is not None:
        these = among(connection, "f.entity", "entities")
        changed = f"AND EXISTS (SELECT 1 FROM facts f WHERE f.{flow.grouping.value} = s.subject AND f.at >= :since AND {these}) "  # noqa: S608
        bound |= {"since": since, "entities": values(connection, [e.type_name for e in flow.entities])}
    found = await connection.execute(
        text(
            f"SELECT s.subject FROM subjects s WHERE s.flow = :flow AND s.subject > :after {changed}"  # noqa: S608
            "ORDER BY s.subject LIMIT :piece"
        ),
        bound,
    )
    return [subject for (subject,) in found]


_CONFIRMED = {
    True: "convert_to('[', 'UTF8') || document || convert_to(']', 'UTF8')",
    False: "CAST('[' || CAST(document AS text) || ']' AS blob)",
}


async def _again(connection: AsyncConnection, flow: str, subjects: Sequence[str], *, rewrite: bool) -> int:
    """Mark subjects; one in hand is dirty once it is settled. Rows are locked in the order in which everybody locks."""
    if not subjects:
        return 0
    bound = {"flow": flow, "subjects": values(connection, subjects), "now": now(connection)}
    those = f"flow = :flow AND {among(connection, 'subject', 'subjects')} AND state <> 'dropped'"
    if postgres(connection):
        order = 'ORDER BY subject COLLATE "C" FOR UPDATE'
        await connection.execute(text(f"SELECT 1 FROM subjects WHERE {those} {order}"), bound)  # noqa: S608
    # What is in hand may be changing what is confirmed just now: it is left to its worker, and looked at again after it.
    doubt = (
        f", doubtful = CASE WHEN document IS NOT NULL AND doubtful IS NULL AND state <> 'sending' "
        f"THEN {_CONFIRMED[postgres(connection)]} ELSE doubtful END"
        if rewrite
        else ""
    )
    marked = await connection.execute(
        text(
            "UPDATE subjects SET since = CASE WHEN state IN ('dirty', 'sending') THEN since ELSE :now END, "  # noqa: S608
            "seq = seq + 1, due = CASE WHEN state = 'sending' THEN due "
            f"WHEN state = 'dirty' THEN {EARLIEST} END, waiting_on = NULL, reason = NULL, "
            f"state = CASE WHEN state = 'sending' THEN 'sending' ELSE 'dirty' END{doubt} WHERE {those}"
        ),
        bound,
    )
    return marked.rowcount


async def backfill(store: Store, by: Actor, adapter: str, stream: str, why: str = "") -> float:
    """
    Ask for a stream to be read whole again, every row compared by itself, and what its topics lack published again. The
    running adapter takes that up with its next reading. When it was asked (seconds since 1970), for `backfilling`.
    """
    async with store.write() as connection:
        asked = store.clock()
        await connection.execute(
            text(
                "INSERT INTO streams (adapter, name, backfill) VALUES (:adapter, :stream, :now) "
                "ON CONFLICT (adapter, name) DO UPDATE SET backfill = excluded.backfill"
            ),
            {"adapter": adapter, "stream": stream, "now": asked},
        )
        await note(connection, by, Action.BACKFILL, [f"{adapter}.{stream}"], why)
    return asked


@dataclass(frozen=True, slots=True)
class Backfilling:
    """How a backfill stands. `taken_up`: an adapter has begun it; `read` rows of about `records`, `published` events."""

    taken_up: bool
    done: bool
    read: int
    published: int
    records: int
    error: str | None


async def backfilling(store: Store, adapter: str, stream: str, asked: float) -> Backfilling:
    """How the backfill that was asked for at a time stands."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT s.backfill, s.completed, s.read, s.published, s.error, (SELECT count(*) FROM records r "
                "WHERE r.stream = s.id AND NOT r.deleted) FROM streams s WHERE s.adapter = :adapter AND s.name = :stream"
            ),
            {"adapter": adapter, "stream": stream},
        )
        waits, completed, read, published, error, records = found.one()
    taken = waits is None
    done = taken and completed is not None and completed >= asked
    return Backfilling(taken, done, read if taken else 0, published if taken else 0, records, error)


async def watched(store: Store, adapter: str, stream: str, asked: float) -> AsyncIterator[Backfilling]:
    """How a backfill stands, each time that somebody asks, until it is done."""
    while True:
        stands = await backfilling(store, adapter, stream, asked)
        yield stands
        if stands.done:
            return
