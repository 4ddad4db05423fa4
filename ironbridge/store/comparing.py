"""The rows that a comparison of both ends reads: subjects as a flow left them, facts, and the adapters' records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from adapters.engine.copies import is_copy
from adapters.engine.journal import Guarded, Seen
from ironbridge.store import numbered
from ironbridge.store.bulk import among, values
from ironbridge.store.database import Store
from ironbridge.store.statement import text

_SUBJECT = "subject, seq, state, since, reason, ref, tag, digest, document, doubtful"


class ComparedSubject(NamedTuple):
    """A subject and what its target was confirmed to hold."""

    subject: str
    seq: int
    state: str
    since: float
    reason: str | None
    ref: str | None
    tag: str | None
    digest: bytes | None
    document: bytes | None
    doubtful: bytes | None


class ComparedFact(NamedTuple):
    """A record as the flows know it; `data` is None for a deleted one."""

    version: int
    data: bytes | None
    source: str


class KnownKey(NamedTuple):
    """A living record's key and type, and the system that it comes from."""

    key: str
    entity: str
    source: str


class ComparedRecord(NamedTuple):
    """A record as its adapter remembers it, and how its stream stands; `completed` is seconds since 1970."""

    version: int
    deleted: bool
    fingerprint: bytes | None
    completed: float | None
    held: int
    paused: bool
    problem: str | None


class Brought(NamedTuple):
    """A record that an extract (`region`) of a stream brought."""

    key: str
    stream: str
    region: str


class ReadingTimes(NamedTuple):
    """A stream was last begun and read to its end at these times, in seconds since 1970; 0 for never."""

    started: float
    completed: float
    paused: bool


async def readings(store: Store) -> dict[tuple[str, str], ReadingTimes]:
    """The last reading of every stream, by adapter and name."""
    return {
        (adapter, name): ReadingTimes(started or 0.0, ended or 0.0, bool(paused))
        for adapter, name, started, ended, paused in await _rows(
            store, "SELECT adapter, name, started, completed, paused FROM streams"
        )
    }


async def subjects_after(store: Store, flow: str, after: str, most: int) -> list[ComparedSubject]:
    """The next subjects of a flow behind one."""
    rows = await _rows(
        store,
        f"SELECT {_SUBJECT} FROM subjects WHERE flow = :flow AND subject > :after ORDER BY subject LIMIT :most",  # noqa: S608
        flow=flow, after=after, most=most,
    )  # fmt: skip
    return [ComparedSubject(*row) for row in rows]


async def subjects_of(store: Store, flow: str, subjects: Sequence[str]) -> list[ComparedSubject]:
    """These subjects of a flow, as far as they are there."""
    sql = f"SELECT {_SUBJECT} FROM subjects WHERE flow = :flow AND {{these}}"  # noqa: S608 (our own words)
    return [ComparedSubject(*row) for row in await _among(store, sql, "subject", subjects, flow=flow)]


async def refs_among(store: Store, flow: str, refs: Sequence[str]) -> set[str]:
    """Return those of the target's ids that a subject of the flow has."""
    sql = "SELECT ref FROM subjects WHERE flow = :flow AND {these}"
    return {ref for (ref,) in await _among(store, sql, "ref", refs, flow=flow)}


async def regions_of(store: Store, adapter: str, stream: str) -> set[str]:
    """The names of a stream's regions: its extracts, where it reads files."""
    rows = await _rows(
        store,
        "SELECT r.name FROM regions r JOIN streams s ON s.id = r.stream "
        "WHERE s.adapter = :adapter AND s.name = :stream",
        adapter=adapter, stream=stream,
    )  # fmt: skip
    return {name for (name,) in rows}


async def doubts_of(store: Store, adapter: str, stream: str) -> tuple[list[Guarded], set[str]]:
    """Return what the guard counts and holds in a stream, and the names of its extracts that are copies of others."""
    seen = await _rows(
        store,
        "SELECT r.name, r.digest, r.sweep FROM regions r JOIN streams s ON s.id = r.stream "
        "WHERE s.adapter = :adapter AND s.name = :stream",
        adapter=adapter, stream=stream,
    )  # fmt: skip
    guarded = await _rows(
        store,
        "SELECT g.region, g.what, g.began, g.done, g.base, g.held, g.since, g.allowed FROM guarded g "
        "JOIN streams s ON s.id = g.stream WHERE s.adapter = :adapter AND s.name = :stream",
        adapter=adapter, stream=stream,
    )  # fmt: skip
    copies = {name for name, digest, sweep in seen if is_copy(Seen(digest, sweep))}
    return [Guarded(*entry) for entry in guarded], copies


async def living_after(store: Store, after: str, most: int) -> list[KnownKey]:
    """The next living records behind a key."""
    rows = await _rows(
        store,
        "SELECT key, entity, source FROM facts WHERE key > :after AND data IS NOT NULL ORDER BY key LIMIT :most",
        after=after, most=most,
    )  # fmt: skip
    return [KnownKey(*row) for row in rows]


async def facts_of(store: Store, keys: Sequence[str]) -> dict[str, ComparedFact]:
    """The facts of these keys."""
    found = await _among(store, "SELECT key, version, data, source FROM facts WHERE {these}", "key", keys)
    return {key: ComparedFact(*fact) for key, *fact in found}


async def records_of(store: Store, keys: Sequence[str]) -> dict[str, ComparedRecord]:
    """The adapters' records of these keys."""
    found = await _among(
        store,
        "SELECT r.key, r.kept, r.version, r.deleted, r.fingerprint, s.completed, s.held, s.paused, p.what FROM streams s "
        "JOIN records r ON r.stream = s.id LEFT JOIN problems p ON p.stream = r.stream AND p.key = r.key "
        "WHERE {these} OR (r.kept IS NOT NULL AND {named})",
        "r.key",
        keys,
    )
    return {kept or key: ComparedRecord(*row) for key, kept, *row in found}


async def names_of(store: Store, adapter: str, keys: Collection[str]) -> Mapping[str, str]:
    """The keys that records of an adapter keep whose rows have these keys by now."""
    async with store.read() as connection:
        return await numbered.kept(connection, adapter, keys) if await numbered.keeps(connection, adapter) else {}


async def brought_by_extracts(store: Store, adapter: str, keys: Sequence[str]) -> list[Brought]:
    """Return the extract that brought each of these living records of an adapter."""
    found = await _among(
        store,
        "SELECT r.key, s.name, r.region FROM records r JOIN streams s ON s.id = r.stream "
        "WHERE s.adapter = :adapter AND r.region IS NOT NULL AND NOT r.deleted AND {these}",
        "r.key", keys, adapter=adapter,
    )  # fmt: skip
    return [Brought(*row) for row in found]


async def _among(store: Store, sql: str, column: str, items: Sequence[str], **bound: Any) -> Sequence[Any]:
    """The rows of a statement in which `{these}` stands for: the column is one of the items."""
    if not items:
        return []
    async with store.read() as connection:
        these, named = among(connection, column, "items"), among(connection, "r.kept", "items")
        statement = text(sql.replace("{these}", these).replace("{named}", named))
        return (await connection.execute(statement, bound | {"items": values(connection, items)})).fetchall()


async def _rows(store: Store, sql: str, **bound: Any) -> Sequence[Any]:
    async with store.read() as connection:
        return (await connection.execute(text(sql), bound)).fetchall()
