"""
The rows of `subjects`: locking them, changing many at once, making them dirty.

Every function that changes rows locks them first, in one order (`COLLATE "C"` of their names), so that two workers never
wait for each other's rows. PostgreSQL is READ COMMITTED: each statement sees what was committed before it began, so a
decision about a row is taken in a statement that begins after the row is locked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from flows.engine.clock import beginning
from flows.engine.ledger import HOLD, TRAVELS, Settlement, State, Task
from flows.port import Grouping
from ironbridge.store.bulk import among, bind, postgres, selected, values
from ironbridge.store.causes import STUCK, cause_of
from ironbridge.store.database import now
from ironbridge.store.statement import text

_MOST_TRACES = 16_000  # characters; each takes 56

MARK = (
    "flow", "subject", "partition", "state", "urgency", "seq", "changes", "since", "attempts", "observed", "traces",
)  # fmt: skip
_IN_HAND = "subjects.state IN ('dirty', 'sending')"
TOUCH = {
    "state": "CASE WHEN subjects.state = 'sending' THEN 'sending' ELSE 'dirty' END",
    "seq": "subjects.seq + 1",
    "changes": "subjects.changes + excluded.changes",
    "since": f"CASE WHEN {_IN_HAND} THEN subjects.since ELSE excluded.since END",
    "due": f"CASE WHEN {_IN_HAND} THEN subjects.due ELSE NULL END",
    "urgency": f"CASE WHEN {_IN_HAND} AND subjects.urgency < excluded.urgency THEN subjects.urgency ELSE excluded.urgency END",
    "observed": "CASE WHEN subjects.state IN ('dirty', 'sending', 'waiting') AND subjects.observed < excluded.observed "
    "THEN subjects.observed ELSE excluded.observed END",
    # Every traced change is kept until the subject is settled. A subject that waits for ever keeps as many as fit.
    "traces": f"CASE WHEN excluded.traces IS NULL THEN subjects.traces WHEN subjects.traces IS NULL THEN excluded.traces "
    f"WHEN length(subjects.traces) > {_MOST_TRACES} THEN subjects.traces "
    "ELSE excluded.traces || ' ' || subjects.traces END",
    "partition": "excluded.partition",
}
"""An event's effect on a subject: it becomes dirty, also if it was parked or waiting; a held subject stays held."""
MARK_IN_DOUBT = (*MARK, "doubtful", "sent")
# A subject in doubt stays in doubt, also if only others of this poll are. `[]` says that its documents are not known.
TOUCH_IN_DOUBT = TOUCH | {
    "doubtful": "CASE WHEN length(subjects.doubtful) > 2 THEN subjects.doubtful "
    "ELSE COALESCE(excluded.doubtful, subjects.doubtful) END",
    "sent": "COALESCE(excluded.sent, subjects.sent)",
}


# A request may have left at any moment while its worker's claim held, however long ago its intent was saved.
_PERHAPS_SENT = "state = 'sending' AND doubtful IS NOT NULL"
EARLIEST = (
    f"CASE WHEN doubtful IS NOT NULL AND sent > CAST(:now AS float8) - {HOLD} AND sent <= CAST(:now AS float8) "
    f"THEN sent + {HOLD} END"
)
"""
The earliest moment for a dirty subject that a person wants to be looked at now: a write that was sent a moment ago by a hand
that had lost the subject may meet a write that its last holder is just sending.
"""


class SubjectRow(NamedTuple):
    """A subject as it is in the database, now that its row is locked."""

    state: str
    claim: str | None
    ref: str | None
    doubtful: bytes | None

    def held_by(self, task: Task) -> bool:
        return self.state == State.SENDING and self.claim == task.claim


def in_hand(task: Task, stands: Mapping[str, SubjectRow]) -> bool:
    stand = stands.get(task.subject)
    return stand is not None and stand.held_by(task)


async def locked(connection: AsyncConnection, flow: str, wanted: Collection[str]) -> dict[str, SubjectRow]:
    """These subjects as they are in the database. Locks their rows."""
    among_these = among(connection, "subject", "subjects")
    order = ' ORDER BY subject COLLATE "C" FOR UPDATE' if postgres(connection) else ""
    rows = await connection.execute(
        text(
            "SELECT subject, state, claim, ref, doubtful FROM subjects "  # noqa: S608 (our own names)
            f"WHERE flow = :flow AND {among_these}{order}"
        ),
        {"flow": flow, "subjects": values(connection, list(wanted))},
    )
    return {subject: SubjectRow(*stand) for subject, *stand in rows.fetchall()}


