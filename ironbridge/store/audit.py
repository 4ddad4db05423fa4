"""The audit trail's rows. Append-only: the database refuses to change or delete one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from ironbridge.store.bulk import put
from ironbridge.store.database import Store, now
from ironbridge.store.rows import rows
from ironbridge.store.statement import text
from ironbridge.store.tables import audit

_COLUMNS = "id, at, who, through, action, what, why"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that a person did; `at` is seconds since 1970."""

    id: int
    at: float
    who: str
    through: str
    action: str
    what: str
    why: str


async def note(
    connection: AsyncConnection, by: tuple[str, str], action: str, what: Sequence[str], why: str = ""
) -> None:
    """Add an entry for each thing that an action was done to; `by` is who acted, and through what."""
    acts = [(now(connection), *by, action, each, why) for each in what]
    await put(connection, audit, ("at", "who", "through", "action", "what", "why"), acts, {})


async def newest(store: Store, most: int, before: int | None = None) -> list[AuditEntry]:
    """The newest entries first; those before an id, if one is given."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                f"SELECT {_COLUMNS} FROM audit "  # noqa: S608 (our own words)
                "WHERE CAST(:before AS bigint) IS NULL OR id < :before ORDER BY id DESC LIMIT :most"
            ),
            {"before": before, "most": most},
        )
        return rows(AuditEntry, found)


async def about(store: Store, what: str, most: int) -> list[AuditEntry]:
    """The entries of one record, stream or flow, newest first."""
    async with store.read() as connection:
        found = await connection.execute(
            text(f"SELECT {_COLUMNS} FROM audit WHERE what = :what ORDER BY id DESC LIMIT :most"),  # noqa: S608
            {"what": what, "most": most},
        )
        return rows(AuditEntry, found)
