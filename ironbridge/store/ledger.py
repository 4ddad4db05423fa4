"""One flow's facts, subjects and confirmations, in the state database (`flows.engine.ledger.Ledger`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any
from uuid import uuid4

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.journal import Partition
from canonical import Event
from flows.engine.ledger import (
    HOLD,
    Arrivals,
    Edition,
    Intent,
    Mark,
    NamedDocument,
    Settlement,
    Stand,
    State,
    Task,
    doubts,
)
from flows.engine.settle import left
from flows.port import Fact, Grouping
from ironbridge.store import editions, inbox, names
from ironbridge.store.bulk import among, put, values
from ironbridge.store.causes import cause_of
from ironbridge.store.database import Store
from ironbridge.store.history import Names, passed
from ironbridge.store.statement import text
from ironbridge.store.subjects import (
    MARK,
    MARK_IN_DOUBT,
    TOUCH,
    TOUCH_IN_DOUBT,
    changed,
    detail,
    dirtied,
    found,
    freed,
    holders,
    in_hand,
    keys_of,
    locked,
    parted,
    settled,
    word,
)
from ironbridge.store.subjects import SubjectRow as Row
from ironbridge.store.tables import attempts, facts, ingested, rejects, subjects

_FARTHEST = 7200.0
"""Nothing is ever held back for more seconds than this: a longer one was stored before the clock was set back."""

_TASK = "subject, seq, changes, attempts, ref, tag, digest, document, doubtful, observed, traces, claim"
_FIELDS = _TASK.count(",") + 1
_FACT = ("key", "entity", "owner", "source", "version", "data", "at", "traceparent")
_AGAIN = ("flow", "topic", "partition", "next", "last", "again")
# Nothing is taken while events are read again that a lost state had read.
_READ = "NOT EXISTS (SELECT 1 FROM ingested WHERE ingested.flow = :flow AND again IS NOT NULL)"
_GOES = f"NOT EXISTS (SELECT 1 FROM flows WHERE name = :flow AND paused) AND {_READ}"  # noqa: S608 (our own words)
_NEWER = "facts.version < excluded.version"
_THERE = (
    "state = 'waiting' AND waiting_on IN (SELECT other.subject FROM (SELECT DISTINCT waiting_on FROM subjects "
    "WHERE flow = :flow AND state = 'waiting') AS awaited JOIN subjects AS other ON other.flow = :flow "
    "AND other.subject = awaited.waiting_on WHERE other.ref IS NOT NULL AND other.doubtful IS NULL)"
)


class StoredLedger:
    """One worker's view of one flow's ledger."""

    def __init__(self, store: Store, flow: str) -> None:
        self._store = store
        self._flow = flow
        self._hand = uuid4().hex  # this process's hand: no other has it, not even the same worker started again
        self._names = Names()
        self._takes = 0
        self._astray = False  # whether something is held back for longer than is possible
        self._troubled = True  # for all that this process knows

    def now(self) -> float:
        return self._store.clock()

    async def ingested(self) -> dict[Partition, Stand]:
        """Tell where the flow stands in each partition."""
        async with self._store.read() as connection:
            return await inbox.stands(connection, self._flow)

    async def forgotten(self, until: Mapping[Partition, int]) -> None:
        """A state that is lost had read these partitions so far: nothing is taken until all of that has been read again."""
        async with self._store.write() as connection:
            await self._hold(connection, until)

    async def hidden(self, hidden: Mapping[Partition, int]) -> None:
        """Note how many records an unfinished transaction hides in these partitions; 0: none any more."""
        async with self._store.write() as connection:
            await inbox.hide(connection, self._flow, hidden, self._store.clock())

    async def _hold(self, connection: AsyncConnection, until: Mapping[Partition, int]) -> None:
        rows = [(self._flow, *partition, 0, "", again) for partition, again in sorted(until.items())]
        # A worker that looks back at the trail and one that reads the topics may both report a place: the further one is kept.
        further = "CASE WHEN ingested.again > excluded.again THEN ingested.again ELSE excluded.again END"
        await put(connection, ingested, _AGAIN, rows, {"again": further})

    async def begin(self) -> None:
        hand, self._hand = self._hand, uuid4().hex
        async with self._store.write() as connection:
            await dirtied(connection, self._flow, "state = 'sending' AND claim LIKE :hand", hand=f"{hand}.%")

    async def ingest(self, arrivals: Arrivals, marks: Sequence[Mark]) -> None:
        newest: dict[str, Event] = {}
        for event, _ in arrivals.events:
            if (had := newest.get(event.key)) is None or had.version < event.version:
                newest[event.key] = event
        rows = [
            (e.key, e.entity, e.owner, e.source, e.version, e.data, e.time.timestamp(), e.traceparent)
            for e in newest.values()
        ]
        async with self._store.write() as connection:
            now = self.now()
            foreign = [(self._flow, r.place, r.what, now, cause_of("rejected", r.place, r.what)) for r in arrivals.rejects]
            # Sorted, here and everywhere, so that two workers never wait for each other's rows.
            await put(connection, facts, _FACT, sorted(rows, key=itemgetter(0)), where=_NEWER)
            await passed(connection, (event for event, _ in arrivals.events), newest)
            await self._names.keep(connection, newest.values())
            await self._touch(connection, marks, now)
            await put(connection, rejects, ("flow", "place", "what", "since", "cause"), sorted(foreign), {})
            await inbox.reached(connection, self._flow, arrivals)
            await self._hold(connection, arrivals.until)
            if arrivals.there:
                await connection.execute(
                    text(
                        "UPDATE ingested SET again = NULL "
                        'WHERE flow = :flow AND topic = :topic AND "partition" = :number AND again <= :until'
                    ),
                    [
                        {"flow": self._flow, "topic": topic, "number": number, "until": until}
                        for (topic, number), until in sorted(arrivals.there.items())
                    ],
                )
        self._names.kept()

    async def _touch(self, connection: AsyncConnection, marks: Sequence[Mark], now: float) -> None:
        # Only after a lost state is anything in doubt from the start; otherwise no column is spent on it. The time of the last
        # send is not known then: it may have been just now.
        sure = all(mark.doubtful is None for mark in marks)
        columns, touch = (MARK, TOUCH) if sure else (MARK_IN_DOUBT, TOUCH_IN_DOUBT)
        rows = [
            (self._flow, m.subject, m.partition, State.DIRTY, m.urgency, 1, m.changes, now, 0, m.observed, m.traces)
            + (() if sure else (m.doubtful, None if m.doubtful is None else now))
            for m in marks
        ]
        await put(connection, subjects, columns, sorted(rows, key=itemgetter(1)), touch)

    async def reopen(self, edition: str, had: Edition | None = None) -> Edition | None:
        return await editions.reopen(self._store, self._flow, edition, had)

    async def relook(self, edition: Edition) -> bool:
        return await editions.relook(self._store, self._flow, edition)

    async def turn(self) -> bool:
        return await editions.turn(self._store, self._flow)

    async def take(self, limit: int, edition: Edition) -> list[Task]:
        self._takes += 1
        # MATERIALIZED: else PostgreSQL may run the inner query more than once, and take more than the limit.
        once, skip = ("", "") if self._store.embedded else ("MATERIALIZED", "FOR UPDATE SKIP LOCKED")
        async with self._store.write() as connection:
            now = self.now()
            if not self._store.embedded:
                # Of a table that grew just now PostgreSQL thinks that it is small, and would sort a whole backlog.
                await connection.execute(text("SET LOCAL enable_bitmapscan = off"))
            taken = await connection.execute(
                text(
                    f"WITH next AS {once} (SELECT subject FROM subjects WHERE flow = :flow AND state = 'dirty' "  # noqa: S608
                    f"AND (due IS NULL OR due <= :now) AND {editions.OPEN} AND {_READ} "
                    f"ORDER BY urgency, since LIMIT :limit {skip}) "
                    "UPDATE subjects SET state = 'sending', claim = :claim, due = :until, attempts = attempts + 1, "
                    # A moment from before the clock was set back would be waited for once more.
                    "sent = CASE WHEN sent > :now THEN :now ELSE sent END "
                    "WHERE flow = :flow AND subject IN (SELECT subject FROM next) "
                    f"RETURNING {_TASK}, sent, reason, urgency, since"
                ),
                {
                    "flow": self._flow, "claim": f"{self._hand}.{self._takes}", "until": now + HOLD, "now": now,
                    "limit": limit, "edition": edition.name, "number": edition.number,
                },
            )  # fmt: skip
            rows = sorted(taken.fetchall(), key=lambda row: tuple(row[-2:]))
            return [_task(row, edition.number, now) for row in rows]

    async def facts(self, subjects: Sequence[str], grouping: Grouping) -> dict[str, list[Fact]]:
        column = grouping.value
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

    async def keys(self, subjects: Sequence[str], grouping: Grouping) -> dict[str, list[tuple[str, str]]]:
        async with self._store.read() as connection:
            return await keys_of(connection, subjects, grouping)

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

    async def holders(self, refs: Collection[str]) -> list[tuple[str, str, bytes]]:
        async with self._store.read() as connection:
            return await holders(connection, self._flow, refs)

    async def name(self, named: Sequence[NamedDocument]) -> dict[str, str]:
        return await names.claim(self._store, self._flow, named)

    async def rename(self, named: Sequence[NamedDocument]) -> None:
        await names.give_over(self._store, self._flow, named)

    async def awaiting(self, subjects: Collection[str]) -> set[str]:
        return await names.awaiting(self._store, self._flow, subjects)

    async def intend(self, intents: Sequence[Intent]) -> set[str]:
        async with self._store.write() as connection:
            stands = await locked(connection, self._flow, [i.task.subject for i in intents])
            opened, now = await editions.open_number(connection, self._flow), self.now()
            mine = [i for i in intents if i.task.edition == opened and in_hand(i.task, stands)]
            rows = [(i.task.subject, i.doubtful, now + HOLD, now) for i in mine]
            await changed(connection, {"doubtful": "bytea", "due": "float8", "sent": "float8"}, self._flow, rows)
            if mine:
                await self._sends(connection)
            return {i.task.subject for i in mine}

    async def _sends(self, connection: AsyncConnection) -> None:
        """Count one more send of this hand: see ironbridge/store/trail.py."""

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        if not settlements:
            return
        free = left(settlements)
        others = {*free, *(s.waiting_on for s in settlements if s.waiting_on is not None)}
        async with self._store.write() as connection:
            stands, now = await locked(connection, self._flow, {*others, *(s.task.subject for s in settlements)}), self.now()
            kept = [_judged(s, stands) for s in settlements if in_hand(s.task, stands)]
            held = [s for s in kept if s.confirmed]
            await settled(connection, self._flow, held, confirmed=True)
            await settled(connection, self._flow, [s for s in kept if not s.confirmed], confirmed=False)
            await self._doubt(connection, settlements, stands, now)
            told = [s for s in settlements if s.outcome != "unchanged"]
            story = [(self._flow, s.task.subject, now, word(s, stands), detail(s), s.trace) for s in told]
            await put(connection, attempts, ("flow", "subject", "at", "outcome", "detail", "trace"), story, {})
            if held:
                await self._well(connection)
                await self._wake(connection, [s.task.subject for s in held])
                await freed(connection, self._flow, free)

    async def _doubt(
        self, connection: AsyncConnection, settlements: Sequence[Settlement], stands: Mapping[str, Row], now: float
    ) -> None:
        """Put in doubt what was sent by a hand that had lost it, and those that the target says it does not know."""
        rows: dict[str, tuple[bytes, float | None, float | None]] = {}
        for s in settlements:
            stand, other = stands.get(s.task.subject), stands.get(s.waiting_on or "")
            if s.sent is not None and stand is not None and not stand.held_by(s.task):
                # Not at once: whoever has it in hand now is perhaps just sending, too.
                rows[s.task.subject] = (doubts(stand.doubtful, s.sent), now + HOLD, now)
            if s.denied is not None and other is not None and other.ref == s.denied and other.state != State.SENDING:
                rows[s.waiting_on or ""] = (doubts(other.doubtful, b"[]"), None, None)
        for subject, (doubtful, due, sent) in sorted(rows.items()):
            await connection.execute(
                text(
                    "UPDATE subjects SET state = 'dirty', claim = NULL, seq = seq + 1, doubtful = :doubtful, due = :due, "
                    "sent = COALESCE(:sent, sent), since = :now WHERE flow = :flow AND subject = :subject"
                ),
                {
                    "flow": self._flow, "subject": subject, "doubtful": doubtful, "due": due, "sent": sent, "now": now,
                },
            )  # fmt: skip

    async def _wake(self, connection: AsyncConnection, there: Sequence[str]) -> None:
        condition = f"state = 'waiting' AND {among(connection, 'waiting_on', 'there')}"
        await dirtied(connection, self._flow, condition, skip_locked=True, there=values(connection, there))

    async def keep(self, number: int | None, claims: Collection[str]) -> set[tuple[str, str | None]]:
        async with self._store.write() as connection:
            # Wait for a row that somebody has locked: if it were passed over, it would be lost without our knowing.
            mine = found(connection, f"state = 'sending' AND {among(connection, 'claim', 'claims')}")
            held = await connection.execute(
                text(f"UPDATE subjects SET due = :until WHERE flow = :flow AND {mine} RETURNING subject, claim"),  # noqa: S608
                {"flow": self._flow, "until": self.now() + HOLD, "claims": values(connection, sorted(claims))},
            )
            kept: set[tuple[str, str | None]] = {(subject, claim) for subject, claim in held.fetchall()}
            if number is not None:
                await editions.alive(connection, self._flow, number)
            return kept

    async def lifted(self) -> float | None:
        async with self._store.read() as connection:
            row = await connection.execute(text("SELECT lifted FROM flows WHERE name = :flow"), {"flow": self._flow})
            at: float | None = row.scalar_one_or_none()
            return None if at is None else max(self.now() - at, 0.0)

    async def reclaim(self, claims: Collection[str] = ()) -> int:
        async with self._store.write() as connection:
            now = self.now()
            lost = f"state = 'sending' AND due < :now AND NOT {among(connection, 'claim', 'claims')}"
            bound = {"now": now, "claims": values(connection, sorted(claims))}
            if self._store.embedded:  # it has one process: whatever another one had in hand, that one is dead
                lost = lost.replace("due < :now", "(due < :now OR claim NOT LIKE :hand)")
                bound["hand"] = f"{self._hand}.%"
            woken = await dirtied(connection, self._flow, lost, skip_locked=True, **bound)
            woken += await dirtied(connection, self._flow, _THERE, skip_locked=True) + await parted(connection, self._flow)
            return woken + await self._set_right(connection, now)

    async def _set_right(self, connection: AsyncConnection, now: float) -> int:
        """After the database's clock was set back: correct all holds and delays that are longer than possible."""
        far = found(connection, "state = 'sending' AND due > :far", skip_locked=True)
        await connection.execute(
            text(f"UPDATE subjects SET due = :until WHERE flow = :flow AND {far}"),  # noqa: S608
            {"flow": self._flow, "until": now + HOLD, "far": now + 2 * HOLD},
        )
        if not self._astray:
            return 0
        self._astray = False
        condition = "state = 'dirty' AND due > :farthest"
        return await dirtied(connection, self._flow, condition, skip_locked=True, farthest=now + _FARTHEST)

    async def due(self) -> float | None:
        async with self._store.read() as connection:
            dues = await connection.execute(
                text(
                    f"SELECT min(COALESCE(due, 0)), max(due) FROM subjects WHERE flow = :flow AND state = 'dirty' AND {_GOES}"  # noqa: S608
                ),
                {"flow": self._flow},
            )
            first, last = dues.one()
            self._astray = last is not None and last > self.now() + _FARTHEST
            return None if first is None else max(first - self.now(), 0.0)

    async def _well(self, connection: AsyncConnection) -> None:
        if self._troubled:
            await connection.execute(text("UPDATE flows SET error = NULL WHERE name = :flow"), {"flow": self._flow})
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
                rows = await connection.execute(
                    text(
                        f"SELECT {_TASK} FROM subjects WHERE flow = :flow AND subject > :after "  # noqa: S608
                        "ORDER BY subject LIMIT 500"
                    ),
                    {"flow": self._flow, "after": after},
                )
                tasks = [Task(*row) for row in rows.fetchall()]
            if tasks:
                yield tasks
            after = tasks[-1].subject if tasks else None


def _task(row: Any, edition: int, now: float) -> Task:
    """A row of `_TASK` and `sent`, with the columns that stand behind them."""
    sent_ago = None if row.sent is None else now - row.sent
    fields: list[Any] = [*row[:_FIELDS], edition, sent_ago, None, row.urgency, row.reason]
    return Task(*fields)


def _judged(settlement: Settlement, stands: Mapping[str, Row]) -> Settlement:
    """Make a subject dirty at once if the target holds by now what the subject would wait for."""
    other = stands.get(settlement.waiting_on or "")
    if settlement.state is State.WAITING and other is not None and other.ref not in (None, settlement.denied):
        return settlement._replace(state=State.DIRTY, waiting_on=None)
    return settlement
