"""These queries tell how the streams and flows stand, and what does not get on by itself, as the tables have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.journal import INCOMPLETE
from flows.engine.ledger import HOLD
from ironbridge.store.causes import LACKS, STATE_OF_PROBLEM
from ironbridge.store.database import Store, now
from ironbridge.store.rows import rows
from ironbridge.store.statement import text


@dataclass(frozen=True, slots=True)
class StreamStanding:
    """
    This row says how one stream stands. A stream that no adapter has opened yet stands at the defaults.

    `sweep` counts its readings, begun ones included; `read` counts the records of the newest one so far. The guard holds
    `held` changes back. `events` were published since ever, `records` live now, `quarantined` ones cannot be mapped,
    `incomplete` ones are published without some of their fields.
    `seconds_since_read` is None before the first reading has ended; `reading`: one has begun and not ended.
    """

    adapter: str
    stream: str
    sweep: int = 0
    read: int = 0
    held: int = 0
    error: str | None = None
    paused: bool = False
    events: int = 0
    records: int = 0
    quarantined: int = 0
    incomplete: int = 0
    seconds_since_read: float | None = None
    reading: bool = False

    @property
    def name(self) -> str:
        """Its name for people: `adapter.stream`."""
        return f"{self.adapter}.{self.stream}"


@dataclass(frozen=True, slots=True)
class FlowBrief:
    """
    This row says how one flow stands, as far as that can be asked often. A flow that no worker has opened yet stands at
    the defaults.

    `todo` counts the subjects to do, the ones in hand included. `seconds_waiting` is for how long the oldest of them has
    waited, None if there is none. `seconds_silent` is for how much longer the target wants silence, None if it wants none.
    `reopening`: the flow looks at all its subjects again. `rereading`: it reads again what a lost state had read. `standby`:
    a worker of another release stands by.
    """

    flow: str
    paused: bool = False
    error: str | None = None
    todo: int = 0
    reopening: bool = False
    standby: bool = False
    rereading: bool = False
    seconds_waiting: float | None = None
    seconds_silent: float | None = None


@dataclass(frozen=True, slots=True)
class FlowStanding(FlowBrief):
    """
    This row says how one flow stands, with its subjects counted by state: a field for each `State`. `holds` counts the
    subjects of which the target holds a document, `rejected` the records on the flow's topics that are no events.
    """

    holds: int = 0
    rejected: int = 0
    dirty: int = 0
    sending: int = 0
    agreed: int = 0
    waiting: int = 0
    parked: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class SubjectCount:
    """This row counts how many subjects of a flow are in a state, and of how many of them the target holds a document."""

    flow: str
    state: str
    subjects: int
    holds: int


@dataclass(frozen=True, slots=True)
class HiddenEvents:
    """
    This row counts how many records of a partition an open transaction hides from a flow, markers of transactions
    included, and since when (seconds since 1970).
    """

    flow: str
    topic: str
    partition: int
    hidden: int
    hidden_since: float


@dataclass(frozen=True, slots=True)
class Unwritten:
    """A subject that is still to be written: after how many attempts, and for how many seconds it has waited."""

    flow: str
    subject: str
    attempts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StuckRecord:
    """
    A record that does not get on by itself. `part` is the flow or the `adapter.stream`, `since` is seconds since 1970, and
    `cause` the number of the reason (see causes.py), None where an older release wrote the reason.
    """

    part: str
    key: str
    state: str
    reason: str | None
    since: float
    cause: str | None = None


_ROUNDED = "round(({}) * 10) / 10"  # seconds, to a tenth


async def streams(store: Store) -> list[StreamStanding]:
    """Every stream, by adapter and name."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT s.adapter, s.name AS stream, s.sweep, s.read, s.held, s.error, s.paused, s.events, "  # noqa: S608
                "COALESCE(r.live, 0) AS records, COALESCE(p.problems - p.incomplete, 0) AS quarantined, "
                "COALESCE(p.incomplete, 0) AS incomplete, "
                f"{_ROUNDED.format(':now - s.looked')} AS seconds_since_read, s.after IS NOT NULL AS reading "
                "FROM streams s LEFT JOIN (SELECT stream, count(CASE WHEN version > 0 AND NOT deleted THEN 1 END) AS live "
                "FROM records GROUP BY stream) AS r ON r.stream = s.id LEFT JOIN (SELECT stream, count(*) AS problems, "
                f"count(CASE WHEN {LACKS} THEN 1 END) AS incomplete FROM problems GROUP BY stream) AS p ON p.stream = s.id "
                "ORDER BY s.adapter, s.name"
            ),
            {"now": now(connection)},
        )
        return rows(StreamStanding, found)


