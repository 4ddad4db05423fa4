"""The records that are published under other keys than those of their rows (see `adapters.engine.numbers`), in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam
from sqlalchemy.ext.asyncio import AsyncConnection

from ironbridge.store.bulk import among, values
from ironbridge.store.statement import text
from ironbridge.store.tables import STRAY


async def lookup(connection: AsyncConnection, what: str, stream: int, keys: Sequence[str]) -> Sequence[Any]:
    """Records of a stream whose rows have these keys, and records that are published under them."""
    read, named = among(connection, "key", "keys"), among(connection, "kept", "keys")
    found = await connection.execute(
        text(
            f"SELECT {what} FROM records WHERE stream = :stream AND {read} UNION ALL "  # noqa: S608 (our own names)
            f"SELECT {what} FROM records WHERE stream = :stream AND kept IS NOT NULL AND {named} AND NOT ({read})"
        ),
        {"stream": stream, "keys": values(connection, keys)},
    )
    return found.fetchall()


async def strays(
    connection: AsyncConnection, what: str, stream: int, fingerprints: Collection[bytes] | None, most: int
) -> Sequence[Any]:
    """
    Rows of a stream that wait for its reading's end, so many at most: all, or those with one of these contents.

    Their index has this order. By their keys alone, PostgreSQL would look for the few through the index of all records.
    """
    these = {} if fingerprints is None else {"these": list(fingerprints)}
    statement = text(
        f"SELECT {what} FROM records WHERE stream = :stream AND {STRAY} AND region IS NOT NULL "  # noqa: S608
        f"{'AND fingerprint IN :these ' if these else ''}ORDER BY fingerprint, key LIMIT :most"
    )
    if these:
        statement = statement.bindparams(bindparam("these", expanding=True))
    return (await connection.execute(statement, {"stream": stream, "most": most, **these})).fetchall()


async def kept(connection: AsyncConnection, adapter: str, keys: Collection[str]) -> Mapping[str, str]:
    """The keys that records of an adapter keep whose rows have these keys and not those."""
    if not keys:
        return {}
    found = await connection.execute(
        text(
            "SELECT r.key, r.kept FROM streams s JOIN records r ON r.stream = s.id "  # noqa: S608 (our own names)
            f"WHERE s.adapter = :adapter AND r.kept IS NOT NULL AND {among(connection, 'r.key', 'keys')}"
        ),
        {"adapter": adapter, "keys": values(connection, sorted(keys))},
    )
    return {row.key: row.kept for row in found}


async def published(connection: AsyncConnection, adapter: str, keys: Collection[str]) -> set[str]:
    """Return those of these keys under which records of an adapter are published."""
    if not keys:
        return set()
    living = "FROM streams s JOIN records r ON r.stream = s.id WHERE s.adapter = :adapter AND r.version > 0 AND NOT r.deleted"
    found = await connection.execute(
        text(
            f"SELECT r.key {living} AND r.kept IS NULL AND {among(connection, 'r.key', 'keys')} UNION ALL "
            f"SELECT r.kept {living} AND r.kept IS NOT NULL AND {among(connection, 'r.kept', 'keys')}"
        ),
        {"adapter": adapter, "keys": values(connection, sorted(keys))},
    )
    return {row[0] for row in found}


async def keeps(connection: AsyncConnection, adapter: str) -> bool:
    """Tell whether any record of an adapter is published under another key than its row's."""
    asked = "SELECT 1 FROM streams s JOIN records r ON r.stream = s.id WHERE s.adapter = :adapter AND r.kept IS NOT NULL LIMIT 1"
    return (await connection.execute(text(asked), {"adapter": adapter})).first() is not None


async def map_again(connection: AsyncConnection, adapter: str, since: int) -> None:
    """Have all rows of an adapter mapped again whose records have at least this version."""
    young = "version >= :since AND stream IN (SELECT id FROM streams WHERE adapter = :adapter)"
    bound = {"since": since, "adapter": adapter}
    await connection.execute(
        text(
            "UPDATE regions SET digest = NULL WHERE (stream, name) IN "  # noqa: S608 (our own names)
            f"(SELECT stream, region FROM records WHERE region IS NOT NULL AND {young})"
        ),
        bound,
    )
    await connection.execute(text(f"UPDATE records SET row_digest = NULL WHERE {young}"), bound)  # noqa: S608
