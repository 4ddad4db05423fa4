"""
Signs of life: a process notes here for each part that it runs, by the database's clock, that the part runs.

See runtime/alive.py, which gives the signs, and operate/absence.py, which looks for those that are missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ironbridge.store import tables
from ironbridge.store.bulk import put
from ironbridge.store.database import Store, now
from ironbridge.store.rows import rows
from ironbridge.store.statement import text

EVERY = 20.0
"""Seconds between two signs of life of one part."""
LIFE = 90.0
"""Seconds for which a sign of life counts: a part may miss some before it is taken to run nowhere."""


@dataclass(frozen=True, slots=True)
class Sign:
    """
    The newest sign of life of one part, e.g. `adapter/liquidlogic`: when it was given (seconds since 1970), and how many
    seconds ago. `ago` is negative if the database's clock was set back since then.
    """

    part: str
    at: float
    ago: float


async def give(store: Store, parts: Iterable[str]) -> None:
    """Note a sign of life for each of these parts, always in the order of their names: two workers never lock each other out."""
    async with store.write() as connection:
        await put(connection, tables.signs, ("part", "at"), [(part, now(connection)) for part in sorted(parts)])


async def given(store: Store) -> list[Sign]:
    """The newest sign of life of every part that has ever given one."""
    async with store.read() as connection:
        found = await connection.execute(
            text("SELECT part, at, :now - at AS ago FROM signs ORDER BY part"), {"now": now(connection)}
        )
        return rows(Sign, found)
