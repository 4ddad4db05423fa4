"""
A flow's editions in the state: which one is open, which workers work by it, the second look at subjects that older editions
settled, and the look at subjects whose day has come.

A settlement by an older edition never counts as agreement, in whatever order two transactions overlap. A settlement
first locks its rows, and then reads the number of the open edition in a statement of its own. A slice of the second look
begins after its edition was opened, and locks every row of its range that an older edition settled, whatever its state:

* If the settlement locks the row first, the slice waits for it, sees the row as the settlement left it, and marks it.
* If the slice locks the row first, the settlement waits, and reads the number after the slice has committed, so after the
  edition was opened: a result of an older edition leaves the subject dirty.

A subject that is added behind the second look's place begins dirty, and only the open edition takes dirty subjects. Rows
are locked before `flows`, here as in a settlement, so that the two never wait for each other.

A settlement saves with its subject the beginning of the first day on which the outcome may be another one. The subject is
marked once that moment lies behind the database's clock, whoever settled it and by whatever day. If that clock was set right
and the day went back with it, subjects may have been judged by a day that has not come: the edition is opened once more.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from flows.engine.clock import SET_BACK, beginning, day_in_london
from flows.engine.ledger import HOLD, Edition
from ironbridge.store.bulk import postgres
from ironbridge.store.database import Store, now
from ironbridge.store.statement import text
from ironbridge.store.subjects import dirtied

SLICE = 1000
"""Subjects marked in one transaction, so that deliveries never wait long for their rows."""
OPEN = "EXISTS (SELECT 1 FROM flows WHERE name = :flow AND number = :number AND edition = :edition AND NOT paused)"
"""True if the edition that a worker works by is the open one, and no person has paused the flow."""
_RESTS = "state IN ('agreed', 'parked', 'waiting')"
_COME = f"flow = :flow AND {_RESTS} AND recheck <= :now"


class Opened(NamedTuple):
    """
    The open edition. `alive`: when a worker of it last gave a sign of life; `day`: the beginning of the latest day that it was
    at work on. Both are seconds since 1970.
    """

    name: str | None
    number: int
    alive: float | None
    day: float | None

    def joined_by(self, edition: str, at: float) -> bool:
        """Tell whether a worker joins it: it is the worker's own, and has judged nothing by a day that has not come."""
        return self.name == edition and (self.day is None or self.day <= at + SET_BACK)


def may_open(opened: Opened | None, edition: str, had: Edition | None, at: float) -> bool:
    """Tell whether a worker may open its edition where it cannot join the open one. `had` None: the worker has just started."""
    if opened is None or opened.name in (None, edition) or had is None:
        return True
    return opened.alive is None or opened.alive < at - HOLD


async def reopen(store: Store, flow: str, edition: str, had: Edition | None) -> Edition | None:
    """See `flows.engine.ledger.Ledger.reopen`."""
    async with store.read() as connection:
        opened, at = await _opened(connection, flow), now(connection)
        today = beginning(day_in_london(at))
        if opened is not None and opened.joined_by(edition, at) and (opened.day or 0.0) >= today:
            return Edition(edition, opened.number)
    async with store.write() as connection:
        await connection.execute(
            text("INSERT INTO flows (name) VALUES (:flow) ON CONFLICT (name) DO NOTHING"), {"flow": flow}
        )
        opened = await _opened(connection, flow, " FOR UPDATE" if postgres(connection) else "")
        bound = {"flow": flow, "edition": edition, "day": today, "now": at}
        if opened is not None and opened.joined_by(edition, at):  # a new day, or another worker was faster
            await connection.execute(text("UPDATE flows SET day = :day WHERE name = :flow AND COALESCE(day, 0) < :day"), bound)
            return Edition(edition, opened.number)
        if not may_open(opened, edition, had, at):
            await _stand_by(connection, flow)
            return None
        number = (opened.number if opened else 0) + 1
        await connection.execute(
            text(
                "UPDATE flows SET edition = :edition, number = :number, reopened = '', alive = :now, standby = NULL, "
                "day = :day WHERE name = :flow"
            ),
            bound | {"number": number},
        )
        return Edition(edition, number)


async def _opened(connection: AsyncConnection, flow: str, lock: str = "") -> Opened | None:
    rows = await connection.execute(
        text(f"SELECT edition, number, alive, day FROM flows WHERE name = :flow{lock}"),  # noqa: S608 (our own words)
        {"flow": flow},
    )
    row = rows.one_or_none()
    return None if row is None else Opened(*row)


