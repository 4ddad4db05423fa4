"""
The legacy systems against what the flow knows: every row is read again and mapped, and held against its fact.

Nothing of the adapter's own memory is believed: it only serves to say why two sides differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import NamedTuple

from pydantic_core import from_json

from adapters.engine.mapping import fingerprint_of
from adapters.engine.regions import is_place
from canonical.key import entity_of
from ironbridge.operate.insight import differing
from ironbridge.operate.reconcile.certificate import Compared, Disagreement, Kind, Where
from ironbridge.operate.reconcile.look import Look, Source
from ironbridge.operate.reconcile.scratch import PAGE, Scratch
from ironbridge.store import Store, comparing
from ironbridge.store.comparing import ComparedFact, ComparedRecord


class _Read(NamedTuple):
    """A row as one look found it; without a digest it cannot be mapped, and `problem` says why."""

    source: str
    entity: str
    digest: bytes | None
    data: bytes | None
    problem: str | None


class _Suspect(NamedTuple):
    """A record that did not agree at the first look; `before` is the version that was known before the second one."""

    first: _Read | None
    second: _Read | None
    fact: ComparedFact | None
    before: int | None
    memory: ComparedRecord | None

    @property
    def source(self) -> str | None:
        """Say whose it is; None for what is gone on both sides meanwhile."""
        held = self.fact is not None and self.fact.data is not None
        return self.second.source if self.second else self.fact.source if self.fact and held else None

    @property
    def agrees(self) -> bool:
        return self.second is not None and self.second.digest is not None and self.second.digest == _digest(self.fact)

    @property
    def moved(self) -> bool:
        """Tell whether either side changed between the two looks."""
        first, second = (None if read is None else (read.digest, read.problem) for read in (self.first, self.second))
        return first != second or self.before != (self.fact.version if self.fact else None)

    @property
    def kind(self) -> Kind:
        if self.second is None:
            return Kind.EXTRA
        if self.fact is None or self.fact.data is None:
            return Kind.MISSING
        behind = self.memory is not None and fingerprint_of(self.fact.data) == self.memory.fingerprint
        return Kind.STALE if self.second.digest is None or behind or self._ahead else Kind.DIFFERENT

    @property
    def _ahead(self) -> bool:
        """Tell whether more was published than the flow has taken in."""
        return self.memory is not None and self.memory.version > (self.fact.version if self.fact else 0)

    @property
    def why(self) -> str:
        memory, kind = self.memory, self.kind
        if problem := (self.second.problem if self.second else None) or (memory.problem if memory else None):
            return f"quarantined: {problem}"
        if memory is None:
            return "no adapter has published it" if kind is Kind.EXTRA else "no adapter has read it yet"
        if self._ahead:
            return f"published as version {memory.version}, not yet taken in: the flow is behind, or stopped"
        if kind is Kind.EXTRA and memory.held:
            return "its deletion is held back: see `ironbridge held`"
        if kind is Kind.DIFFERENT:
            return "the state was changed by other hands: `ironbridge backfill` its stream"
        ended = memory.completed
        read = "never to its end" if ended is None else datetime.fromtimestamp(ended, UTC).isoformat(timespec="seconds")
        return f"its stream has not been read since: last {read}{', and is paused' if memory.paused else ''}"


class Legacy:
    """One flow's legacy systems; `entities` are the names of those types that the flow looks at."""

    def __init__(self, store: Store, scratch: Scratch, sources: Sequence[Source], entities: set[str]) -> None:
        self._store = store
        self._scratch = scratch
        self._sources = sources
        self._entities = entities
        self.parts = {s.adapter.name: Compared(Where.CANONICAL, s.adapter.name, _HOW) for s in sources}
        self.differences: list[Disagreement] = []
        self._names = set(self.parts)
        self._apart: Counter[str] = Counter()
        self._swept: set[tuple[str, str]] = set()  # the streams of which a look shows all records that there are

    # -- reading -------------------------------------------------------------------------------------------------

    async def read(self, look: int, patience: float) -> None:
        """
        Read every stream to its end; at the second look only what is under suspicion is kept.

        :raises UnavailableError: a legacy system does not answer.
        """
        for source in self._sources:
            part = self.parts[source.adapter.name]
            at = Look(self._store, self._scratch, look, source, self._entities, part, patience)
            for stream in source.streams:
                await stream.read_by(at)
            self._swept |= {(source.adapter.name, name) for name in at.swept}

    # -- the first look ------------------------------------------------------------------------------------------

    async def suspect(self) -> int:
        """Put under suspicion what does not agree at the first look; how many records that is."""
        after, statement = "", "SELECT key, digest, source FROM legacy WHERE look = 1 AND key > ? ORDER BY key LIMIT ?"
        while rows := await self._scratch.rows(statement, after, PAGE):
            after = rows[-1][0]
            facts = await comparing.facts_of(self._store, [row[0] for row in rows])
            for name, count in Counter(source for _, _, source in rows).items():
                self.parts[name].looked += count
            apart = [key for key, digest, _ in rows if digest is None or _digest(facts.get(key)) != digest]
            await self._scratch.suspect("legacy", apart)
        async for source, keys in self._known():
            await self._beyond(source, keys)
        return await self._scratch.count("SELECT count(*) FROM suspects WHERE side = 'legacy'")

    async def _known(self) -> AsyncIterator[tuple[Source, dict[str, str]]]:
        """All that the flow knows from these systems, some at a time: keys with their types."""
        sources, others = {s.adapter.name: s for s in self._sources}, Counter[str]()
        after = ""
        while rows := await comparing.living_after(self._store, after, PAGE):
            after = rows[-1].key
            found: dict[str, dict[str, str]] = {}
            for key, entity, source in rows:
                if entity in self._entities and source in sources:
                    found.setdefault(source, {})[key] = entity
                elif entity in self._entities:
                    others[source] += 1
            for name, keys in found.items():
                yield sources[name], keys
        for name, count in others.items():
            self.parts[name] = part = Compared(Where.CANONICAL, name, "not compared: the settings name no such adapter")
            part.untold = count

    async def _beyond(self, source: Source, keys: dict[str, str]) -> None:
        """Suspect what is known and was not read, but for what a reading need not have."""
        asked = "SELECT key FROM legacy WHERE look = 1 AND key IN (SELECT value FROM json_each(?))"
        read = {key for (key,) in await self._scratch.among(asked, list(keys))}
        unread = [key for key, entity in keys.items() if key not in read and entity in source.entities - source.lasting]
        silent = sum(1 for key, entity in keys.items() if key not in read and entity in source.lasting)
        elsewhere = await self._elsewhere(source, unread)
        pushed = sum(map(is_place, elsewhere.values()))
        await self._scratch.suspect("legacy", [key for key in unread if key not in elsewhere])
        part = self.parts[source.adapter.name]
        part.looked += len(unread) - len(elsewhere)
        extracts = len(elsewhere) - pushed
        _note(part, extracts, "records come from extracts that lie here no longer: nothing is said of them")
        _note(part, pushed, "records were pushed by their system, which cannot be asked for them: nothing is said of them")
        _note(part, silent, "records are in no extract that lies here, which for their kind says nothing")

    async def _elsewhere(self, source: Source, keys: Sequence[str]) -> dict[str, str]:
        """Find the suspects whose extract, or message, is not there to be read again: each with its name or place."""
        streams = [stream.name for stream in source.streams if (source.adapter.name, stream.name) not in self._swept]
        if not streams or not keys:
            return {}
        read = set(await self._scratch.rows("SELECT stream, name FROM extracts WHERE look = 1"))
        found = await comparing.brought_by_extracts(self._store, source.adapter.name, keys)
        return {e.key: e.region for e in found if e.stream in streams and (e.stream, e.region) not in read}

    # -- the second look -----------------------------------------------------------------------------------------

    async def unsettled(self) -> bool:
        """Tell whether something under suspicion was published and is not yet taken in."""
        async for keys in self._scratch.suspects("legacy"):
            facts, memories = await comparing.facts_of(self._store, keys), await comparing.records_of(self._store, keys)
            if any(m.version > (facts[key].version if key in facts else 0) for key, m in memories.items()):
                return True
        return False

    async def remember(self) -> None:
        """Remember which version of each suspect is known before the second look: what moves during it is not judged."""
        async for keys in self._scratch.suspects("legacy"):
            facts = await comparing.facts_of(self._store, keys)
            rows = [(fact.version, key) for key, fact in facts.items()]
            await self._scratch.put("UPDATE suspects SET version = ? WHERE side = 'legacy' AND key = ?", rows)

    async def judge(self) -> None:
        """Say what has gone on not to agree; what moved between the two looks is only counted."""
        async for keys in self._scratch.suspects("legacy"):
            looks = await self._scratch.among(
                "SELECT look, key, source, entity, digest, data, problem FROM legacy "
                "WHERE key IN (SELECT value FROM json_each(?))",
                keys,
            )
            rows = {(look, key): _Read(*row) for look, key, *row in looks}
            asked = (
                "SELECT key, version FROM suspects WHERE side = 'legacy' AND key IN (SELECT value FROM json_each(?))"
            )
            before = dict(await self._scratch.among(asked, keys))
            facts, memories = await comparing.facts_of(self._store, keys), await comparing.records_of(self._store, keys)
            for key in keys:
                suspect = _Suspect(
                    rows.get((1, key)), rows.get((2, key)), facts.get(key), before[key], memories.get(key)
                )
                self._judged(key, suspect)
        for name, part in self.parts.items():
            part.agreed = part.looked - self._apart[name] - part.moved if name in self._names else 0

    def _judged(self, key: str, suspect: _Suspect) -> None:
        source = suspect.source
        if source is None or suspect.agrees:
            return
        if suspect.moved:
            self.parts[source].moved += 1
            return
        self._apart[source] += 1
        fields: tuple[str, ...] = ()
        row, fact = suspect.second, suspect.fact
        if row is not None and row.data is not None and fact is not None and fact.data is not None:
            fields = differing(from_json(fact.data), from_json(row.data))
        what = row.entity if row else entity_of(key)
        self.differences.append(Disagreement(Where.CANONICAL, suspect.kind, key, what, fields, suspect.why))


_HOW = "every row was read again, mapped, and held against what the flow knows"


def _digest(fact: ComparedFact | None) -> bytes | None:
    return None if fact is None or fact.data is None else blake2b(fact.data, digest_size=16).digest()


def _note(part: Compared, count: int, what: str) -> None:
    """Add to a note's number."""
    if not count:
        return
    for n, had in enumerate(part.notes):
        number, _, rest = had.partition(" ")
        if rest == what:
            part.notes[n] = f"{int(number) + count} {what}"
            return
    part.notes.append(f"{count} {what}")


def covering(sources: Iterable[Source], entities: set[str]) -> list[Source]:
    """Return the sources, with their streams, that publish some of these types."""
    cut = [Source(s.adapter, [t for t in s.streams if entities & {e.type_name for e in t.entities}]) for s in sources]
    return [source for source in cut if source.streams]
