"""One flow's facts, subjects and confirmations, in the state database (`flows.ledger.Ledger`)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.journal import Partition
from canonical import Event
from flows.ledger import Intent, Mark, Reject, Settlement, State, Task
from flows.port import Fact, Grouping
from ironbridge.store.bulk import among, postgres, put, values
from ironbridge.store.database import Store
from ironbridge.store.tables import attempts, facts, ingested, rejects, subjects

HOLD = 20.0
"""Seconds that a subject stays in a worker's hand without a sign of life; then another worker may take it."""

_TASK = "subject, seq, changes, attempts, ref, tag, digest, document, doubtful, traceparent"
_FACT = ("key", "entity", "owner", "source", "version", "data", "at", "traceparent")
_MARK = ("flow", "subject", "partition", "state", "urgency", "seq", "changes", "since", "attempts", "traceparent")
_IN_HAND = "subjects.state IN ('dirty', 'sending')"
# What an event does to a subject that is there: dirty it, wake it if it was parked or waiting, leave it in hand if it is.
_TOUCH = {
    "state": "CASE WHEN subjects.state = 'sending' THEN 'sending' ELSE 'dirty' END",
    "seq": "subjects.seq + 1",
    "changes": "subjects.changes + excluded.changes",
    "since": f"CASE WHEN {_IN_HAND} THEN subjects.since ELSE excluded.since END",
    "due": f"CASE WHEN {_IN_HAND} THEN subjects.due ELSE NULL END",
    "urgency": f"CASE WHEN {_IN_HAND} AND subjects.urgency < excluded.urgency THEN subjects.urgency ELSE excluded.urgency END",
    "traceparent": "COALESCE(excluded.traceparent, subjects.traceparent)",
    "partition": "excluded.partition",
}


