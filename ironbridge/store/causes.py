"""
The cause of a record that is parked, waiting, quarantined or no event: its reason without the parts that only this record
has, as a short id.

It is stored beside the reason, so that the groups of 100,000 records are counted in an index. To work it out from every
reason at each look would take the database half a second and more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.journal import INCOMPLETE, Problem, record_key
from ironbridge.store.bulk import postgres, put
from ironbridge.store.database import Store
from ironbridge.store.statement import text
from ironbridge.store.tables import problems

STUCK = ("parked", "waiting", "dropped")
"""The states in which a subject stays until something else happens."""
LACKS = f"key LIKE '%{INCOMPLETE}'"
"""The problem of a record that is published without some of its fields, as SQL."""
STATE_OF_PROBLEM = f"CASE WHEN {LACKS} THEN 'incomplete' ELSE 'quarantined' END"
WAITS = "waits for another record, which the target does not hold yet"
_UNSAID = "no reason was given"
# The texts of a reason, besides the key, that only one record has: its shape and its row. `_WHERE` repeats the part's name.
_SHAPE = re.compile(r" \((?:its shape: .*?|row \d+ of the file)\)(?=\. To do: |:|$)")
_WHERE = re.compile(r"^(?:\S+ )?…: ")
_PIECE = 2000


def bare(state: str, key: str, reason: str | None) -> str:
    """A reason without the parts that only one record has: the same text for all records of one state and one reason."""
    if state == "waiting":
        return WAITS
    return _WHERE.sub("", _SHAPE.sub("", (reason or _UNSAID).replace(record_key(key), "…")))


def cause_of(state: str, key: str, reason: str | None) -> str:
    """The id of a reason: 12 hexadecimal digits."""
    return hashlib.blake2b(bare(state, key, reason).encode(), digest_size=6).hexdigest()


WAITING = cause_of("waiting", "", None)
_STATES = ", ".join(f"'{state}'" for state in STUCK)
_TABLES = {  # part, key, state, reason, condition
    "subjects": ("flow", "subject", "state", "reason", f"state IN ({_STATES}) AND flow IN (SELECT name FROM flows)"),  # noqa: S608
    "problems": ("stream", "key", "'quarantined'", "what", "stream IN (SELECT id FROM streams)"),
    "rejects": ("flow", "place", "'rejected'", "what", "flow IN (SELECT name FROM flows)"),
}


async def save_problems(connection: AsyncConnection, stream: int, found: Sequence[Problem], now: float) -> None:
    """Save the problems of a stream's rows, each with its cause; `now` is in seconds since 1970."""
    rows = [
        (stream, p.key, p.field, p.rule, p.shape, p.what, now, cause_of("quarantined", p.key, p.what))
        for p in {p.key: p for p in found}.values()
    ]
    columns = ("stream", "key", "field", "rule", "shape", "what", "since", "cause")
    # `since` is when it first went wrong: a row that is still wrong keeps it.
    update = {name: f'excluded."{name}"' for name in ("field", "rule", "shape", "what", "cause")}
    await put(connection, problems, columns, rows, update)


async def fill(store: Store) -> None:
    """Work out the causes that are missing, because an older release parked the records."""
    for table in _TABLES:
        while await _filled(store, table) == _PIECE:
            pass


async def _filled(store: Store, table: str) -> int:
    async with store.read() as connection:
        if not await _missing(connection, table, 1):
            return 0
    async with store.write() as connection:
        part, key, *_ = _TABLES[table]
        rows = await _missing(connection, table, _PIECE, lock=True)
        if rows:
            await connection.execute(
                text(
                    f"UPDATE {table} SET cause = :cause WHERE {part} = :part AND {key} = :key AND cause IS NULL"  # noqa: S608
                ),
                rows,
            )
        return len(rows)


async def _missing(connection: AsyncConnection, table: str, most: int, *, lock: bool = False) -> list[dict[str, Any]]:
    """The rows without a cause, each with the cause that it gets; `lock` passes over rows that others have locked."""
    part, key, state, reason, where = _TABLES[table]
    order = f' ORDER BY {key} COLLATE "C" ' if postgres(connection) and lock else ""
    locked = "FOR UPDATE SKIP LOCKED" if postgres(connection) and lock else ""
    found = await connection.execute(
        text(
            f"SELECT {part}, {key}, {state}, {reason} FROM {table} WHERE cause IS NULL AND {where}{order} "  # noqa: S608
            f"LIMIT :most {locked}"
        ),
        {"most": most},
    )
    return [{"part": part, "key": key, "cause": cause_of(state, key, reason)} for part, key, state, reason in found]
