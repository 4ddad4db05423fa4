"""Keeps beside each extract's region what it held when it was last read (see `ExtractAccount` in adapters/engine/journal.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.extracts import bad_file
from adapters.engine.journal import ExtractAccount
from adapters.engine.regions import extract_mark
from ironbridge.store.bulk import among, values
from ironbridge.store.database import Store
from ironbridge.store.statement import text


@dataclass(frozen=True, slots=True)
class ReadExtract:
    """
    This counts what an extract held when it was last read: its `records` that are published and in order, its `quarantined`
    records, and how many of each other kind (`besides`). `reading` is the number of the stream's reading that read it.
    If a newer file of its name was refused, `trouble` says why, and the counts are those of the file before it. The guard's
    holds and the audit trail name the file by its `mark`.
    """

    name: str
    mark: str
    reading: int
    records: int = 0
    quarantined: int = 0
    besides: Mapping[str, int] = field(default_factory=dict)
    trouble: str | None = None


async def save_accounts(connection: AsyncConnection, stream: int, accounts: Mapping[str, ExtractAccount]) -> None:
    """Keep what extracts held beside their regions."""
    for name, account in accounts.items():
        await connection.execute(
            text("UPDATE regions SET told = :told WHERE stream = :stream AND name = :name"),
            {"told": json.dumps(asdict(account)), "stream": stream, "name": name},
        )


async def newest(store: Store, part: str, most: int) -> list[ReadExtract]:
    """The extracts of a stream (`adapter.stream`), the ones that were read last first; of a stream without files none."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT s.id, s.adapter, r.name, r.told, r.sweep FROM regions r JOIN streams s ON s.id = r.stream "
                "WHERE s.adapter || '.' || s.name = :part AND r.told IS NOT NULL ORDER BY abs(r.sweep) DESC, r.name LIMIT :most"
            ),
            {"part": part, "most": most},
        )
        rows = found.fetchall()
        keys = {name: bad_file(adapter, name) for _, adapter, name, _, _ in rows}
        troubles = await _troubles(connection, rows[0].id, list(keys.values())) if rows else {}
    return [
        ReadExtract(name, extract_mark(name), abs(sweep), **json.loads(told), trouble=troubles.get(keys[name]))
        for _, _, name, told, sweep in rows
    ]


async def _troubles(connection: AsyncConnection, stream: int, keys: list[str]) -> dict[str, str]:
    """Of these keys the ones that have a problem, and its words."""
    found = await connection.execute(
        text(f"SELECT key, what FROM problems WHERE stream = :stream AND {among(connection, 'key', 'keys')}"),  # noqa: S608
        {"stream": stream, "keys": values(connection, keys)},
    )
    return {row.key: row.what for row in found}
