"""Notes why a whole part does not get on, while it cannot say so itself because its code does not even build it."""

from __future__ import annotations

from ironbridge.store.database import Store
from ironbridge.store.statement import text

_NOTE = {
    "adapter": text("UPDATE streams SET error = :error WHERE adapter = :name"),
    "flow": text("UPDATE flows SET error = :error WHERE name = :name"),
}


async def note(store: Store, part: str, error: str) -> None:
    """
    Note it on all streams of an adapter (`adapter/name`) or on a flow (`flow/name`), as far as they have run before. The part
    takes the note away when it gets on.
    """
    kind, _, name = part.partition("/")
    async with store.write() as connection:
        await connection.execute(_NOTE[kind], {"error": error, "name": name})
