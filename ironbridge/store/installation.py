"""The identity of the installation that a state belongs to. It tells apart two that share Kafka's topics."""

from __future__ import annotations

from typing import NamedTuple
from uuid import uuid4

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.errors import MisconfiguredError
from ironbridge.store.database import Store
from ironbridge.store.statement import text

_KNOWN = text("SELECT id FROM installation ORDER BY id LIMIT 1")


class Installation(NamedTuple):
    """
    `id` is made with the state's tables, and a copy of the state has it, too. `place` tells the copy from the original if the
    database has a name of its own: PostgreSQL's system identifier, which a standby shares, and the database's number.
    """

    id: str
    place: str = ""


async def installation(store: Store) -> Installation:
    async with store.write() as connection:
        if (known := (await connection.execute(_KNOWN)).scalar_one_or_none()) is None:
            known = uuid4().hex
            await connection.execute(text("INSERT INTO installation (id) VALUES (:id)"), {"id": known})
    return await _placed(store, known)


async def known_installation(store: Store) -> Installation | None:
    """Return the installation that the state belongs to, and make none: None if it has never run."""
    async with store.read() as connection:
        known = (await connection.execute(_KNOWN)).scalar_one_or_none()
    return None if known is None else await _placed(store, known)


async def _placed(store: Store, known: str) -> Installation:
    return Installation(known, "" if store.embedded else await _place(store))


async def prefixed(store: Store, prefix: str) -> None:
    """
    Check that the state belongs to the topics of this prefix: what it remembers as published lies in others' topics otherwise,
    and nothing of it would ever be published in these.

    :raises MisconfiguredError: it belongs to topics of another prefix.
    """
    async with store.read() as connection:
        known = await connection.execute(text("SELECT topic FROM offsets UNION SELECT topic FROM ingested"))
        others = sorted({topic.rpartition(".")[0] for (topic,) in known} - {prefix})
    if others:
        raise MisconfiguredError(
            "state", f"it belongs to the topics `{others[0]}.*`, and `kafka.topic_prefix` is {prefix}: nothing would come",
            fix=f"set `kafka.topic_prefix` to {others[0]}, or point `state.url` at an empty database",
        )  # fmt: skip


async def _place(store: Store) -> str:
    """The database's own name; empty if it does not tell us, as a managed service may hide its identifier."""
    async with store.read() as connection:
        try:
            return await _named(connection)
        except DBAPIError:
            return ""


async def _named(connection: AsyncConnection) -> str:
    asked = "SELECT (SELECT system_identifier FROM pg_control_system()), oid FROM pg_database WHERE datname = current_database()"
    system, database = (await connection.execute(text(asked))).one()
    return f"{system}/{database}"