async def briefs(store: Store) -> list[FlowBrief]:
    """Every flow by name, cheap enough to be asked often."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT f.name AS flow, f.paused, f.error, (SELECT count(*) FROM subjects s WHERE s.flow = f.name "  # noqa: S608
                "AND s.state IN ('dirty', 'sending')) AS todo, f.reopened IS NOT NULL AS reopening, "
                "COALESCE(:now - f.standby < :hold, FALSE) AS standby, EXISTS (SELECT 1 FROM ingested i WHERE i.flow = f.name "
                f"AND i.again IS NOT NULL) AS rereading, (SELECT {_ROUNDED.format(':now - min(since)')} FROM subjects s "
                "WHERE s.flow = f.name AND s.state IN ('dirty', 'sending')) AS seconds_waiting, "
                f"(SELECT {_ROUNDED.format('b.held - :now')} FROM budgets b WHERE b.target = COALESCE(f.target, f.name) "
                "AND b.held > :now) "
                "AS seconds_silent FROM flows f ORDER BY f.name"
            ),
            {"now": now(connection), "hold": HOLD},
        )
        return rows(FlowBrief, found)


async def flows(store: Store) -> list[FlowStanding]:
    """Every flow by name, its subjects counted."""
    every, counts, rejected = await briefs(store), await subjects(store), await rejects(store)
    return [_whole(each, [n for n in counts if n.flow == each.flow], rejected.get(each.flow, 0)) for each in every]


def _whole(brief: FlowBrief, counts: Sequence[SubjectCount], rejected: int) -> FlowStanding:
    states = {count.state: count.subjects for count in counts}
    made = FlowStanding(**asdict(brief) | states, holds=sum(count.holds for count in counts), rejected=rejected)
    return replace(made, todo=made.dirty + made.sending)


async def subjects(store: Store) -> list[SubjectCount]:
    """The subjects of every flow, counted by state."""
    async with store.read() as connection:
        found = await connection.execute(
            text("SELECT flow, state, count(*) AS subjects, count(digest) AS holds FROM subjects GROUP BY flow, state")
        )
        return rows(SubjectCount, found)


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
        return rows(HiddenEvents, found)


async def oldest(store: Store, most: int) -> list[Unwritten]:
    """The subjects that have waited longest to be written."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT flow, subject, attempts, CASE WHEN since < :now THEN :now - since ELSE 0 END AS seconds FROM subjects "
                "WHERE state IN ('dirty', 'sending') ORDER BY since LIMIT :most"
            ),
            {"now": now(connection), "most": most},
        )
        return rows(Unwritten, found)


async def stuck(connection: AsyncConnection, key: str | None = None) -> list[StuckRecord]:
    """Parked and waiting subjects, quarantined rows, records that are no events: all of them, or those of one key."""
    bound = {} if key is None else {"key": key, "incomplete": key + INCOMPLETE}
    subject, row, place = (
        ("", "", "") if key is None else ("AND s.subject = :key", "WHERE p.key IN (:key, :incomplete)", "WHERE place = :key")
    )
    found = await connection.execute(
        text(
            "SELECT part, key, state, reason, since, cause FROM ("  # noqa: S608 (our own words)
            # Through the flows, so that one key is found in the index, whatever flow has it.
            "SELECT 0 AS kind, s.flow AS part, s.subject AS key, s.state, s.reason, s.since, s.cause FROM flows f "
            f"JOIN subjects s ON s.flow = f.name WHERE s.state IN ('parked', 'waiting', 'dropped') {subject} "
            f"UNION ALL SELECT 1, s.adapter || '.' || s.name, p.key, {STATE_OF_PROBLEM}, p.what, p.since, p.cause "
            f"FROM problems p JOIN streams s ON s.id = p.stream {row} "
            f"UNION ALL SELECT 2, flow, place, 'rejected', what, since, cause FROM rejects {place}"
            ") AS stuck ORDER BY kind, part, key"
        ),
        bound,
    )
    return rows(StuckRecord, found)
