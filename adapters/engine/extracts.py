"""
One reading of one extract: its records are compared some at a time; the records that it lacks are found at its end.

Neither the file nor all known records are kept in memory: only eight bytes of each record that was met. If several extracts
that lie ready hold a record, the newest of them counts, whatever is read when.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from adapters.engine.ahead import map_changed
from adapters.engine.catchup import closing
from adapters.engine.copies import late, newest
from adapters.engine.difference import Aside, Comparison, Difference, Keys
from adapters.engine.guard import Watch
from adapters.engine.journal import AGAIN, ExtractAccount, Known, Problem, Seen, problem_keys
from adapters.engine.mapping import Made
from adapters.engine.reading import Means
from adapters.engine.regions import LEARNED, Region, extract_mark, region
from adapters.port import Extract, Record, Stream
from canonical.errors import BadRecordError, printable
from canonical.key import key_of

PIECE = 1000
"""Records that are compared and published together: they hold up all other tasks for about 30 ms."""


Listing = tuple[tuple[str, str], ...]
"""The extracts that lie ready: their names and digests, the oldest first."""


class Lying(NamedTuple):
    """An extract among those that lie ready, the oldest first, with the digest that it is known again by."""

    extract: Extract
    digest: bytes
    older: Sequence[Extract] = ()
    newer: Sequence[Extract] = ()
    shared: bool = False
    """Tell whether it holds records that another one was found to hold, too."""
    former: bytes | None = None
    """This is the digest of the file that its records are of."""

    @property
    def listed(self) -> Listing:
        """All extracts that lie ready, this one among them."""
        return listing((*self.older, self.extract, *self.newer))

    @property
    def others(self) -> set[str]:
        """Give the names of the other ones."""
        return {each.name for each in (*self.older, *self.newer)}


def listing(extracts: Iterable[Extract]) -> Listing:
    return tuple((extract.name, extract.digest) for extract in extracts)


def digest_of(extract: Extract, salt: bytes) -> bytes:
    """The digest by which the extract's content is recognised later, if this edition maps it."""
    return blake2b(extract.digest.encode(), digest_size=12, key=salt).digest()


def bad_file(adapter: str, name: str) -> str:
    """The key of an extract's own problem."""
    return key_of(adapter, "file", extract_mark(name))