async def holders(connection: AsyncConnection, flow: str, refs: Collection[str]) -> list[tuple[str, str, bytes]]:
    """See `flows.engine.ledger.Ledger.holders`."""
    rows = await connection.execute(
        text(
            "SELECT subject, ref, document FROM subjects WHERE flow = :flow AND ref IS NOT NULL "  # noqa: S608 (our own names)
            f"AND document IS NOT NULL AND {among(connection, 'ref', 'these')} ORDER BY subject"
        ),
        {"flow": flow, "these": values(connection, sorted(refs))},
    )
    return [(subject, ref, document) for subject, ref, document in rows.fetchall()]


def found(connection: AsyncConnection, condition: str, *, skip_locked: bool = False) -> str:
    """
    Subjects that meet a condition; locks their rows. `skip_locked` passes over a row that is being changed just now: every
    change of a waiting or a lost subject makes it dirty, too.
    """
    once, lock = "", ""
    if postgres(connection):
        once = "MATERIALIZED"
        lock = f' ORDER BY subject COLLATE "C" FOR UPDATE{" SKIP LOCKED" if skip_locked else ""}'
    return (
        f"subject IN (WITH found AS {once} (SELECT subject FROM subjects "  # noqa: S608 (our own words)
        f"WHERE flow = :flow AND {condition}{lock}) SELECT subject FROM found)"
    )


async def dirtied(
    connection: AsyncConnection, flow: str, condition: str, *, skip_locked: bool = False, **bound: Any
) -> int:
    """Make all subjects dirty that meet a condition; returns how many there were."""
    those = found(connection, condition, skip_locked=skip_locked)
    result = await connection.execute(
        text(
            "UPDATE subjects SET state = 'dirty', claim = NULL, waiting_on = NULL, since = :since, "  # noqa: S608
            "reason = CASE WHEN state = 'agreed' THEN reason END, "
            # A subject that wakes and waits again and again asks a target that does not know its own confirmed document.
            f"due = CASE WHEN state = 'waiting' AND attempts > 5 THEN CAST(:since AS float8) + {HOLD} "
            f"WHEN {_PERHAPS_SENT} AND due > CAST(:since AS float8) THEN CAST(:since AS float8) + {TRAVELS} END, "
            f"sent = CASE WHEN {_PERHAPS_SENT} AND due - {TRAVELS} < CAST(:since AS float8) THEN due - {TRAVELS} "
            f"WHEN {_PERHAPS_SENT} THEN :since ELSE sent END "
            f"WHERE flow = :flow AND {those}"
        ),
        {"flow": flow, "since": now(connection), **bound},
    )
    return int(result.rowcount)


async def parted(connection: AsyncConnection, flow: str) -> int:
    """
    Make dirty the parked subjects whose document's name another one had, where that one changed since; how many. It may have
    gone, or have another name now.
    """
    moved = "SELECT 1 FROM subjects AS other WHERE other.flow = :flow AND other.subject = subjects.waiting_on"
    condition = (
        f"state = 'parked' AND waiting_on IS NOT NULL AND (NOT EXISTS ({moved}) "
        f"OR EXISTS ({moved} AND other.since > subjects.since))"
    )
    return await dirtied(connection, flow, condition, skip_locked=True)


async def freed(connection: AsyncConnection, flow: str, subjects: Collection[str]) -> None:
    """
    Have parked subjects looked at again that documents referred to until just now: a target may keep what others refer to. One
    that a worker holds is looked at after it, because its removal may just have been refused. Their rows are locked already.
    """
    if not subjects:
        return
    these = among(connection, "subject", "these")
    await connection.execute(
        text(
            "UPDATE subjects SET seq = seq + 1, reason = CASE WHEN state = 'parked' THEN NULL ELSE reason END, "  # noqa: S608
            "since = CASE WHEN state = 'parked' THEN :since ELSE since END, "
            "state = CASE WHEN state = 'parked' THEN 'dirty' ELSE state END "
            f"WHERE flow = :flow AND state IN ('parked', 'sending') AND document IS NOT NULL AND {these}"
        ),
        {"flow": flow, "since": now(connection), "these": values(connection, sorted(subjects))},
    )


async def keys_of(
    connection: AsyncConnection, subjects: Sequence[str], grouping: Grouping
) -> dict[str, list[tuple[str, str]]]:
    """Keys and owners of all known facts of these subjects, deletions included."""
    column = grouping.value
    found: dict[str, list[tuple[str, str]]] = {}
    rows = await connection.execute(
        text(f"SELECT {column}, key, owner FROM facts WHERE {among(connection, column, 'subjects')}"),  # noqa: S608 (our own names)
        {"subjects": values(connection, subjects)},
    )
    for subject, key, owner in rows.fetchall():
        found.setdefault(subject, []).append((key, owner))
    return found


