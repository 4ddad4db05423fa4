"""Remembers for an adapter what it published, in the state database (`adapters.engine.journal.Memory`)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from secrets import randbits
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.engine.journal import AGAIN, Guarded, Known, Partition, Progress, Seen, Step, Watermark
from canonical.errors import FencedError, UnavailableError
from ironbridge.store import numbered
from ironbridge.store.bulk import among, put, values
from ironbridge.store.causes import save_problems
from ironbridge.store.database import Store
from ironbridge.store.extracts import save_accounts
from ironbridge.store.guarded import GUARDED, allowed, save
from ironbridge.store.statement import text
from ironbridge.store.tables import offsets, records, regions

_RECORD = (
    "stream", "key", "entity", "owner", "region", "row_digest", "fingerprint", "version", "deleted", "lost", "topic",
    "partition", "offset", "filled", "former", "kept",
)  # fmt: skip
_KNOWN = ", ".join(f'"{column}"' for column in _RECORD[1:])


class StoredMemory:
    """One adapter's memory. A stream's number is made at its first use and kept."""

    def __init__(self, store: Store, adapter: str) -> None:
        self._store = store
        self._adapter = adapter
        self._numbers: dict[str, int] = {}
        self._claim: int | None = None
        self._steps = 0

    async def claimed(self) -> int:
        found = await self._rows("SELECT claims FROM copies WHERE adapter = :adapter", adapter=self._adapter)
        return int(found[0][0]) if found else 0

    async def claim(self, had: int) -> bool:
        async with self._store.write() as connection:
            # A random beginning tells it from a copy that claimed it alike before the state went back.
            begin = randbits(40)
            bound = {"adapter": self._adapter, "had": had, "steps": begin}
            claimed = await connection.execute(
                text(
                    "INSERT INTO copies (adapter, claims, steps) VALUES (:adapter, 1, :steps) "
                    "ON CONFLICT (adapter) DO UPDATE SET claims = copies.claims + 1, steps = excluded.steps "
                    "WHERE copies.claims = :had "
                    "RETURNING claims"
                ),
                bound,
            )
            ours = claimed.scalar_one_or_none() == had + 1
        if ours:
            self._claim, self._steps = had + 1, begin
            self._numbers.clear()  # a state that went back may have given them to others
        return ours

    async def current(self) -> bool:
        found = await self._rows("SELECT claims, steps FROM copies WHERE adapter = :adapter", adapter=self._adapter)
        return [tuple(row) for row in found] == [(self._claim, self._steps)]

    async def saved(self) -> datetime | None:
        found = await self._rows("SELECT at FROM copies WHERE adapter = :adapter", adapter=self._adapter)
        return _at(found[0][0]) if found else None

    async def _counted(self, connection: AsyncConnection, at: datetime | None) -> None:
        """Count a save. A save that comes before a claim makes the claim wait; one that comes after it is refused."""
        if self._claim is None:
            return
        counted = await connection.execute(
            text(
                "UPDATE copies SET steps = steps + 1, at = COALESCE(:at, at) "
                "WHERE adapter = :adapter AND claims = :claim AND steps = :steps"
            ),
            {"adapter": self._adapter, "claim": self._claim, "steps": self._steps, "at": at and at.timestamp()},
        )
        if counted.rowcount == 1:
            return
        found = await connection.execute(
            text("SELECT claims FROM copies WHERE adapter = :adapter"), {"adapter": self._adapter}
        )
        if (found.scalar_one_or_none() or 0) > self._claim:
            raise FencedError(self._adapter, "a newer copy of it has taken over", fix="stop one of the two")
        raise UnavailableError(self._adapter, "the state has gone back to an older one: the adapter first catches up")

    async def offsets(self) -> dict[Partition, Watermark]:
        found = await self._rows(
            'SELECT topic, "partition", next, last, since, first FROM offsets WHERE adapter = :adapter',
            adapter=self._adapter,
        )
        return {(topic, n): Watermark(behind, last or "", since, first or "") for topic, n, behind, last, since, first in found}

    async def progress(self, stream: str) -> Progress:
        found = await self._rows(
            "SELECT sweep, after, tail, started, completed, read, published, held, error FROM streams "
            "WHERE id = :stream",
            stream=await self._number(stream),
        )
        sweep, after, tail, started, completed, read, published, held, error = found[0]
        return Progress(
            sweep, _position(after), _position(tail), _at(started), _at(completed), read, published, held, error
        )

    async def regions(self, stream: str) -> dict[str, Seen]:
        found = await self._rows(
            "SELECT name, digest, sweep FROM regions WHERE stream = :stream", stream=await self._number(stream)
        )
        return {name: Seen(digest, sweep) for name, digest, sweep in found}

    async def members(self, stream: str, regions: Iterable[str]) -> list[Known]:
        return [_known(row) for row in await self._among(_KNOWN, "records", stream, "region", list(regions))]

    async def members_after(self, stream: str, regions: Sequence[str], after: str, most: int) -> list[Known]:
        number = await self._number(stream)
        async with self._store.read() as connection:
            condition = among(connection, "region", "regions")
            found = await connection.execute(
                text(
                    f"SELECT {_KNOWN} FROM records WHERE stream = :stream AND {condition} AND key > :after "  # noqa: S608
                    "ORDER BY key LIMIT :most"
                ),
                {"stream": number, "regions": values(connection, regions), "after": after, "most": most},
            )
            return [_known(row) for row in found.fetchall()]

    async def lookup(self, stream: str, keys: Sequence[str]) -> list[Known]:
        if not keys:
            return []
        number = await self._number(stream)
        async with self._store.read() as connection:
            return [_known(row) for row in await numbered.lookup(connection, _KNOWN, number, keys)]

    async def quarantined(self, stream: str, keys: Sequence[str]) -> set[str]:
        number = await self._number(stream)
        # Mostly there are few or none: then they are sooner sent to us than all keys to them.
        few = await self._rows("SELECT key FROM problems WHERE stream = :stream LIMIT 500", stream=number)
        if len(few) < 500:
            return {key for (key,) in few}.intersection(keys)
        return {key for (key,) in await self._among("key", "problems", stream, "key", keys)}

    async def doubled(self, stream: str) -> set[str]:
        asked = "SELECT key FROM problems WHERE stream = :stream AND key LIKE :again"
        return {key for (key,) in await self._rows(asked, stream=await self._number(stream), again=f"%{AGAIN}")}

    async def live(self, stream: str) -> int:
        found = await self._rows(
            "SELECT count(*) FROM records WHERE stream = :stream AND version > 0 AND NOT deleted",
            stream=await self._number(stream),
        )
        return int(found[0][0])

    async def guarded(self, stream: str) -> list[Guarded]:
        found = await self._rows(
            f"SELECT {GUARDED} FROM guarded WHERE stream = :stream",  # noqa: S608 (our own names)
            stream=await self._number(stream),
        )
        return [replace(Guarded(*row), was=row.allowed) for row in found]

    async def filled(self, stream: str, region: str | None = None) -> Mapping[bytes | None, int]:
        found = await self._rows(
            "SELECT filled, count(*) FROM records WHERE stream = :stream AND version > 0 AND NOT deleted "  # noqa: S608
            f"{'' if region is None else 'AND region = :region '}GROUP BY filled",
            stream=await self._number(stream),
            **({} if region is None else {"region": region}),
        )
        return {filled: int(count) for filled, count in found}

    async def missing(self, stream: str, sweep: int, lasting: Collection[str]) -> int:
        published = "count(CASE WHEN version > 0 AND NOT deleted THEN 1 END)"
        return int((await self._unseen(published, "", stream, sweep, lasting))[0][0])

    async def unseen(self, stream: str, sweep: int, lasting: Collection[str]) -> list[Known]:
        return [_known(row) for row in await self._unseen(_KNOWN, " LIMIT 2000", stream, sweep, lasting)]

    async def missing_after(
        self, stream: str, sweep: int, lasting: Collection[str], after: str, most: int
    ) -> list[Known]:
        page = " AND version > 0 AND NOT deleted AND key > :after ORDER BY key LIMIT :most"
        found = await self._unseen(_KNOWN, page, stream, sweep, lasting, after=after, most=most)
        return [_known(row) for row in found]

    async def _unseen(
        self, what: str, which: str, stream: str, sweep: int, lasting: Collection[str], **bound: Any
    ) -> Sequence[Any]:
        number = await self._number(stream)
        async with self._store.read() as connection:
            # A deleted record with a region came back as a row that cannot be mapped; one of version 0 has no type yet.
            found = await connection.execute(
                text(
                    f"SELECT {what} FROM records WHERE stream = :stream AND (NOT deleted OR region IS NOT NULL) "  # noqa: S608
                    f"AND (version = 0 OR NOT {among(connection, 'entity', 'lasting')}) "
                    "AND (region IS NULL OR region NOT IN "
                    f"(SELECT name FROM regions WHERE stream = :stream AND sweep >= :sweep)){which}"
                ),
                {"stream": number, "sweep": sweep, "lasting": values(connection, list(lasting)), **bound},
            )
            return found.fetchall()

    async def strays(self, stream: str, fingerprints: Collection[bytes] | None, most: int) -> list[Known]:
        number = await self._number(stream)
        async with self._store.read() as connection:
            return [_known(row) for row in await numbered.strays(connection, _KNOWN, number, fingerprints, most)]

    async def kept(self, keys: Collection[str]) -> Mapping[str, str]:
        async with self._store.read() as connection:
            return await numbered.kept(connection, self._adapter, keys)

    async def published(self, keys: Collection[str]) -> set[str]:
        async with self._store.read() as connection:
            return await numbered.published(connection, self._adapter, keys)

    async def keeps(self) -> bool:
        async with self._store.read() as connection:
            return await numbered.keeps(connection, self._adapter)

    async def in_partition(self, partition: Partition) -> AsyncIterator[tuple[str, list[Known]]]:
        streams = await self._rows("SELECT name, id FROM streams WHERE adapter = :adapter", adapter=self._adapter)
        for name, number in streams:
            after: str | None = ""
            while after is not None:
                found = await self._rows(
                    f"SELECT {_KNOWN} FROM records WHERE stream = :stream AND topic = :topic "  # noqa: S608
                    'AND "partition" = :partition AND key > :after ORDER BY key LIMIT 1000',
                    stream=number,
                    topic=partition[0],
                    partition=partition[1],
                    after=after,
                )
                if found:
                    yield name, [_known(row) for row in found]
                after = found[-1].key if found else None

    async def save(self, stream: str, step: Step) -> None:
        number = await self._number(stream) if stream else 0
        async with self._store.write() as connection:
            await self._counted(connection, step.at)
            await self._delete(connection, "records", "key", number, step.renamed)
            await put(connection, records, _RECORD, [(number, *_values(known)) for known in step.known])
            rows = [(number, name, seen.digest, seen.sweep) for name, seen in step.regions.items()]
            await put(connection, regions, ("stream", "name", "digest", "sweep"), rows)
            await save_accounts(connection, number, step.accounts)
            await self._delete(connection, "regions", "name", number, step.gone_regions)
            await self._delete(connection, "problems", "key", number, step.mended)
            if step.again is not None:
                await numbered.map_again(connection, self._adapter, step.again)
            await save_problems(connection, number, step.problems, self._store.clock())
            await save(connection, number, step.guarded)
            if step.progress is not None:
                await self._progress(connection, number, step.progress, step.told)
            elif step.told:
                bound = {"told": step.told, "stream": number}
                await connection.execute(text("UPDATE streams SET events = events + :told WHERE id = :stream"), bound)
            await self._offsets(connection, step)
        # Only now: if a save failed, or may have failed, this copy is in doubt and claims the memory again.
        self._steps += self._claim is not None

    async def _offsets(self, connection: AsyncConnection, step: Step) -> None:
        columns = ("adapter", "topic", "partition", "next", "last", "since", "first")
        await put(connection, offsets, columns, [(self._adapter, *p, *mark) for p, mark in step.offsets.items()])
        for topic, number in step.gone_offsets:
            await connection.execute(
                text('DELETE FROM offsets WHERE adapter = :adapter AND topic = :topic AND "partition" = :number'),
                {"adapter": self._adapter, "topic": topic, "number": number},
            )

    async def trouble(self, stream: str, error: str) -> None:
        """Note why a stream does not get on; its next step takes the note away."""
        number = await self._number(stream)
        async with self._store.write() as connection:
            bound = {"error": error, "stream": number}
            await connection.execute(text("UPDATE streams SET error = :error WHERE id = :stream"), bound)

    async def looked(self, stream: str) -> None:
        """Note that a stream has just been looked at to its end, in whichever way."""
        number = await self._number(stream)
        async with self._store.write() as connection:
            bound = {"now": self._store.clock(), "stream": number}
            await connection.execute(text("UPDATE streams SET looked = :now, error = NULL WHERE id = :stream"), bound)

    async def paused(self, stream: str) -> bool:
        """
        Return whether a person has paused a stream. It is asked before each reading, and looks for the stream by its name: a
        state that went back may know it no more, or have given its number to another one.
        """
        asked = "SELECT id, paused FROM streams WHERE adapter = :adapter AND name = :name"
        found = await self._rows(asked, adapter=self._adapter, name=stream)
        self._numbers = {**self._numbers, stream: found[0][0]} if found else {}
        await self._number(stream)  # a stream that is new here is known from now on
        return bool(found and found[0][1])

    async def backfill(self, stream: str) -> float | None:
        """Return when a person asked for the whole stream to be read again; None if nobody did, or the stream is paused."""
        found = await self._rows(
            "SELECT backfill FROM streams WHERE id = :stream AND NOT paused", stream=await self._number(stream)
        )
        return float(found[0][0]) if found and found[0][0] is not None else None

    async def allowed(self, stream: str) -> int:
        """Count the kinds of held changes that a person has let through and that are not published yet."""
        number = await self._number(stream)
        async with self._store.read() as connection:
            return await allowed(connection, number)

    async def backfilled(self, stream: str, asked: float) -> None:
        """That was taken up; somebody may have asked once more since."""
        number = await self._number(stream)
        async with self._store.write() as connection:
            await connection.execute(
                text("UPDATE streams SET backfill = NULL WHERE id = :stream AND backfill = :asked"),
                {"stream": number, "asked": asked},
            )

    async def _progress(self, connection: AsyncConnection, number: int, progress: Progress, told: int) -> None:
        await connection.execute(
            text(
                "UPDATE streams SET sweep = :sweep, after = :after, tail = :tail, started = :started, "
                "completed = :completed, read = :read, published = :published, held = :held, error = :error, "
                "events = events + :told WHERE id = :stream"
            ),
            {
                "stream": number,
                "sweep": progress.sweep,
                "after": None if progress.after is None else json.dumps(progress.after),
                "tail": None if progress.tail is None else json.dumps(progress.tail),
                "started": progress.started and progress.started.timestamp(),
                "completed": progress.completed and progress.completed.timestamp(),
                "read": progress.read,
                "published": progress.published,
                "held": progress.held,
                "error": progress.error,
                "told": told,
            },
        )

    async def _delete(
        self, connection: AsyncConnection, table: str, column: str, number: int, names: Sequence[str]
    ) -> None:
        if names:
            condition = among(connection, column, "names")
            await connection.execute(
                text(f"DELETE FROM {table} WHERE stream = :stream AND {condition}"),  # noqa: S608 (our own names)
                {"stream": number, "names": values(connection, names)},
            )

    async def _among(self, what: str, table: str, stream: str, column: str, items: Sequence[str]) -> Sequence[Any]:
        if not items:
            return []
        number = await self._number(stream)
        async with self._store.read() as connection:
            condition = among(connection, column, "items")
            found = await connection.execute(
                text(f"SELECT {what} FROM {table} WHERE stream = :stream AND {condition}"),  # noqa: S608 (our own names)
                {"stream": number, "items": values(connection, items)},
            )
            return found.fetchall()

    async def _rows(self, sql: str, **bound: Any) -> Sequence[Any]:
        async with self._store.read() as connection:
            return (await connection.execute(text(sql), bound)).fetchall()

    async def _number(self, stream: str) -> int:
        if stream not in self._numbers:
            async with self._store.write() as connection:
                bound = {"adapter": self._adapter, "name": stream}
                await connection.execute(
                    text("INSERT INTO streams (adapter, name) VALUES (:adapter, :name) ON CONFLICT DO NOTHING"), bound
                )
                found = await connection.execute(
                    text("SELECT id FROM streams WHERE adapter = :adapter AND name = :name"), bound
                )
                self._numbers[stream] = found.scalar_one()
        return self._numbers[stream]


def _known(row: Any) -> Known:
    known = Known(*row)
    known.deleted, known.lost = bool(known.deleted), bool(known.lost)
    return known


def _values(known: Known) -> tuple[Any, ...]:
    return (
        known.key, known.entity, known.owner, known.region, known.row_digest, known.fingerprint, known.version,
        known.deleted, known.lost, known.topic, known.partition, known.offset, known.filled, known.former, known.kept,
    )  # fmt: skip


def _position(stored: str | None) -> tuple[int | str, ...] | None:
    return None if stored is None else tuple(json.loads(stored))


def _at(stored: float | None) -> datetime | None:
    return None if stored is None else datetime.fromtimestamp(stored, UTC)
