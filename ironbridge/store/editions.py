"""
A flow's editions in the state: which one is open, who works by it, and looking through what older ones settled.

No settlement by an older edition is taken for agreement, whichever way two transactions overlap. A settlement locks its
rows, and only then reads, in a statement of its own, the number of the open edition; a slice of the looking-through
begins after its edition was opened, and locks every row of its range that an older edition settled, whatever its state:

* the settlement locks the row first: the slice waits for it, sees the row as the settlement left it, and marks it;
* the slice locks the row first: the settlement waits, and reads the number after the slice has committed, so after the
  edition was opened: what it worked out by an older one stays to do.

A subject that comes after its place was passed begins dirty, and what is dirty is taken by the open edition only. Rows
are locked before `flows`, here as in a settlement, so that the two never wait for each other.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from flows.ledger import HOLD, Edition
from ironbridge.store.bulk import postgres
from ironbridge.store.database import Store, now

SLICE = 2000
"""Subjects marked in one transaction, so that deliveries never wait long for their rows."""
OPEN = "EXISTS (SELECT 1 FROM flows WHERE name = :flow AND number = :number AND edition = :edition AND NOT paused)"
"""The edition that a worker works by is the open one, and no person holds the flow back."""


class Opened(NamedTuple):
    """The edition that is open. `alive`: when somebody who works by it last gave a sign of life, in seconds since 1970."""

    name: str | None
    number: int
    alive: float | None


def may_open(opened: Opened | None, edition: str, had: Edition | None, at: float) -> bool:
    """Whether a worker may open another edition than the open one (`flows.editions`); `had` None: it has just started."""
    if opened is None or opened.name is None or had is None:
        return True
    turned = edition != had.name and opened.number == had.number
    silent = opened.alive is None or opened.alive < at - HOLD
    return turned or silent


async def reopen(store: Store, flow: str, edition: str, had: Edition | None) -> Edition | None:
    """See `flows.ledger.Ledger.reopen`."""
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
    """Say that somebody waits. A sign of life from the future was given before the clock was set back: it counts from now."""
    await connection.execute(
        text(
            "UPDATE flows SET standby = :now, alive = CASE WHEN alive > CAST(:now AS float8) + :hold THEN :now ELSE alive END "
            "WHERE name = :flow"
        ),
        {"flow": flow, "now": now(connection), "hold": HOLD},
    )


async def open_number(connection: AsyncConnection, flow: str) -> int:
    """The number of the open edition, 0 where none is. Of rows that are to be settled, ask this once they are locked."""
    opened = await _opened(connection, flow)
    return 0 if opened is None else opened.number


async def alive(connection: AsyncConnection, flow: str, number: int) -> None:
    """Somebody works by the edition of this number."""
    await connection.execute(
        text("UPDATE flows SET alive = :now WHERE name = :flow AND number = :number"),
        {"flow": flow, "number": number, "now": now(connection)},
    )


async def relook(store: Store, flow: str, edition: Edition) -> bool:
    """See `flows.ledger.Ledger.relook`: one slice, in the order of the primary key; `flows.reopened` is how far it has come."""
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
        # Another worker may have marked the same slice meanwhile: then it has moved the place on.
        await connection.execute(
            text("UPDATE flows SET reopened = :place WHERE name = :flow AND number = :number AND reopened = :after"),
            bound | {"place": last if more else None},
        )
        return more


async def _mark(connection: AsyncConnection, bound: dict[str, object]) -> None:
    """Lock the slice's rows, whatever their state; then change, by a statement that sees them as they are now."""
    those = "flow = :flow AND subject > :after AND subject <= :last AND edition <> :number"
    if postgres(connection):
        order = 'ORDER BY subject COLLATE "C" FOR UPDATE'
        await connection.execute(text(f"SELECT 1 FROM subjects WHERE {those} {order}"), bound)  # noqa: S608
    await connection.execute(
        text(
            "UPDATE subjects SET state = CASE WHEN state = 'sending' THEN state ELSE 'dirty' END, "  # noqa: S608
            # What is in hand will be dirty when it is settled, also by a release that knows no numbers.
            "seq = CASE WHEN state = 'sending' THEN seq + 1 ELSE seq END, "
            "claim = CASE WHEN state = 'sending' THEN claim END, waiting_on = NULL, "
            "reason = NULL, since = CASE WHEN state = 'sending' THEN since ELSE :now END, "
            "due = CASE WHEN state = 'sending' THEN due END "
            f"WHERE {those} AND state IN ('sending', 'agreed', 'parked', 'waiting')"
        ),
        bound,
    )