class StoredLedger:
    """One worker's view of one flow's ledger. `clock` gives seconds since 1970."""

    def __init__(self, store: Store, flow: str, *, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._flow = flow
        self._clock = clock
        self._reached: dict[Partition, tuple[int, str]] = {}
        self._claim = uuid4().hex  # this process's hand: no other has it, not even the same worker started again

    async def ingested(self) -> dict[Partition, tuple[int, str]]:
        """Where the flow stands in each partition: the offset behind, and the id of the last event."""
        async with self._store.read() as connection:
            rows = await connection.execute(
                text('SELECT topic, "partition", next, last FROM ingested WHERE flow = :flow'), {"flow": self._flow}
            )
            return {(topic, partition): (behind, last) for topic, partition, behind, last in rows.fetchall()}

    def note(self, reached: Mapping[Partition, tuple[int, str]]) -> None:
        """Save this with the next ingest, in its transaction."""
        self._reached.update(reached)

    async def ingest(self, events: Sequence[Event], marks: Sequence[Mark], rejects_: Sequence[Reject]) -> None:
        newest: dict[str, Event] = {}
        for event in events:
            if (had := newest.get(event.key)) is None or had.version < event.version:
                newest[event.key] = event
        now = self._clock()
        rows = [
            (e.key, e.entity, e.owner, e.source, e.version, e.data, e.time.timestamp(), e.traceparent)
            for e in newest.values()
        ]
        touched = [
            (self._flow, m.subject, m.partition, State.DIRTY, m.urgency, 1, m.changes, now, 0, m.traceparent)
            for m in marks
        ]
        async with self._store.write() as connection:
            # Sorted, so that two workers never wait for each other's rows.
            await put(
                connection, facts, _FACT, sorted(rows, key=itemgetter(0)), where="facts.version < excluded.version"
            )
            await put(connection, subjects, _MARK, sorted(touched, key=itemgetter(1)), _TOUCH)
            await put(
                connection, rejects, ("flow", "place", "what", "since"),
                [(self._flow, r.place, r.what, now) for r in rejects_], {},
            )  # fmt: skip
            stands = [(self._flow, *partition, *where) for partition, where in self._reached.items()]
            await put(connection, ingested, ("flow", "topic", "partition", "next", "last"), sorted(stands))
        self._reached.clear()

    async def reopen(self, edition: str) -> int:
        async with self._store.write() as connection:
            known = await connection.execute(text("SELECT edition FROM flows WHERE name = :flow"), {"flow": self._flow})
            had = known.scalar_one_or_none()
            if had == edition:
                return 0
            await connection.execute(
                text(
                    "INSERT INTO flows (name, edition) VALUES (:flow, :edition) "
                    "ON CONFLICT (name) DO UPDATE SET edition = excluded.edition"
                ),
                {"flow": self._flow, "edition": edition},
            )
            if had is None:
                return 0
            return await self._dirty(connection, "state IN ('agreed', 'parked')")

    async def take(self, limit: int) -> list[Task]:
        now = self._clock()
        skip = "FOR UPDATE SKIP LOCKED" if not self._store.embedded else ""
        async with self._store.write() as connection:
            found = await connection.execute(
                text(
                    "UPDATE subjects SET state = 'sending', claim = :claim, due = :until, attempts = attempts + 1 "  # noqa: S608
                    "WHERE flow = :flow AND subject IN (SELECT subject FROM subjects WHERE flow = :flow AND state = 'dirty' "
                    "AND (due IS NULL OR due <= :now) AND NOT EXISTS (SELECT 1 FROM flows WHERE name = :flow AND paused) "
                    f"ORDER BY urgency, since LIMIT :limit {skip}) RETURNING {_TASK}"
                ),
                {"flow": self._flow, "claim": self._claim, "until": now + HOLD, "now": now, "limit": limit},
            )
            return [Task(*row) for row in found.fetchall()]

    async def facts(self, subjects: Sequence[str], grouping: Grouping) -> dict[str, list[Fact]]:
        column = "owner" if grouping is Grouping.OWNER else "key"
        found: dict[str, list[Fact]] = {}
        async with self._store.read() as connection:
            rows = await connection.execute(
                text(
                    f"SELECT {column}, entity, key, owner, version, data FROM facts "  # noqa: S608 (our own names)
                    f"WHERE {among(connection, column, 'subjects')} AND data IS NOT NULL"
                ),
                {"subjects": values(connection, subjects)},
            )
            for subject, *fact in rows.fetchall():
                found.setdefault(subject, []).append(Fact(*fact))
        return found

    async def refs(self, subjects: Sequence[str]) -> dict[str, str]:
        if not subjects:
            return {}
        async with self._store.read() as connection:
            condition = among(connection, "subject", "subjects")
            rows = await connection.execute(
                text(f"SELECT subject, ref FROM subjects WHERE flow = :flow AND ref IS NOT NULL AND {condition}"),  # noqa: S608
                {"flow": self._flow, "subjects": values(connection, subjects)},
            )
            return {subject: ref for subject, ref in rows.fetchall()}

    async def intend(self, intents: Sequence[Intent]) -> set[str]:
        async with self._store.write() as connection:
            condition = among(connection, "subject", "subjects")
            rows = await connection.execute(
                text(
                    "SELECT subject FROM subjects WHERE flow = :flow AND state = 'sending' AND claim = :claim "  # noqa: S608
                    f"AND {condition}{'' if self._store.embedded else ' FOR UPDATE'}"
                ),
                {
                    "flow": self._flow,
                    "claim": self._claim,
                    "subjects": values(connection, [i.subject for i in intents]),
                },
            )
            mine = {subject for (subject,) in rows.fetchall()}
            due = self._clock() + HOLD
            await _change(
                connection, {"doubtful": "bytea", "due": "float8"}, self._flow,
                [(i.subject, i.doubtful, due) for i in intents if i.subject in mine],
            )  # fmt: skip
            return mine

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        if not settlements:
            return
        now = self._clock()
        held = [s for s in settlements if s.confirmed]
        other = [s for s in settlements if not s.confirmed]
        async with self._store.write() as connection:
            await self._settle(connection, held, now, confirmed=True)
            await self._settle(connection, other, now, confirmed=False)
            story = [
                (self._flow, s.task.subject, now, s.outcome, s.reason, s.trace)
                for s in settlements
                if s.outcome != "unchanged"
            ]
            await put(connection, attempts, ("flow", "subject", "at", "outcome", "detail", "trace"), story, {})
            if held:
                bound = {"flow": self._flow}
                await connection.execute(
                    text("UPDATE flows SET error = NULL WHERE name = :flow AND error IS NOT NULL"), bound
                )
                await self._wake(connection, [s.task.subject for s in held])

    async def _settle(
        self, connection: AsyncConnection, settled: Sequence[Settlement], now: float, *, confirmed: bool
    ) -> None:
        columns = {
            "seen": "bigint", "state": "text", "changes": "bigint", "due": "float8", "reason": "text",
            "waiting_on": "text", "doubtful": "bytea", "attempts": "bigint",
        }  # fmt: skip
        if confirmed:
            columns |= {"document": "bytea", "digest": "bytea", "ref": "text", "tag": "text", "confirmed": "float8"}
        rows: list[tuple[Any, ...]] = []
        for s in settled:
            over = s.state in (State.AGREED, State.PARKED)
            row = (
                s.task.subject, s.task.seq, s.state, s.task.changes if over else 0, s.due, s.reason, s.waiting_on,
                s.doubtful, 0 if over else s.task.attempts,
            )  # fmt: skip
            rows.append((*row, s.document, s.digest, s.ref, s.tag, now) if confirmed else row)
        await _change(connection, columns, self._flow, rows, claim=self._claim)

    async def _wake(self, connection: AsyncConnection, there: Sequence[str]) -> None:
        condition = among(connection, "waiting_on", "there")
        await connection.execute(
            text(
                "UPDATE subjects SET state = 'dirty', since = :now, due = NULL, waiting_on = NULL, reason = NULL "  # noqa: S608
                f"WHERE flow = :flow AND state = 'waiting' AND {condition}"
            ),
            {"flow": self._flow, "now": self._clock(), "there": values(connection, there)},
        )

    async def reclaim(self) -> int:
        now = self._clock()
        async with self._store.write() as connection:
            # What is in this worker's own hand stays there, and says that it is alive.
            await connection.execute(
                text("UPDATE subjects SET due = :until WHERE flow = :flow AND state = 'sending' AND claim = :claim"),
                {"flow": self._flow, "until": now + HOLD, "claim": self._claim},
            )
            lost = "state = 'sending' AND claim <> :claim"
            # An embedded state has one process: whatever another one had in hand, that one is dead.
            if not self._store.embedded:
                lost += " AND due < :now"
            woken = await self._dirty(connection, f"({lost})", claim=self._claim, now=now)
            return woken + await self._dirty(
                connection,
                "state = 'waiting' AND EXISTS (SELECT 1 FROM subjects AS other WHERE other.flow = subjects.flow "
                "AND other.subject = subjects.waiting_on AND other.ref IS NOT NULL)",
            )

    async def _dirty(self, connection: AsyncConnection, condition: str, **bound: Any) -> int:
        result = await connection.execute(
            text(
                "UPDATE subjects SET state = 'dirty', due = NULL, claim = NULL, waiting_on = NULL, since = :since "  # noqa: S608
                f"WHERE flow = :flow AND {condition}"
            ),
            {"flow": self._flow, "since": self._clock(), **bound},
        )
        return int(result.rowcount)

    async def due(self) -> float | None:
        async with self._store.read() as connection:
            found = await connection.execute(
                text("SELECT min(COALESCE(due, 0)) FROM subjects WHERE flow = :flow AND state = 'dirty'"),
                {"flow": self._flow},
            )
            due: float | None = found.scalar_one()
            return due

    async def trouble(self, error: str | None) -> None:
        """Note why the flow does not get on, None when it does again."""
        async with self._store.write() as connection:
            await connection.execute(
                text("UPDATE flows SET error = :error WHERE name = :flow"), {"error": error, "flow": self._flow}
            )

    async def every(self) -> AsyncIterator[list[Task]]:
        after: str | None = ""
        while after is not None:
            async with self._store.read() as connection:
                found = await connection.execute(
                    text(
                        f"SELECT {_TASK} FROM subjects WHERE flow = :flow AND subject > :after "  # noqa: S608
                        "ORDER BY subject LIMIT 500"
                    ),
                    {"flow": self._flow, "after": after},
                )
                tasks = [Task(*row) for row in found.fetchall()]
            if tasks:
                yield tasks
            after = tasks[-1].subject if tasks else None


# A subject that was touched while it was in hand is dirty again, whatever became of what was in hand.
_AFTER = {
    "state": "CASE WHEN subjects.seq <> new.seen AND new.state <> 'sending' THEN 'dirty' ELSE new.state END",
    "changes": "subjects.changes - new.changes",
}


async def _change(
    connection: AsyncConnection,
    columns: dict[str, str],
    flow: str,
    rows: Sequence[tuple[Any, ...]],
    *,
    claim: str | None = None,
) -> None:
    """Set columns of many subjects at once; `rows` begin with the subject, `claim` changes only what is in that hand."""
    if not rows:
        return
    names = [name for name in columns if name != "seen"]
    mine = "" if claim is None else " AND subjects.claim = :claim AND subjects.state = 'sending'"
    bound: dict[str, Any] = {"flow": flow, "claim": claim} if claim is not None else {"flow": flow}
    if postgres(connection):
        sets = ", ".join(f'"{name}" = {_AFTER.get(name, f"new.{name}")}' for name in names)
        arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in {"subject": "text", **columns}.items())
        statement = (
            f"UPDATE subjects SET {sets} FROM unnest({arrays}) AS new (subject, {', '.join(columns)}) "  # noqa: S608
            f"WHERE subjects.flow = :flow AND subjects.subject = new.subject{mine}"
        )
        bound |= dict(zip(("subject", *columns), map(list, zip(*rows, strict=True)), strict=True))
        await connection.execute(text(statement), bound)
    else:
        sets = ", ".join(f'"{name}" = {_AFTER.get(name, f":{name}").replace("new.", ":")}' for name in names)
        statement = f"UPDATE subjects SET {sets} WHERE flow = :flow AND subject = :subject{mine}"  # noqa: S608
        many = [bound | dict(zip(("subject", *columns), row, strict=True)) for row in rows]
        await connection.execute(text(statement), many)