class ExtractReading:
    """
    Reads an extract to its end: call `compared` for each of its `pieces`, then `lacking`, and `mended` last.

    `read` and `published` count its records and its events. `watch` judges the records and fields that it takes away.
    """

    def __init__(self, means: Means, stream: Stream, lying: Lying, watch: Watch) -> None:
        self.extract = extract = lying.extract
        self._lying = lying
        self._shared = lying.shared
        self._took_from: set[str] = set()  # extracts that held records of the last piece before this one did
        self.read = self.published = 0
        self._means = means
        self._stream = stream
        self._memory = means.memory
        self._watch = watch
        self._mark = extract_mark(extract.name)
        self._names = {extract_mark(e.name): e.name for e in (*lying.older, *lying.newer)}
        self._newer = {e.name for e in lying.newer}
        self._met = Keys()
        self._held = 0  # records that were met and that the last file of this name held, too
        self._doubled: set[str] = set()  # keys that had a second row before, as problems,
        self._again: set[str] = set()  # and the keys that have one now
        self._good = self._bad = 0  # records that are published and in order, and records in quarantine

    def seen(self, digest: bytes | None, sweep: int, *, whole: bool = True) -> Seen:
        """Make the mark that the state keeps of the extract. If it is not `whole`, records of a former file live on."""
        mark = digest if whole else late(digest, self._lying.former)
        return Seen(mark, -sweep if self._shared else sweep)

    @property
    def listed(self) -> Listing:
        """The extracts that lay ready when the reading began, this one among them."""
        return self._lying.listed

    @property
    def cursor(self) -> dict[str, str | int]:
        """The place that the reading has reached; it is saved beside the events in Kafka."""
        return {"extract": self.extract.name, "digest": self.extract.digest, "read": self.read}

    async def pieces(self) -> AsyncIterator[Sequence[Record]]:
        """The extract's portions; a large one is cut into pieces so that the loop does not stand still."""
        accepted = self._watch.accepted(self.extract.name, self.extract.digest)
        despite = self.extract.despite if accepted else None
        async with closing(despite(accepted) if despite else self.extract.portions()) as portions:
            async for portion in portions:
                for start in range(0, len(portion), PIECE):
                    yield portion[start : start + PIECE]

    async def compared(self, records: Sequence[Record]) -> Difference:
        """Compare records with the known ones; a key that was met before, in any piece, has a second row."""
        self.read += len(records)
        here = region(self.extract.name, records, self._means.salt)
        keys = [record.key for record in here.records]
        known = [self._of_this(k) for k in await self._memory.lookup(self._stream.name, keys)]
        here, known = self._counting(here, known)
        keys = [record.key for record in here.records]
        found = await self._compared(here, known, keys)
        self._watch.put_aside(found.aside)
        return found

    def _counting(self, here: Region, known: list[Known]) -> tuple[Region, list[Known]]:
        """Without the records that a newer extract holds."""
        homes = {k.key: self._names.get(k.region, k.region) for k in known if k.region is not None}
        theirs = {key for key, home in homes.items() if home in self._newer}
        lasting = {k.key for k in known if k.entity in self._stream.lasting}
        self._shared = self._shared or not theirs <= lasting
        taken = {home for key, home in homes.items() if key not in theirs | lasting}
        self._took_from = taken - {self.extract.name, LEARNED}
        if not theirs:
            return here, known
        kept = [record for record in here.records if record.key not in theirs]
        return Region(here.name, kept, self._means.salt), [k for k in known if k.key not in theirs]

    async def sharing(self) -> dict[str, Seen]:
        """The marks that the state keeps of the other extracts that held records of the last piece."""
        if not self._took_from:
            return {}
        seen = await self._memory.regions(self._stream.name)
        return {name: Seen(seen[name].digest, -abs(seen[name].sweep)) for name in self._took_from & seen.keys()}

    async def sharers(self) -> list[ExtractReading]:
        """Readings of the other extracts that may hold some of the records which this one lacks, the newest first."""
        seen = await self._memory.regions(self._stream.name)
        others = [e for e in (*self._lying.older, *self._lying.newer) if self._may_share(e, seen.get(e.name))]
        if not others or not await self.lacks():
            return []
        return [ExtractReading(self._means, self._stream, Lying(e, b""), self._watch) for e in reversed(others)]

    def _may_share(self, other: Extract, had: Seen | None) -> bool:
        """Tell whether it was found to share records, or what it holds now has not been read yet."""
        return had is None or had.sweep < 0 or newest(had) != digest_of(other, self._means.salt)

    async def taken_back(self, records: Sequence[Record], since: ExtractReading) -> Difference:
        """Compare the records that another extract held and, read to its end, no longer holds: they are this one's again."""
        here = region(self.extract.name, records, self._means.salt)
        keys = [record.key for record in here.records]
        known = [since._of_this(k) for k in await self._memory.lookup(self._stream.name, keys)]
        known = [k for k in known if k.key in self._met or (k.region == since.extract.name and k.key not in since._met)]
        wanted = {k.key for k in known}
        here = Region(here.name, [record for record in here.records if record.key in wanted], self._means.salt)
        first = [key + AGAIN for key in wanted if key not in self._met]
        found = await self._compared(here, known, [k.key for k in known])
        found.mended += first  # the other one's second rows are none of this one's
        return found

    async def _compared(self, here: Region, known: list[Known], keys: list[str]) -> Difference:
        quarantined = await self._means.quarantined(self._stream, keys)
        self._held += sum(map(self._is_missed, known))
        made = await self._made(here, known)
        first = {key for key in keys if key not in self._met}
        comparison = self._comparison(known, quarantined)
        comparison.rows(here, made=made, met=self._met)
        found = comparison.found
        self._count(first, known, quarantined, found)
        self._doubled |= {key for key in quarantined if key.endswith(AGAIN)}
        self._again |= {p.key for p in found.problems if p.key.endswith(AGAIN)}
        self.published += len(found.events)
        return found

    def _count(self, first: set[str], known: list[Known], quarantined: set[str], found: Difference) -> None:
        """Count the records that were met for the first time, and the second rows."""
        problems = {problem.key for problem in found.problems}
        bad = (quarantined | problems) - set(found.mended)
        living = {each.key for each in (*known, *found.known.values()) if each.published}
        self._good += len((first & living) - bad)
        self._bad += len(first & bad) + sum(key.endswith(AGAIN) for key in problems)

    async def _made(self, here: Region, known: list[Known]) -> dict[bytes, Made]:
        """Map the rows that changed, because mapping takes the longest."""
        made: dict[bytes, Made] = {}
        await map_changed(self._stream, [here], known, made)
        return made

    async def missing(self) -> tuple[int, int, int]:
        """The number of records that are gone, that the last file of this name held, and that this one holds."""
        missing = 0
        async with closing(self.lacking()) as batches:
            async for lacking in batches:
                missing += sum(map(self._is_missed, lacking))
        return missing, self._held + missing, self.read

    async def lacks(self) -> bool:
        """Tell whether records are gone that the last file of this name held, published or in quarantine."""
        async with closing(self.lacking()) as batches:
            async for lacking in batches:
                if any(known.entity not in self._stream.lasting for known in lacking):
                    return True
        return False

    def _is_missed(self, known: Known) -> bool:
        there = known.region == self.extract.name and known.version and not known.deleted
        return bool(there) and known.entity not in self._stream.lasting

    async def lacking(self) -> AsyncIterator[list[Known]]:
        """Give the known records that the extract lacks, some at a time. Call it after a whole reading."""
        after, regions = "", (self.extract.name, self._mark)
        while page := await self._memory.members_after(self._stream.name, regions, after, PIECE):
            after = page[-1].key
            if lacking := [self._of_this(known) for known in page if known.key not in self._met]:
                yield lacking

    def gone(self, lacking: list[Known]) -> Difference:
        """Give the deletions of records that the extract lacks; lasting types are not deleted."""
        comparison = self._comparison(lacking, set())
        comparison.rows(Region(self.extract.name, [], b""))  # all of them lose their region
        comparison.gone([k for k in lacking if not k.version or k.entity not in self._stream.lasting])
        # A record without a row, lasting or not, has neither a bad row nor a second one.
        comparison.found.mended += [key for known in lacking for key in problem_keys(known.key)]
        self.published += len(comparison.found.events)
        return comparison.found

    async def let(self, asides: list[Aside]) -> Difference:
        """Publish changes that were put aside."""
        known = await self._memory.lookup(self._stream.name, [aside.made.key for aside in asides])
        comparison = self._comparison(known, set())
        comparison.let(asides)
        self.published += len(comparison.found.events)
        return comparison.found

    @property
    def mended(self) -> list[str]:
        """The problems that are over, now that the whole extract was read."""
        return [self._bad_file, *sorted(self._doubled - self._again)]

    def problem(self, error: BadRecordError) -> Problem:
        """The extract's own problem: it cannot be read."""
        return Problem.of(self._bad_file, error)

    def account(self, besides: Mapping[str, int]) -> ExtractAccount:
        """Say what it held, and `besides` of what else. Call it after a whole reading."""
        counted = {printable(kind): count for kind, count in besides.items() if count}
        return ExtractAccount(self._good, self._bad, counted)

    @property
    def _bad_file(self) -> str:
        return bad_file(self._means.adapter, self.extract.name)

    def _of_this(self, known: Known) -> Known:
        """Give a record the extract's name if the journal knew it by the extract's mark."""
        if known.region == self._mark:
            known.region = self.extract.name
        return known

    def _comparison(self, known: list[Known], quarantined: set[str]) -> Comparison:
        return self._means.comparison(self._stream, known, quarantined, self._watch, self._mark)
