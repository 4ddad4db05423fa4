"""The console's sessions, and the keys that all consoles of one state share."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ironbridge.store.database import Store
from ironbridge.store.rows import rows
from ironbridge.store.statement import text


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as it is kept. `rights` is a list of words in one text; `until` and `checked` are seconds since 1970."""

    subject: str
    name: str
    rights: str
    refresh: bytes | None
    until: float
    checked: float


async def add(store: Store, number: str, row: SessionRow) -> None:
    """Keep a session under its id, and forget all that have ended by the time at which it was checked."""
    async with store.write() as connection:
        await connection.execute(text("DELETE FROM sessions WHERE until < :now"), {"now": row.checked})
        await connection.execute(
            text(
                "INSERT INTO sessions (id, subject, name, rights, refresh, until, checked, asked) "
                "VALUES (:id, :subject, :name, :rights, :refresh, :until, :checked, :checked)"
            ),
            asdict(row) | {"id": number},
        )


async def get(store: Store, number: str) -> SessionRow | None:
    """The session of an id; None if there is none, or if it has ended."""
    async with store.read() as connection:
        found = await connection.execute(
            text("SELECT subject, name, rights, refresh, until, checked FROM sessions WHERE id = :id AND until > :now"),
            {"id": number, "now": store.clock()},
        )
        return next(iter(rows(SessionRow, found)), None)


async def remove(store: Store, number: str) -> None:
    """Forget a session."""
    async with store.write() as connection:
        await connection.execute(text("DELETE FROM sessions WHERE id = :id"), {"id": number})


async def claim(store: Store, number: str, quiet: float) -> bool:
    """
    Note that the provider is asked about a session now. False if somebody has asked within `quiet` seconds, so that of many
    consoles one asks.
    """
    now = store.clock()
    async with store.write() as connection:
        mine = await connection.execute(
            text("UPDATE sessions SET asked = :now WHERE id = :id AND asked <= :before"),
            {"id": number, "now": now, "before": now - quiet},
        )
        return mine.rowcount == 1


async def confirm(store: Store, number: str, name: str, rights: str, refresh: bytes | None) -> None:
    """Write what the provider has confirmed about a session just now."""
    async with store.write() as connection:
        await connection.execute(
            text(
                "UPDATE sessions SET checked = :now, name = :name, rights = :rights, refresh = :refresh WHERE id = :id"
            ),
            {"id": number, "now": store.clock(), "name": name, "rights": rights, "refresh": refresh},
        )


async def shared_key(store: Store, name: str, fresh: str) -> str:
    """The key of a name that all consoles of this state share; the first one to ask brings it (`fresh`)."""
    async with store.write() as connection:
        await connection.execute(
            text("INSERT INTO keys (name, value) VALUES (:name, :fresh) ON CONFLICT (name) DO NOTHING"),
            {"name": name, "fresh": fresh},
        )
        found = await connection.execute(text("SELECT value FROM keys WHERE name = :name"), {"name": name})
        return str(found.scalar_one())
