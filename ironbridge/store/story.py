"""All that the tables have of one record, and the keys of records that somebody may mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from flows.engine.ledger import unpack
from flows.port import Fact, Grouping
from ironbridge.store.bulk import among, values
from ironbridge.store.database import Store
from ironbridge.store.rows import row_of, rows
from ironbridge.store.standing import StuckRecord, stuck
from ironbridge.store.statement import text


@dataclass(frozen=True, slots=True)
class PublishedRecord:
    """A record as an adapter knows it: its newest version (0: never published), and where the log holds that."""

    adapter: str
    stream: str
    entity: str
    owner: str | None
    version: int
    deleted: bool
    topic: str | None
    partition: int | None
    offset: int | None


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """One version of a record; `at` is when it was observed, in seconds since 1970, `data` its canonical JSON."""

    entity: str
    owner: str | None
    version: int
    at: float
    data: bytes | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Tried:
    """One attempt to write a subject; `at` is seconds since 1970."""

    at: float
    outcome: str
    detail: str | None
    trace: str | None


@dataclass(frozen=True, slots=True)
class DocumentName:
    """A document's name is what the target calls it: its kind and its number."""

    kind: str
    number: str


@dataclass(frozen=True, slots=True)
class SubjectStory:
    """
    One flow's subject and its newest attempts, newest first. `changes` counts the events that touched it, `confirmed` is
    when the target last confirmed it (seconds since 1970), `holds` whether the target holds a document of it.
    """

    flow: str
    subject: str
    state: str
    reason: str | None
    changes: int
    attempts: int
    ref: str | None
    confirmed: float | None
    holds: bool
    document: DocumentName | None
    tries: Sequence[Tried] = ()


@dataclass(frozen=True, slots=True)
class OwnedRecord:
    """A record that belongs to another."""

    key: str
    entity: str
    version: int


@dataclass(frozen=True, slots=True)
class RecordStory:
    """One record: `versions` are the earlier ones, oldest first; `facts` the newest one, if there is any."""

    published: Sequence[PublishedRecord]
    versions: Sequence[KnownVersion]
    facts: Sequence[KnownVersion]
    subjects: Sequence[SubjectStory]
    owns: Sequence[OwnedRecord]
    stuck: Sequence[StuckRecord]


async def story(store: Store, key: str) -> RecordStory:
    """All that the state has of a record."""
    async with store.read() as connection:
        published = await _published(connection, key)
        versions, facts = await _versions(connection, key)
        named = Fact("", key, (facts[0].owner if facts else None) or key, 0, b"")
        subjects = await _subjects(connection, key, sorted(Grouping.subjects_of(named)))
        return RecordStory(
            published, versions, facts, subjects, await _owned(connection, key), await stuck(connection, key)
        )


async def _published(connection: AsyncConnection, key: str) -> list[PublishedRecord]:
    found = await connection.execute(
        text(
            'SELECT s.adapter, s.name AS stream, r.entity, r.owner, r.version, r.deleted, r.topic, r."partition", r."offset" '
            "FROM streams s JOIN records r ON r.stream = s.id WHERE (r.key = :key AND r.kept IS NULL) OR r.kept = :key"
        ),
        {"key": key},
    )
    return rows(PublishedRecord, found)


async def _versions(connection: AsyncConnection, key: str) -> tuple[list[KnownVersion], list[KnownVersion]]:
    found = await connection.execute(
        text(
            "SELECT 0 AS now, entity, NULL AS owner, version, at, data, traceparent FROM versions WHERE key = :key UNION "
            "ALL SELECT 1, entity, owner, version, at, data, traceparent FROM facts WHERE key = :key ORDER BY now, version"
        ),
        {"key": key},
    )
    every = [(row.pop("now"), row_of(KnownVersion, row)) for row in map(dict, found.mappings())]
    return [row for now, row in every if not now], [row for now, row in every if now]


async def _subjects(connection: AsyncConnection, key: str, subjects: Sequence[str]) -> list[SubjectStory]:
    found = await connection.execute(
        text(
            "SELECT flow, subject, state, reason, changes, attempts, ref, confirmed, "  # noqa: S608 (our own words)
            "digest IS NOT NULL AS holds, document "
            f"FROM flows f JOIN subjects s ON s.flow = f.name WHERE {among(connection, 's.subject', 'subjects')} "
            "ORDER BY flow, subject"
        ),
        {"subjects": values(connection, subjects)},
    )
    every = [row_of(SubjectStory, row, document=_named(row["document"])) for row in found.mappings()]
    # What a flow makes of its owner is the story of what it owns only where the flow writes them as one.
    alone = {row.flow for row in every if row.subject == key}
    return [
        replace(row, tries=await _tries(connection, row))
        for row in every
        if row.subject == key or row.flow not in alone
    ]


def _named(packed: bytes | None) -> DocumentName | None:
    document = unpack(packed) if packed else None
    return None if document is None else DocumentName(document.kind, document.number)


async def _tries(connection: AsyncConnection, of: SubjectStory) -> list[Tried]:
    found = await connection.execute(
        text(
            "SELECT at, outcome, detail, trace FROM attempts WHERE flow = :flow AND subject = :subject "
            "ORDER BY id DESC LIMIT 50"
        ),
        {"flow": of.flow, "subject": of.subject},
    )
    return rows(Tried, found)


async def _owned(connection: AsyncConnection, key: str) -> list[OwnedRecord]:
    found = await connection.execute(
        text(
            "SELECT key, entity, version FROM facts WHERE owner = :key AND key <> :key AND data IS NOT NULL "
            "ORDER BY entity, key LIMIT 200"
        ),
        {"key": key},
    )
    return rows(OwnedRecord, found)


async def adapters(store: Store) -> list[str]:
    """The adapters that have streams in the state."""
    async with store.read() as connection:
        return [name for (name,) in await connection.execute(text("SELECT DISTINCT adapter FROM streams"))]


async def named(store: Store, guesses: Sequence[str], plainly: str, refs: Sequence[str], most: int) -> list[str]:
    """
    The keys of records that are one of the `guesses`, that are known by an identifier (`plainly`), or that a target knows
    under one of the `refs`. All by indexes.
    """
    async with store.read() as connection:
        found = await connection.execute(
            text(
                f"SELECT key FROM facts WHERE {among(connection, 'key', 'guesses')} "  # noqa: S608 (our own words)
                "UNION SELECT COALESCE(r.kept, r.key) FROM streams s JOIN records r ON r.stream = s.id "
                f"WHERE {among(connection, 'r.key', 'guesses')} "
                "UNION SELECT p.key FROM streams s JOIN problems p ON p.stream = s.id "
                f"WHERE {among(connection, 'p.key', 'guesses')} "
                "UNION SELECT key FROM identifiers WHERE value = :plainly "
                "UNION SELECT s.subject FROM flows f JOIN subjects s ON s.flow = f.name "
                f"WHERE {among(connection, 's.subject', 'guesses')} "
                "UNION SELECT s.subject FROM flows f JOIN subjects s ON s.flow = f.name AND s.ref IS NOT NULL "
                f"WHERE {among(connection, 's.ref', 'ids')} ORDER BY 1 LIMIT :most"
            ),
            {
                "guesses": values(connection, guesses), "plainly": plainly, "most": most,
                "ids": values(connection, refs),
            },
        )  # fmt: skip
        return [str(key) for (key,) in found]
