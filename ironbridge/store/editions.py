"""
A flow's editions in the state: which one is open, which workers work by it, and the second look at subjects that older
editions settled.

A settlement by an older edition never counts as agreement, in whatever order two transactions overlap. A settlement
first locks its rows, and then reads the number of the open edition in a statement of its own. A slice of the second look
begins after its edition was opened, and locks every row of its range that an older edition settled, whatever its state:

* If the settlement locks the row first, the slice waits for it, sees the row as the settlement left it, and marks it.
* If the slice locks the row first, the settlement waits, and reads the number after the slice has committed, so after the
  edition was opened: a result of an older edition leaves the subject dirty.

A subject that is added behind the second look's place begins dirty, and only the open edition takes dirty subjects. Rows
are locked before `flows`, here as in a settlement, so that the two never wait for each other.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from flows.engine.ledger import HOLD, Edition
from ironbridge.store.bulk import postgres
from ironbridge.store.database import Store, now

SLICE = 1000
"""Subjects marked in one transaction, so that deliveries never wait long for their rows."""
OPEN = "EXISTS (SELECT 1 FROM flows WHERE name = :flow AND number = :number AND edition = :edition AND NOT paused)"
"""True if the edition that a worker works by is the open one, and no person has paused the flow."""


class Opened(NamedTuple):
    """The open edition. `alive`: when a worker of it last gave a sign of life, in seconds since 1970."""

    name: str | None
    number: int
    alive: float | None


def may_open(opened: Opened | None, edition: str, had: Edition | None, at: float) -> bool:
    """Whether a worker may open another edition than the open one (`flows.engine.editions`). `had` None: it has just started."""
    if opened is None or opened.name is None or had is None:
        return True
    turned = edition != had.name and opened.number == had.number
    silent = opened.alive is None or opened.alive < at - HOLD
    return turned or silent


async def reopen(store: Store, flow: str, edition: str, had: Edition | None) -> Edition | None:
    """See `flows.engine.ledger.Ledger.reopen`."""
    async with store.read() as connection:
        opened = await _opened(connection, flow)
        if opened is not None and opened.name == edition:
            return Edition(edition, opened.number)
    async with store.write() as connection:
        await connection.execute(
            text("INSERT INTO flows (name) VALUES (:flow) ON CONFLICT (name) DO NOTHING"), {"flow": flow}
        )
        opened = await _opened(connection, flow, " FOR UPDATE" if postgres(connection) else "")
        if opened is not None and opened.name == edition:  # another worker was faster
            return Edition(edition, opened.number)
        if not may_open(opened, edition, had, now(connection)):
            await _stand_by(connection, flow)
            return None
        number = (opened.number if opened else 0) + 1
        await connection.execute(
            text(
                "UPDATE flows SET edition = :edition, number = :number, reopened = '', alive = :now, standby = NULL "
                "WHERE name = :flow"
            ),
            {"flow": flow, "edition": edition, "number": number, "now": now(connection)},
        )
        return Edition(edition, number)


async def _opened(connection: AsyncConnection, flow: str, lock: str = "") -> Opened | None:
    rows = await connection.execute(
        text(f"SELECT edition, number, alive FROM flows WHERE name = :flow{lock}"),  # noqa: S608 (our own words)
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
            "reason = NULL, since = CASE WHEN state = 'sending' THEN since ELSE :now END, "
            "due = CASE WHEN state = 'sending' THEN due END "
            f"WHERE {those} AND state IN ('sending', 'agreed', 'parked', 'waiting')"
        ),
        bound,
    )
