"""The rows at fault that the state knows: where each lies, its field and the rule that it broke."""

from __future__ import annotations

from dataclasses import dataclass

from ironbridge.store.causes import LACKS
from ironbridge.store.database import Store
from ironbridge.store.rows import rows
from ironbridge.store.statement import text


@dataclass(frozen=True, slots=True)
class FaultyRow:
    """
    A row that is quarantined, or published without a soft field (`incomplete`). `key` is its problem's, `since` the seconds since
    1970 at which it first went wrong.
    """

    system: str
    stream: str
    key: str
    field: str
    rule: str
    since: float
    incomplete: bool


async def faulty(store: Store) -> list[FaultyRow]:
    """Every row that is at fault now."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT s.adapter AS system, s.name AS stream, p.key, p.field, p.rule, p.since, "  # noqa: S608 (our own words)
                f"{LACKS.replace('key', 'p.key')} AS incomplete FROM problems p JOIN streams s ON s.id = p.stream"
            )
        )
        return rows(FaultyRow, found)
