"""
These functions make the changes in the tables that a person's actions ask for. Each function works in the transaction
of the action, so that the action and its entry in the audit trail are written together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.journal import record_key
from adapters.engine.regions import extract_mark
from canonical.key import entity_of, read_key
from flows.port import Flow
from ironbridge.store.bulk import among, postgres, values
from ironbridge.store.database import Store, now
from ironbridge.store.rows import row_of
from ironbridge.store.statement import text
from ironbridge.store.subjects import EARLIEST

PIECE = 2000
"""Subjects that are marked in one transaction, so that deliveries never wait long for their rows."""


async def woken(connection: AsyncConnection, keys: Sequence[str]) -> list[str]:
    """
    Make subjects dirty that are parked, waiting or dropped, and quarantined rows and files unread. Returns the keys of all that
    were changed.
    """
    bound = {"keys": values(connection, keys), "now": now(connection)}
    those = await _those(connection, bound, ("parked", "waiting", "dropped"))
    dirty = await connection.execute(
        text(f"UPDATE subjects SET state = 'dirty', due = NULL, since = :now WHERE {those} RETURNING subject"),  # noqa: S608
        bound,
    )
    return [key for (key,) in dirty] + await _reread(connection, keys)


async def _those(connection: AsyncConnection, bound: dict[str, Any], states: Sequence[str]) -> str:
    """The condition for subjects of these keys and states. Locks their rows, in the order that every lock follows."""
    stuck = ", ".join(f"'{state}'" for state in states)
    those = f"flow IN (SELECT name FROM flows) AND {among(connection, 'subject', 'keys')} AND state IN ({stuck})"  # noqa: S608
    if postgres(connection):
        order = 'ORDER BY subject COLLATE "C" FOR UPDATE'
        await connection.execute(text(f"SELECT 1 FROM subjects WHERE {those} {order}"), bound)  # noqa: S608
    return those


async def _reread(connection: AsyncConnection, keys: Sequence[str]) -> list[str]:
    """
    Forget the digests of quarantined rows and their regions, and of quarantined files, so that the next reading maps them
    again. Returns their keys. A second row is read again with the row that stands.
    """
    problems = await connection.execute(
        text(
            "SELECT stream, key FROM problems WHERE stream IN (SELECT id FROM streams) "  # noqa: S608 (our own names)
            f"AND {among(connection, 'key', 'keys')}"
        ),
        {"keys": values(connection, keys)},
    )
    found = [(stream, key) for stream, key in problems.fetchall()]
    files = [(stream, key) for stream, key in found if entity_of(key) == "file"]
    rows = {record_key(key) for _, key in found}
    those = f"stream IN (SELECT id FROM streams) AND {among(connection, 'key', 'rows')}"  # noqa: S608 (our own names)
    bound = {"rows": values(connection, sorted(rows))}
    await connection.execute(
        text(
            "UPDATE regions SET digest = NULL WHERE (stream, name) IN "  # noqa: S608 (our own names)
            f"(SELECT stream, region FROM records WHERE {those} AND region IS NOT NULL)"
        ),
        bound,
    )
    freed = await connection.execute(
        text(f"UPDATE records SET row_digest = NULL WHERE {those} RETURNING key"),  # noqa: S608 (our own names)
        bound,
    )
    read = {key for (key,) in freed} | await _files_reread(connection, files)
    return [key for _, key in found if record_key(key) in read]


async def _files_reread(connection: AsyncConnection, files: Sequence[tuple[int, str]]) -> set[str]:
    """Forget the digests of files, given by their streams and the problems' keys, which hold the files' marks; the keys found."""
    read: set[str] = set()
    for stream in sorted({stream for stream, _ in files}):
        keys = {read_key(key).identifier: key for at, key in files if at == stream}
        regions = await connection.execute(text("SELECT name FROM regions WHERE stream = :stream"), {"stream": stream})
        found = {name: mark for (name,) in regions.fetchall() if (mark := extract_mark(name)) in keys}
        await connection.execute(
            text(f"UPDATE regions SET digest = NULL WHERE stream = :stream AND {among(connection, 'name', 'names')}"),  # noqa: S608
            {"stream": stream, "names": values(connection, sorted(found))},
        )
        read |= {keys[mark] for mark in found.values()}
    return read


async def dropped(connection: AsyncConnection, keys: Sequence[str], why: str) -> list[str]:
    """Give up parked subjects, quarantined rows and records that are no events; the keys of those that were changed."""
    bound = {"keys": values(connection, keys), "why": why, "now": now(connection)}
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


async def set_paused(connection: AsyncConnection, name: str, *, paused: bool) -> None:
    """Pause a flow or a stream (`adapter.stream`), or let it go on."""
    adapter, _, stream = name.partition(".")
    insert = (
        "INSERT INTO streams (adapter, name, paused) VALUES (:adapter, :stream, :paused) "
        "ON CONFLICT (adapter, name) DO UPDATE SET paused = excluded.paused"
        if stream
        else "INSERT INTO flows (name, paused) VALUES (:name, :paused) "
        "ON CONFLICT (name) DO UPDATE SET paused = excluded.paused"
    )
    await connection.execute(text(insert), {"name": name, "adapter": adapter, "stream": stream, "paused": paused})


async def subjects_after(connection: AsyncConnection, flow: Flow, since: float | None, after: str) -> list[str]:
    """The next subjects of a flow behind one; only those with facts that changed `since`, if that is given."""
    bound: dict[str, Any]
    column = flow.grouping.value
    changed, bound = "", {"flow": flow.name, "after": after, "piece": PIECE}
    if since is not None:
        these = among(connection, "f.entity", "entities")
        changed = f"AND EXISTS (SELECT 1 FROM facts f WHERE f.{column} = s.subject AND f.at >= :since AND {these}) "  # noqa: S608
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


async def look_again(connection: AsyncConnection, flow: str, subjects: Sequence[str], *, rewrite: bool) -> int:
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
            f"WHEN state = 'dirty' THEN {EARLIEST} END, waiting_on = NULL, "
            "reason = CASE WHEN state = 'agreed' THEN reason END, "
            f"state = CASE WHEN state = 'sending' THEN 'sending' ELSE 'dirty' END{doubt} WHERE {those}"
        ),
        bound,
    )
    return marked.rowcount


async def ask_for_all(connection: AsyncConnection, adapter: str, stream: str) -> float:
    """Ask for a stream to be read whole again; when that was (seconds since 1970)."""
    asked = now(connection)
    await connection.execute(
        text(
            "INSERT INTO streams (adapter, name, backfill) VALUES (:adapter, :stream, :now) "
            "ON CONFLICT (adapter, name) DO UPDATE SET backfill = excluded.backfill"
        ),
        {"adapter": adapter, "stream": stream, "now": asked},
    )
    return asked


@dataclass(frozen=True, slots=True)
class BackfillRow:
    """
    A stream's columns about a backfill. `backfill` is when it was asked for, None once an adapter has taken it up;
    `completed` is when a whole reading ended last. Both are seconds since 1970. `read`, `published` and `records` count.
    """

    backfill: float | None
    completed: float | None
    read: int
    published: int
    error: str | None
    records: int


async def backfill_of(store: Store, adapter: str, stream: str) -> BackfillRow:
    """Tell how the backfill of a stream stands."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT s.backfill, s.completed, s.read, s.published, s.error, (SELECT count(*) FROM records r "
                "WHERE r.stream = s.id AND NOT r.deleted) AS records FROM streams s "
                "WHERE s.adapter = :adapter AND s.name = :stream"
            ),
            {"adapter": adapter, "stream": stream},
        )
        return row_of(BackfillRow, found.mappings().one())
