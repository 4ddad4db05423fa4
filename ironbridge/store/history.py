"""
Keeps earlier versions, and the names by which records are known: filled as events are taken in, bounded by `retention`.

A fact's earlier versions are kept by a trigger of the database when a newer one takes its place (see the migration), so
that a first load pays nothing for them. What several versions of one poll skip is put beside them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from pydantic_core import from_json
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical import ENTITIES, Event
from canonical.entity import without_controls
from ironbridge.store.bulk import among, put, values
from ironbridge.store.database import Store
from ironbridge.store.statement import text
from ironbridge.store.tables import identifiers, versions

_VERSION = ("key", "version", "entity", "at", "traceparent", "data")


@cache
def _fields(entity: str) -> tuple[tuple[str, str], ...]:
    """The fields of `known_by`, one in a list of parts as `(list, field)`, any other as `(field, "")`."""
    known = ENTITIES[entity].known_by if entity in ENTITIES else ()
    parts = (path.partition("[].") for path in known)
    return tuple((outer, inner) for outer, _, inner in parts)


def plainly(words: str) -> str:
    """An identifier as it is kept and looked for: people write them with blanks, and in either case."""
    return "".join(words.split()).upper()


def known_by(entity: str, data: bytes) -> set[str]:
    """The values by which people look a record up, `canonical.Entity.known_by`; none of an event that is no such entity."""
    found: set[str] = set()
    if fields := _fields(entity):
        try:
            record = from_json(without_controls(data))
            for name, part in fields:
                if (value := record.get(name)) is not None:
                    found.update(plainly(v) for v in ([value] if not part else [each[part] for each in value]))
        except (ValueError, TypeError, AttributeError, LookupError):
            return set()  # somebody else published it; the flows park its subject
    return found


class Names:
    """
    Keeps what records are known by. What it has kept lately it does not keep again: a record changes often, its numbers
    hardly ever. One transaction at a time.
    """

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._kept: dict[str, int] = {}
        self._seen: dict[str, int] = {}

    async def keep(self, connection: AsyncConnection, newest: Iterable[Event]) -> None:
        fresh: list[tuple[str, str]] = []
        seen: dict[str, int] = {}
        for event in newest:
            if event.data is None or not (names := known_by(event.entity, event.data)):
                continue
            digest = hash(frozenset(names))
            if self._kept.get(event.key) != digest:
                seen[event.key] = digest
                fresh += [(name, event.key) for name in names]
        await put(connection, identifiers, ("value", "key"), sorted(fresh), {})
        self._seen = seen

    def kept(self) -> None:
        """Remember that the names kept last are committed."""
        if len(self._kept) > self._most:
            self._kept.clear()
        self._kept |= self._seen


async def passed(connection: AsyncConnection, events: Iterable[Event], newest: Mapping[str, Event]) -> None:
    """Keep the versions that are no longer the newest as they arrive."""
    old = [e for e in events if e.version < newest[e.key].version]
    rows = {(e.key, e.version): (e.key, e.version, e.entity, e.time.timestamp(), e.traceparent, e.data) for e in old}
    await put(connection, versions, _VERSION, [rows[place] for place in sorted(rows)], {})


@dataclass(frozen=True, slots=True)
class Keep:
    """Says how long earlier things are kept: versions for so many days and so many a record, attempts for so many days."""

    version_days: float
    versions: int
    attempt_days: float


class Retention:
    """
    Takes away what is older than it may be, a small piece at each call, round and round. Each flow worker has one; that
    several do the same piece does no harm.
    """

    def __init__(self, store: Store, keep: Keep, *, piece: int = 1000) -> None:
        self._store = store
        self._keep = keep
        self._piece = piece
        self._after = ("", 0)
        self._name = ("", "")

    async def sweep(self) -> int:
        """Take one piece of each table; how many rows went."""
        return await self._attempts() + await self._versions() + await self._identifiers()

    async def _attempts(self) -> int:
        # In the order of their numbers they are in the order of time, near enough: the first piece tells.
        cutoff = self._store.clock() - self._keep.attempt_days * 86400
        async with self._store.write() as connection:
            gone = await connection.execute(
                text(
                    "DELETE FROM attempts WHERE id IN (SELECT id FROM (SELECT id, at FROM attempts ORDER BY id "
                    "LIMIT :piece) AS oldest WHERE at < :cutoff)"
                ),
                {"piece": self._piece, "cutoff": cutoff},
            )
            return int(gone.rowcount)

    async def _versions(self) -> int:
        cutoff = self._store.clock() - self._keep.version_days * 86400
        async with self._store.write() as connection:
            found = await connection.execute(
                text(
                    # Two comparisons, so that every planner seeks in the key.
                    "SELECT v.key, v.version, v.at, f.version, (SELECT count(*) FROM (SELECT 1 FROM versions n "
                    "WHERE n.key = v.key AND n.version > v.version LIMIT :keep) AS newer) "
                    "FROM versions v LEFT JOIN facts f ON f.key = v.key "
                    "WHERE v.key >= :key AND (v.key > :key OR v.version > :version) "
                    "ORDER BY v.key, v.version LIMIT :piece"
                ),
                {"key": self._after[0], "version": self._after[1], "piece": self._piece, "keep": self._keep.versions},
            )
            page = found.fetchall()
            self._after = (page[-1][0], page[-1][1]) if len(page) == self._piece else ("", 0)
            old = [
                {"key": key, "version": version}
                for key, version, at, newest, newer in page
                if at < cutoff or newest is None or newer >= self._keep.versions
            ]
            if old:
                await connection.execute(text("DELETE FROM versions WHERE key = :key AND version = :version"), old)
            return len(old)

    async def _identifiers(self) -> int:
        """Forget a number once no version that is kept has it."""
        async with self._store.write() as connection:
            found = await connection.execute(
                text(
                    "SELECT value, key FROM identifiers WHERE value >= :value AND (value > :value OR key > :key) "
                    "ORDER BY value, key LIMIT :piece"
                ),
                {"value": self._name[0], "key": self._name[1], "piece": self._piece},
            )
            page = [(value, key) for value, key in found.fetchall()]
            self._name = page[-1] if len(page) == self._piece else ("", "")
            named = await _named(connection, [key for _, key in page])
            stale = [{"value": value, "key": key} for value, key in page if value not in named.get(key, ())]
            if stale:
                await connection.execute(text("DELETE FROM identifiers WHERE value = :value AND key = :key"), stale)
            return len(stale)


async def _named(connection: AsyncConnection, keys: Sequence[str]) -> dict[str, set[str]]:
    """Return the names by which records are known, in any version that is kept."""
    named: dict[str, set[str]] = {}
    for table in ("facts", "versions"):
        found = await connection.execute(
            text(
                f"SELECT key, entity, data FROM {table} WHERE data IS NOT NULL AND {among(connection, 'key', 'keys')}"  # noqa: S608
            ),
            {"keys": values(connection, sorted(set(keys)))},
        )
        for key, entity, data in found.fetchall():
            named.setdefault(key, set()).update(known_by(entity, data))
    return named