async def _stand_by(connection: AsyncConnection, flow: str) -> None:
    """Note that a worker stands by. A sign of life from the future was given before the clock was set back: it becomes now."""
    await connection.execute(
        text(
            "UPDATE flows SET standby = :now, alive = CASE WHEN alive > CAST(:now AS float8) + :hold THEN :now ELSE alive END "
            "WHERE name = :flow"
        ),
        {"flow": flow, "now": now(connection), "hold": HOLD},
    )


async def open_number(connection: AsyncConnection, flow: str) -> int:
    """The number of the open edition, 0 if none is. To settle rows, lock them before you call this."""
    opened = await _opened(connection, flow)
    return 0 if opened is None else opened.number


async def alive(connection: AsyncConnection, flow: str, number: int) -> None:
    """Note a sign of life from a worker of the edition of this number."""
    await connection.execute(
        text("UPDATE flows SET alive = :now WHERE name = :flow AND number = :number"),
        {"flow": flow, "number": number, "now": now(connection)},
    )


async def relook(store: Store, flow: str, edition: Edition) -> bool:
    """See `Ledger.relook`: one slice, in the order of the primary key; `flows.reopened` is the place reached."""
    async with store.write() as connection:
        bound = {"flow": flow, "number": edition.number, "slice": SLICE, "now": now(connection)}
        place = await connection.execute(
            text("SELECT reopened FROM flows WHERE name = :flow AND number = :number"), bound
        )
        after = place.scalar_one_or_none()
        if after is None:
            return False
        bound["after"] = after
        end = await connection.execute(
            text(
                "SELECT max(subject), count(*) FROM (SELECT subject FROM subjects WHERE flow = :flow AND subject > :after "
                "ORDER BY subject LIMIT :slice) AS slice"
            ),
            bound,
        )
        last, count = end.one()
        more = int(count) == SLICE
        if last is not None:
            await _mark(connection, bound | {"last": last})
        # If another worker has marked the same slice meanwhile, it has moved the place on.
        await connection.execute(
            text("UPDATE flows SET reopened = :place WHERE name = :flow AND number = :number AND reopened = :after"),
            bound | {"place": last if more else None},
        )
        return more


async def turn(store: Store, flow: str) -> bool:
    """See `Ledger.turn`: one slice, the longest due first."""
    async with store.read() as connection:
        bound = {"flow": flow, "now": now(connection)}
        due = await connection.execute(text(f"SELECT 1 FROM subjects WHERE {_COME} LIMIT 1"), bound)  # noqa: S608 (our own words)
        if due.one_or_none() is None:
            return False
    async with store.write() as connection:
        slice_ = f"SELECT subject FROM subjects WHERE {_COME} ORDER BY recheck LIMIT :slice"  # noqa: S608 (our own words)
        condition = f"{_COME} AND subject IN ({slice_})"
        return await dirtied(connection, flow, condition, skip_locked=True, now=bound["now"], slice=SLICE) > 0


async def _mark(connection: AsyncConnection, bound: dict[str, object]) -> None:
    """Lock the slice's rows in every state; then change them by a second statement, which sees them as they are now."""
    those = "flow = :flow AND subject > :after AND subject <= :last AND edition <> :number"
    if postgres(connection):
        order = 'ORDER BY subject COLLATE "C" FOR UPDATE'
        await connection.execute(text(f"SELECT 1 FROM subjects WHERE {those} {order}"), bound)  # noqa: S608
    await connection.execute(
        text(
            "UPDATE subjects SET state = CASE WHEN state = 'sending' THEN state ELSE 'dirty' END, "  # noqa: S608
            # A subject that a worker holds becomes dirty when it is settled, also by a release that knows no numbers.
            "seq = CASE WHEN state = 'sending' THEN seq + 1 ELSE seq END, "
            "claim = CASE WHEN state = 'sending' THEN claim END, waiting_on = NULL, "
            "reason = CASE WHEN state = 'agreed' THEN reason END, since = CASE WHEN state = 'sending' THEN since ELSE :now END, "
            "due = CASE WHEN state = 'sending' THEN due END "
            f"WHERE {those} AND state IN ('sending', 'agreed', 'parked', 'waiting')"
        ),
        bound,
    )
