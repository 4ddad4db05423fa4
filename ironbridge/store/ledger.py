"""One flow's facts, subjects and confirmations, in the state database (`flows.ledger.Ledger`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.journal import Partition
from canonical import Event
from flows.ledger import HOLD, Arrivals, Intent, Mark, Settlement, Stand, State, Task, doubts
from flows.port import Fact, Grouping
from ironbridge.store import inbox
from ironbridge.store.bulk import among, bind, postgres, put, selected, values
from ironbridge.store.database import Store
from ironbridge.store.history import Names, passed
from ironbridge.store.tables import attempts, facts, ingested, rejects, subjects

_MOST_TRACES = 16_000  # characters; each takes 56
_TASK = "subject, seq, changes, attempts, ref, tag, digest, document, doubtful, observed, traces, claim"
_FACT = ("key", "entity", "owner", "source", "version", "data", "at", "traceparent")
_MARK = (
    "flow", "subject", "partition", "state", "urgency", "seq", "changes", "since", "attempts", "observed", "traces",
)  # fmt: skip
_AGAIN = ("flow", "topic", "partition", "next", "last", "again")
# Neither where a person holds it back, nor while events are read again that a lost state had read.
_GOES = (
    "NOT EXISTS (SELECT 1 FROM flows WHERE name = :flow AND paused) "
    "AND NOT EXISTS (SELECT 1 FROM ingested WHERE ingested.flow = :flow AND again IS NOT NULL)"
)
_NEWER = "facts.version < excluded.version"
_THERE = (
    "state = 'waiting' AND waiting_on IN (SELECT other.subject FROM (SELECT DISTINCT waiting_on FROM subjects "
    "WHERE flow = :flow AND state = 'waiting') AS awaited JOIN subjects AS other ON other.flow = :flow "
    "AND other.subject = awaited.waiting_on WHERE other.ref IS NOT NULL AND other.doubtful IS NULL)"
)
_IN_HAND = "subjects.state IN ('dirty', 'sending')"
# What an event does to a subject that is there: dirty it, wake it if it was parked or waiting, leave it in hand if it is.
_TOUCH = {
    "state": "CASE WHEN subjects.state = 'sending' THEN 'sending' ELSE 'dirty' END",
    "seq": "subjects.seq + 1",
    "changes": "subjects.changes + excluded.changes",
    "since": f"CASE WHEN {_IN_HAND} THEN subjects.since ELSE excluded.since END",
    "due": f"CASE WHEN {_IN_HAND} THEN subjects.due ELSE NULL END",
    "urgency": f"CASE WHEN {_IN_HAND} AND subjects.urgency < excluded.urgency THEN subjects.urgency ELSE excluded.urgency END",
    "observed": "CASE WHEN subjects.state IN ('dirty', 'sending', 'waiting') AND subjects.observed < excluded.observed "
    "THEN subjects.observed ELSE excluded.observed END",
    # Each change that is traced, until the subject is settled; of a subject that waits for ever, so many as fit.
    "traces": f"CASE WHEN excluded.traces IS NULL THEN subjects.traces WHEN subjects.traces IS NULL THEN excluded.traces "
    f"WHEN length(subjects.traces) > {_MOST_TRACES} THEN subjects.traces "
    "ELSE excluded.traces || ' ' || subjects.traces END",
    "partition": "excluded.partition",
}
_MARK_IN_DOUBT = (*_MARK, "doubtful")
# What is in doubt already stays so; `[]` says that nothing is known of what it may be.
_TOUCH_IN_DOUBT = _TOUCH | {
    "doubtful": "CASE WHEN length(subjects.doubtful) > 2 THEN subjects.doubtful ELSE excluded.doubtful END"
}


class StoredLedger:
    """One worker's view of one flow's ledger."""

    def __init__(self, store: Store, flow: str) -> None:
        self._store = store
        self._flow = flow
        self._hand = uuid4().hex  # this process's hand: no other has it, not even the same worker started again
        self._names = Names()
        self._takes = 0
        self._troubled = True  # for all that this process knows

    def now(self) -> float:
        return self._store.clock()

    async def ingested(self) -> dict[Partition, Stand]:
        """Where the flow stands in each partition."""
        async with self._store.read() as connection:
            return await inbox.stands(connection, self._flow)

    async def forgotten(self, until: Mapping[Partition, int]) -> None:
        """A state that is lost had read these partitions so far: nothing is taken until all of that has been read again."""
        async with self._store.write() as connection:
            await self._hold(connection, until)

    async def hidden(self, hidden: Mapping[Partition, int]) -> None:
        """In these partitions a transaction that does not end hides so many records; 0: none any more."""
        async with self._store.write() as connection:
            await inbox.hide(connection, self._flow, hidden, self._store.clock())

    async def _hold(self, connection: AsyncConnection, until: Mapping[Partition, int]) -> None:
        rows = [(self._flow, *partition, 0, "", again) for partition, again in sorted(until.items())]
        await put(connection, ingested, _AGAIN, rows, {"again": "excluded.again"})

    async def begin(self) -> None:
        hand, self._hand = self._hand, uuid4().hex
        async with self._store.write() as connection:
            await self._dirty(connection, "state = 'sending' AND claim LIKE :hand", hand=f"{hand}.%")

    async def ingest(self, arrivals: Arrivals, marks: Sequence[Mark]) -> None:
        newest: dict[str, Event] = {}
        for event, _ in arrivals.events:
            if (had := newest.get(event.key)) is None or had.version < event.version:
                newest[event.key] = event
        now = self.now()
        rows = [
            (e.key, e.entity, e.owner, e.source, e.version, e.data, e.time.timestamp(), e.traceparent)
            for e in newest.values()
        ]
        sure = all(mark.doubtful is None for mark in marks)
        touched = [
            (self._flow, m.subject, m.partition, State.DIRTY, m.urgency, 1, m.changes, now, 0, m.observed, m.traces)
            + (() if sure else (m.doubtful,))
            for m in marks
        ]
        foreign = [(self._flow, r.place, r.what, now) for r in arrivals.rejects]
        async with self._store.write() as connection:
            # Sorted, here and everywhere, so that two workers never wait for each other's rows.
            await put(connection, facts, _FACT, sorted(rows, key=itemgetter(0)), where=_NEWER)
            await passed(connection, (event for event, _ in arrivals.events), newest)
            await self._names.keep(connection, newest.values())
            # After a lost state only is anything in doubt from the start: else no column is spent on it.
            columns, touch = (_MARK, _TOUCH) if sure else (_MARK_IN_DOUBT, _TOUCH_IN_DOUBT)
            await put(connection, subjects, columns, sorted(touched, key=itemgetter(1)), touch)
            await put(connection, rejects, ("flow", "place", "what", "since"), sorted(foreign), {})
            await inbox.reached(connection, self._flow, arrivals)
            await self._hold(connection, arrivals.until)
            if arrivals.there:
                await connection.execute(
                    text(
                        "UPDATE ingested SET again = NULL "
                        'WHERE flow = :flow AND topic = :topic AND "partition" = :number AND again IS NOT NULL'
                    ),
                    [{"flow": self._flow, "topic": topic, "number": number} for topic, number in sorted(arrivals.there)],
                )
        self._names.kept()

    async def reopen(self, edition: str) -> int:
        async with self._store.write() as connection:
            # One statement, so that of several workers that start together only one opens it.
            changed = await connection.execute(
                text(
                    "INSERT INTO flows (name, edition) VALUES (:flow, :edition) ON CONFLICT (name) "
                    "DO UPDATE SET edition = excluded.edition WHERE COALESCE(flows.edition, '') <> excluded.edition "
                    "RETURNING name"
                ),
                {"flow": self._flow, "edition": edition},
            )
            if changed.first() is None:
                return 0
            # What is in hand is being looked at as the old edition sees it: it will be dirty when it is settled.
            sending = self._found("state = 'sending'")
            await connection.execute(
                text(f"UPDATE subjects SET seq = seq + 1 WHERE flow = :flow AND {sending}"),  # noqa: S608
                {"flow": self._flow},
            )
            return await self._dirty(connection, "state IN ('agreed', 'parked', 'waiting')")

    async def take(self, limit: int) -> list[Task]:
        self._takes += 1
        # MATERIALIZED: else PostgreSQL may run the inner query more than once, and take more than the limit.
        once, skip = ("", "") if self._store.embedded else ("MATERIALIZED", "FOR UPDATE SKIP LOCKED")
        async with self._store.write() as connection:
            now = self.now()
            if not self._store.embedded:
                # Of a table that grew just now PostgreSQL thinks that it is small, and would sort a whole backlog.
                await connection.execute(text("SET LOCAL enable_bitmapscan = off"))
            found = await connection.execute(
                text(
                    f"WITH next AS {once} (SELECT subject FROM subjects WHERE flow = :flow AND state = 'dirty' "  # noqa: S608
                    f"AND (due IS NULL OR due <= :now) AND {_GOES} "
                    f"ORDER BY urgency, since LIMIT :limit {skip}) "
                    "UPDATE subjects SET state = 'sending', claim = :claim, due = :until, attempts = attempts + 1 "
                    f"WHERE flow = :flow AND subject IN (SELECT subject FROM next) RETURNING {_TASK}, urgency, since"
                ),
                {
                    "flow": self._flow, "claim": f"{self._hand}.{self._takes}", "until": now + HOLD, "now": now,
                    "limit": limit,
                },
            )  # fmt: skip
            return [Task(*row[:-2]) for row in sorted(found.fetchall(), key=lambda row: tuple(row[-2:]))]

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
            return {subject: ref for subject, ref in rows.fetchall()}  # noqa: C416 (rows are no pairs to mypy)

    async def intend(self, intents: Sequence[Intent]) -> set[str]:
        async with self._store.write() as connection:
            stands = await self._locked(connection, [i.task.subject for i in intents])
            mine = [i for i in intents if _in_hand(i.task, stands)]
            due = self.now() + HOLD
            rows = [(i.task.subject, i.doubtful, due) for i in mine]
            await _change(connection, {"doubtful": "bytea", "due": "float8"}, self._flow, rows)
            if mine:
                await self._sends(connection)
            return {i.task.subject for i in mine}

    async def _sends(self, connection: AsyncConnection) -> None:
        """One send more of this hand: see ironbridge/store/trail.py."""

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        if not settlements:
            return
        others = {s.waiting_on for s in settlements if s.waiting_on is not None}
        async with self._store.write() as connection:
            now = self.now()
            stands = await self._locked(connection, {*others, *(s.task.subject for s in settlements)})
            kept = [_judged(s, stands) for s in settlements if _in_hand(s.task, stands)]
            held = [s for s in kept if s.confirmed]
            await self._settle(connection, held, now, confirmed=True)
            await self._settle(connection, [s for s in kept if not s.confirmed], now, confirmed=False)
            await self._doubt(connection, settlements, stands, now)
            told = [s for s in settlements if s.outcome != "unchanged"]
            story = [(self._flow, s.task.subject, now, _word(s, stands), _detail(s), s.trace) for s in told]
            await put(connection, attempts, ("flow", "subject", "at", "outcome", "detail", "trace"), story, {})
            if held:
                await self._well(connection)
                await self._wake(connection, [s.task.subject for s in held])

    async def _locked(self, connection: AsyncConnection, wanted: Collection[str]) -> dict[str, _Stand]:
        """How these subjects stand, theirs rows locked in the order in which everybody locks."""
        among_these = among(connection, "subject", "subjects")
        order = "" if self._store.embedded else ' ORDER BY subject COLLATE "C" FOR UPDATE'
        rows = await connection.execute(
            text(
                "SELECT subject, state, claim, ref, doubtful FROM subjects "  # noqa: S608 (our own names)
                f"WHERE flow = :flow AND {among_these}{order}"
            ),
            {"flow": self._flow, "subjects": values(connection, list(wanted))},
        )
        return {subject: _Stand(*stand) for subject, *stand in rows.fetchall()}

    async def _doubt(
        self, connection: AsyncConnection, settled: Sequence[Settlement], stands: Mapping[str, _Stand], now: float
    ) -> None:
        """Put in doubt what was sent by a hand that had lost it, and those that the target says it does not know."""
        rows: dict[str, tuple[bytes, float | None]] = {}
        for s in settled:
            stand, other = stands.get(s.task.subject), stands.get(s.waiting_on or "")
            if s.sent is not None and stand is not None and not _in_hand(s.task, stands):
                # Not at once: whoever has it in hand now is perhaps just sending, too.
                rows[s.task.subject] = (doubts(stand.doubtful, s.sent), now + HOLD)
            if s.denied is not None and other is not None and other.ref == s.denied and other.state != State.SENDING:
                rows[s.waiting_on or ""] = (doubts(other.doubtful, b"[]"), None)
        for subject, (doubtful, due) in sorted(rows.items()):
            await connection.execute(
                text(
                    "UPDATE subjects SET state = 'dirty', claim = NULL, seq = seq + 1, doubtful = :doubtful, due = :due, "
                    "since = :now WHERE flow = :flow AND subject = :subject"
                ),
                {"flow": self._flow, "subject": subject, "doubtful": doubtful, "due": due, "now": now},
            )

    async def _settle(
        self, connection: AsyncConnection, settled: Sequence[Settlement], now: float, *, confirmed: bool
    ) -> None:
        columns = {
            "seen": "bigint", "state": "text", "changes": "bigint", "due": "float8", "reason": "text",
            "waiting_on": "text", "doubtful": "bytea", "attempts": "bigint", "since": "float8",
            "observed": "float8", "traces": "bigint",
        }  # fmt: skip
        if confirmed:
            columns |= {"document": "bytea", "digest": "bytea", "ref": "text", "tag": "text", "confirmed": "float8"}
        rows: list[tuple[Any, ...]] = []
        for s in settled:
            over = s.state in (State.AGREED, State.PARKED)
            row = (
                s.task.subject, s.task.seq, s.state, s.task.changes if over else 0,
                None if s.after is None else now + s.after, s.reason, s.waiting_on,
                s.doubtful, 0 if over else s.task.attempts, now, now,
                len(s.task.traces) + 1 if over and s.task.traces else 0,
            )  # fmt: skip
            rows.append((*row, s.document, s.digest, s.ref, s.tag, now) if confirmed else row)
        await _change(connection, columns, self._flow, rows)

    async def _wake(self, connection: AsyncConnection, there: Sequence[str]) -> None:
        condition = among(connection, "waiting_on", "there")
        await self._dirty(
            connection, f"state = 'waiting' AND {condition}", skip_locked=True, there=values(connection, there)
        )

    async def reclaim(self) -> int:
        mine = f"{self._hand}.%"
        async with self._store.write() as connection:
            now = self.now()
            # What is in this worker's own hand stays there, and says that it is alive.
            alive = self._found("state = 'sending' AND claim LIKE :hand", skip_locked=True)
            await connection.execute(
                text(f"UPDATE subjects SET due = :until WHERE flow = :flow AND {alive}"),  # noqa: S608
                {"flow": self._flow, "until": now + HOLD, "hand": mine},
            )
            # An embedded state has one process: whatever another one had in hand, that one is dead.
            lost = "state = 'sending' AND claim NOT LIKE :hand"
            lost += "" if self._store.embedded else " AND due < :now"
            woken = await self._dirty(connection, lost, skip_locked=True, hand=mine, now=now)
            return woken + await self._dirty(connection, _THERE, skip_locked=True)

    async def _dirty(
        self, connection: AsyncConnection, condition: str, *, skip_locked: bool = False, **bound: Any
    ) -> int:
        """Make dirty what meets a condition; how many there were."""
        found = self._found(condition, skip_locked=skip_locked)
        result = await connection.execute(
            text(
                "UPDATE subjects SET state = 'dirty', claim = NULL, waiting_on = NULL, reason = NULL, since = :since, "  # noqa: S608
                # One that wakes and waits again and again is asking a target that does not know what it confirmed.
                f"due = CASE WHEN state = 'waiting' AND attempts > 5 THEN CAST(:since AS float8) + {HOLD} END "
                f"WHERE flow = :flow AND {found}"
            ),
            {"flow": self._flow, "since": self.now(), **bound},
        )
        return int(result.rowcount)

    def _found(self, condition: str, *, skip_locked: bool = False) -> str:
        """
        Subjects that meet a condition, their rows locked in the order in which everybody locks. `skip_locked`: a row that
        is just being changed need not be; whoever changes a waiting or a lost subject makes it dirty, too.
        """
        once, lock = "", ""
        if not self._store.embedded:
            once = "MATERIALIZED"
            lock = f' ORDER BY subject COLLATE "C" FOR UPDATE{" SKIP LOCKED" if skip_locked else ""}'
        return (
            f"subject IN (WITH found AS {once} (SELECT subject FROM subjects "  # noqa: S608 (our own words)
            f"WHERE flow = :flow AND {condition}{lock}) SELECT subject FROM found)"
        )

    async def due(self) -> float | None:
        async with self._store.read() as connection:
            found = await connection.execute(
                text(
                    f"SELECT min(COALESCE(due, 0)) FROM subjects WHERE flow = :flow AND state = 'dirty' AND {_GOES}"  # noqa: S608
                ),
                {"flow": self._flow},
            )
            due: float | None = found.scalar_one()
            return None if due is None else max(due - self.now(), 0.0)

    async def _well(self, connection: AsyncConnection) -> None:
        if self._troubled:
            bound = {"flow": self._flow}
            await connection.execute(text("UPDATE flows SET error = NULL WHERE name = :flow"), bound)
            self._troubled = False

    async def trouble(self, error: str | None) -> None:
        """Note why the flow does not get on, None when it does again."""
        self._troubled = True
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


class _Stand(NamedTuple):
    """How a subject stands in the database, now that its row is locked."""

    state: str
    claim: str | None
    ref: str | None
    doubtful: bytes | None


def _in_hand(task: Task, stands: Mapping[str, _Stand]) -> bool:
    stand = stands.get(task.subject)
    return stand is not None and stand.state == State.SENDING and stand.claim == task.claim


def _judged(settlement: Settlement, stands: Mapping[str, _Stand]) -> Settlement:
    """One that waits for what has come meanwhile goes on at once."""
    other = stands.get(settlement.waiting_on or "")
    if settlement.state is State.WAITING and other is not None and other.ref not in (None, settlement.denied):
        return replace(settlement, state=State.DIRTY, waiting_on=None)
    return settlement


def _detail(settlement: Settlement) -> str | None:
    """What a person is told of an outcome besides its word."""
    held = settlement.confirmed and settlement.ref is not None
    return f"held as {settlement.ref}" if held else settlement.reason


def _word(settlement: Settlement, stands: Mapping[str, _Stand]) -> str:
    return settlement.outcome if _in_hand(settlement.task, stands) else f"{settlement.outcome}, too late"


# A subject that was touched while it was in hand is dirty again, whatever became of what was in hand.
_AFTER = {
    "state": "CASE WHEN subjects.seq <> new.seen AND new.state <> 'sending' THEN 'dirty' ELSE new.state END",
    "changes": "subjects.changes - new.changes",
    # What was confirmed waits no more: what came since has waited from now on.
    "since": "CASE WHEN new.state = 'agreed' THEN new.since ELSE subjects.since END",
    "observed": "CASE WHEN new.state = 'agreed' THEN new.observed ELSE subjects.observed END",
    # Those that it is settled with stand at the end: so many characters go.
    "traces": "CASE WHEN length(subjects.traces) > new.traces "
    "THEN substr(subjects.traces, 1, CAST(length(subjects.traces) - new.traces AS integer)) END",
}


async def _change(
    connection: AsyncConnection,
    columns: dict[str, str],
    flow: str,
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Set columns of many subjects at once; `rows` begin with the subject. Their rows are locked already."""
    if not rows:
        return
    names = [name for name in columns if name != "seen"]
    if postgres(connection):
        sets = ", ".join(f'"{name}" = {_AFTER.get(name, f"new.{name}")}' for name in names)
        alike, bound = bind(rows)
        statement = (
            f"UPDATE subjects SET {sets} FROM ({selected((('subject', 'text'), *columns.items()), alike)}) AS new "  # noqa: S608
            f"WHERE subjects.flow = :flow AND subjects.subject = new.subject"
        )
        await connection.execute(text(statement), bound | {"flow": flow})
    else:
        sets = ", ".join(f'"{name}" = {_AFTER.get(name, f":{name}").replace("new.", ":")}' for name in names)
        statement = f"UPDATE subjects SET {sets} WHERE flow = :flow AND subject = :subject"  # noqa: S608
        many = [{"flow": flow} | dict(zip(("subject", *columns), row, strict=True)) for row in rows]
        await connection.execute(text(statement), many)