def detail(settlement: Settlement) -> str | None:
    """Return what a person is told of an outcome besides its word."""
    if not settlement.confirmed or settlement.ref is None:
        return settlement.reason
    return "; ".join(filter(None, (f"held as {settlement.ref}", settlement.reason)))


def word(settlement: Settlement, stands: Mapping[str, SubjectRow]) -> str:
    """The word for an outcome in a record's story."""
    return settlement.outcome if in_hand(settlement.task, stands) else f"{settlement.outcome}, too late"


# A subject that was touched while a worker held it is dirty again, whatever the outcome; so is one whose document was
# worked out by another edition than the open one.
_AFTER = {
    "state": "CASE WHEN new.state IN ('agreed', 'parked', 'waiting') "
    "AND (subjects.seq <> new.seen OR new.edition <> COALESCE((SELECT number FROM flows WHERE name = :flow), 0)) "
    "THEN 'dirty' ELSE new.state END",
    "changes": "subjects.changes - new.changes",
    # A confirmed subject waits no more: changes that came since have waited from now on.
    "since": "CASE WHEN new.state = 'agreed' THEN new.since ELSE subjects.since END",
    "observed": "CASE WHEN new.state = 'agreed' THEN new.observed ELSE subjects.observed END",
    # The traces that it is settled with stand at the end, so that many characters are cut off.
    "traces": "CASE WHEN length(subjects.traces) > new.traces "
    "THEN substr(subjects.traces, 1, CAST(length(subjects.traces) - new.traces AS integer)) END",
    "sent": "COALESCE(new.sent, subjects.sent)",
}
_ONLY_COMPARED = ("seen",)
_SETTLED = {
    "seen": "bigint", "edition": "bigint", "state": "text", "changes": "bigint", "due": "float8",
    "reason": "text", "waiting_on": "text", "doubtful": "bytea", "attempts": "bigint", "since": "float8",
    "observed": "float8", "traces": "bigint", "sent": "float8", "cause": "text", "recheck": "float8",
}  # fmt: skip
_CONFIRMED = {"document": "bytea", "digest": "bytea", "ref": "text", "tag": "text", "confirmed": "float8"}


async def settled(
    connection: AsyncConnection, flow: str, settlements: Sequence[Settlement], *, confirmed: bool
) -> None:
    """Save settlements, either all confirmations or none. Their rows are locked: this asks which edition is open now."""
    at, rows = now(connection), []
    for s in settlements:
        over = s.state in (State.AGREED, State.PARKED)
        row: tuple[Any, ...] = (
            s.task.subject, s.task.seq, s.task.edition, s.state, s.task.changes if over else 0,
            None if s.after is None else at + s.after, s.reason, s.waiting_on, s.doubtful,
            0 if over else s.task.attempts, at, at, len(s.task.traces) + 1 if over and s.task.traces else 0,
            # After a lost answer, the request may have arrived only now.
            None if s.sent is None else at,
            cause_of(s.state, s.task.subject, s.reason) if s.state in STUCK else None,
            None if s.task.recheck is None else beginning(s.task.recheck),
        )  # fmt: skip
        rows.append((*row, s.document, s.digest, s.ref, s.tag, at) if confirmed else row)
    await changed(connection, _SETTLED | _CONFIRMED if confirmed else _SETTLED, flow, rows)


async def changed(
    connection: AsyncConnection, columns: dict[str, str], flow: str, rows: Sequence[tuple[Any, ...]]
) -> None:
    """Set columns of many subjects at once; each row begins with the subject. Their rows are locked already."""
    if not rows:
        return
    names = [name for name in columns if name not in _ONLY_COMPARED]
    if postgres(connection):
        sets = ", ".join(f'"{name}" = {_AFTER.get(name, f"new.{name}")}' for name in names)
        kinds = (("subject", "text"), *columns.items())
        forms, bound = bind(rows, kinds)
        statement = (
            f"UPDATE subjects SET {sets} FROM ({selected(kinds, forms)}) AS new "  # noqa: S608 (our own names)
            f"WHERE subjects.flow = :flow AND subjects.subject = new.subject"
        )
        await connection.execute(text(statement), bound | {"flow": flow})
    else:
        sets = ", ".join(f'"{name}" = {_AFTER.get(name, f":{name}").replace("new.", ":")}' for name in names)
        statement = f"UPDATE subjects SET {sets} WHERE flow = :flow AND subject = :subject"  # noqa: S608
        many = [{"flow": flow} | dict(zip(("subject", *columns), row, strict=True)) for row in rows]
        await connection.execute(text(statement), many)
