"""
The pump: read → compare → publish → save.

Kafka is the record and the memory is a view of it. A page's events and its cursor go into one Kafka transaction; only
then does the memory follow. A kill between the two is mended at the next start, which first reads what it published
beyond what it remembers. So a read_committed subscriber sees each change of a key once and in order, whenever the pump
was killed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TypeVar

from opentelemetry import trace

from adapters.engine.ahead import Portion, ahead, portions
from adapters.engine.catchup import CatchUp, closing, note
from adapters.engine.contents import Contents
from adapters.engine.difference import (
    LAST_REGION,
    LEARNED,
    MEAN_REGION,
    Aside,
    Comparison,
    Difference,
    Region,
    Regions,
    region,
)  # fmt: skip
from adapters.engine.extracts import ExtractReading, Listing, Lying, digest_of, listing
from adapters.engine.guard import Guard, Watch
from adapters.engine.journal import AGAIN, Cursor, Journal, Known, Memory, Progress, Seen, Step
from adapters.engine.lookout import Lookout
from adapters.engine.meters import count
from adapters.port import Adapter, Extract, Files, Position, Stream, Sweep, Tail
from canonical.errors import BadRecordError, FencedError, UnavailableError

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)
T = TypeVar("T")
_GUARD = Guard()
_BATCH = 500  # changes put aside that are published in one transaction


@dataclass(slots=True)
class _Sweeping:
    """A running sweep: the known regions, those passed, the second rows met, and whether it has seen the start."""

    seen: dict[str, Seen]
    passed: set[str]
    watch: Watch
    again: set[str] = field(default_factory=set)
    whole: bool = True


def _now() -> datetime:
    return datetime.now(UTC)


class Pump:
    """
    Publishes what changed in one legacy system.

    `edition` names the mapping's code: when it changes every row is mapped again, and what comes out different is
    published. `ready` before every reading: it opens what is not open and, after a failure in the middle of a
    transaction, finds out what became of it.
    """

    def __init__(
        self,
        adapter: Adapter,
        journal: Journal,
        memory: Memory,
        *,
        edition: str,
        guard: Guard = _GUARD,
        clock: Callable[[], datetime] = _now,
        mean_region: int = MEAN_REGION,
    ) -> None:
        self.adapter = adapter
        self._journal = journal
        self._memory = memory
        self._salt = blake2b(edition.encode(), digest_size=16).digest()
        self._guard = guard
        self._contents = Contents(self._salt)
        self._clock = clock
        self._mean_region = mean_region
        self._publishing = asyncio.Lock()  # one transaction at a time is all that a producer can have
        self._lookout = Lookout(adapter.name, journal, memory, clock)
        self._in_doubt = True
        self._claim: int | None = None
        self._caught_up = 0  # how often: a reading that began before the last time compares with what is no longer so
        self._began: dict[str, int] = {}
        self._connected = False
        self._connections = 0
        # By stream and extract: what lay ready when another extract that cannot be read held up its deletions.
        self._blocked: dict[tuple[str, str], Listing] = {}

    async def ready(self) -> None:
        """Fence off older copies, catch up with the journal, heal what it lost, connect to the legacy system."""
        async with self._publishing:
            if not self._in_doubt:
                self._in_doubt = True  # in case the look fails
                self._in_doubt = not await self._lookout.holds()
            if self._in_doubt:
                await self._take_over()
                catch_up = CatchUp(self.adapter.name, self._journal, self._memory, self._clock)
                self._lookout.begin(await catch_up.run())
                self._caught_up += 1
                self._blocked.clear()
                self._in_doubt = False
            if not self._connected:
                if self._connections:
                    with suppress(UnavailableError):
                        await self.adapter.close()
                await self.adapter.open()
                self._connected = True
                self._connections += 1

    async def backfill(self, stream: Stream) -> int:
        """
        Make the next reading of a stream compare every row by itself, and publish again what the journal lacks: how many
        records that is. Nothing that the journal holds is published twice. Not while the stream is being read.

        :raises UnavailableError: what was published last is in doubt: `ready`, and then again.
        """
        async with self._publishing:
            if self._in_doubt:
                raise UnavailableError(self.adapter.name, "what was published last is in doubt")
            self._in_doubt = True
            look = CatchUp(self.adapter.name, self._journal, self._memory, self._clock)
            lacking = await look.examine(stream.name)
            first = self._lookout.published([event for event, _ in look.told], [place for _, place in look.told])
            await self._memory.save("", Step(offsets=first))
            self._in_doubt = False
            return lacking

    async def close(self) -> None:
        self._in_doubt, self._connected = True, False
        try:
            await self.adapter.close()
        finally:
            await self._journal.close()

    async def read(self, stream: Stream) -> Progress:
        """
        Read a stream once, to its end, and publish what changed; where a stopped reading stood, it goes on.

        :raises UnavailableError: something does not answer: `ready`, and then read again.
        :raises FencedError: a newer copy of this adapter has taken over.
        """
        self._began[stream.name] = self._caught_up
        match stream.reading:
            case Sweep():
                await self._sweep(stream, stream.reading)
            case Tail():
                await self._tail(stream, stream.reading)
            case Files():
                await self._files(stream, stream.reading)
        return await self._memory.progress(stream.name)

    async def _take_over(self) -> None:
        """
        Become the only copy, for Kafka and for the memory: if two start at once, the same one must win both.

        The memory decides which copy is the newest, because Kafka also fences off a copy whose transaction took too long. If the
        memory counts fewer copies than this one has seen, it has gone back to an older state.
        """
        while True:
            had = await self._memory.claimed()
            if self._claim is not None and had > self._claim:
                raise self._fenced_off()
            await self._journal.close()
            await self._journal.open()
            if await self._memory.claim(had):
                self._claim = had + 1
                return

    def _fenced_off(self) -> FencedError:
        return FencedError(self.adapter.name, "a newer copy of it has taken over", fix="stop one of the two")

    # -- sweeping ------------------------------------------------------------------------------------------------

    async def _sweep(self, stream: Stream, sweep: Sweep) -> None:
        progress = await self._memory.progress(stream.name)
        begins = progress.after is None
        if begins:
            progress = replace(progress, sweep=progress.sweep + 1, started=self._clock(), read=0, published=0)
        seen = await self._memory.regions(stream.name)
        # A stopped sweep reads its open end again, and other regions may lie there by now. Records that the journal taught count
        # as seen by this sweep, but it has not met them.
        passed = {name for name, s in seen.items() if s.sweep == progress.sweep} - {LAST_REGION, LEARNED}
        run = _Sweeping(seen, passed, await self._watch(stream), whole=begins)
        if run.watch.day_begins:
            run.watch.day(await self._memory.live(stream.name))
        regions = Regions(self._salt, self._mean_region)
        pages = self._from_system(sweep.pages(progress.after), stream.pause)
        async with closing(ahead(portions(stream, pages, regions, seen))) as ready:
            async for portion in ready:
                progress = replace(progress, after=portion.after or progress.after)
                progress = await self._compare(stream, portion, run, progress)
        await self._finish(stream, run, progress)

    async def _compare(self, stream: Stream, portion: Portion, run: _Sweeping, progress: Progress) -> Progress:
        regions = _apart(portion.regions, run.passed)
        changed = {r.name for r in regions if (had := run.seen.get(r.name)) is None or had.digest != r.digest}
        with tracer.start_as_current_span(f"read {self.adapter.name}.{stream.name}") as span:
            comparison = await self._comparison(stream, [r for r in regions if r.name in changed], run.watch)
            for each in regions:
                if each.name in changed:
                    comparison.rows(each, run.passed, portion.made)
                run.passed.add(each.name)
            found = comparison.found
            marks = _marks(regions, changed, found, run, progress.sweep)
            progress = replace(
                progress,
                read=progress.read + sum(len(r.records) for r in regions),
                published=progress.published + len(found.events),
                error=None,
            )
            span.set_attributes({"ironbridge.read": progress.read, "ironbridge.changed": len(found.events)})
            cursor: Cursor = {"sweep": progress.sweep, "after": progress.after}
            read = sum(len(r.records) for r in regions)
            step = Step(regions=marks, progress=progress, guarded=run.watch.changed())
            await self._publish(stream, found, cursor, step, read)
        run.watch.put_aside(found.aside)
        run.seen.update(marks)
        run.again |= {p.key for p in found.problems if p.key.endswith(AGAIN)}
        return progress

    async def _watch(self, stream: Stream) -> Watch:
        guarded = await self._memory.guarded(stream.name)
        return Watch(self._guard, self._contents, guarded, self._clock().timestamp())

    async def _comparison(self, stream: Stream, changed: list[Region], watch: Watch) -> Comparison:
        known: list[Known] = []
        quarantined: set[str] = set()
        if changed:
            keys = [r.key for each in changed for r in each.records]
            known = await self._memory.members(stream.name, [r.name for r in changed])
            have = {k.key for k in known}
            if strange := [key for key in keys if key not in have]:
                known += await self._memory.lookup(stream.name, strange)
            quarantined = await self._quarantined(stream, keys)
        return Comparison(self.adapter.name, stream, known, quarantined, self._clock(), watch=watch)

    async def _quarantined(self, stream: Stream, keys: list[str]) -> set[str]:
        return await self._memory.quarantined(stream.name, [*keys, *(key + AGAIN for key in keys)])

    async def _finish(self, stream: Stream, run: _Sweeping, progress: Progress) -> None:
        """A whole sweep is done: what no region of it held is gone."""
        missing = await self._memory.missing(stream.name, progress.sweep, stream.lasting)
        live = await self._memory.live(stream.name)
        delete = run.watch.deletions(missing, live, live - missing)
        let = await run.watch.changes(self._memory, stream.name, whole=run.whole)
        await self._intend(stream, run.watch)
        while delete and (gone := await self._memory.unseen(stream.name, progress.sweep, stream.lasting)):
            progress = await self._gone(stream, gone, run.watch, progress)
        for some in _batches(let):
            progress = await self._let(stream, some, run.watch, progress)
        run.watch.end(whole=run.whole)
        run.watch.say(f"{self.adapter.name}.{stream.name}")
        step = Step(guarded=run.watch.changed())
        step.progress = replace(progress, after=None, held=run.watch.held, completed=self._clock(), error=None)
        if delete:
            step.gone_regions = [name for name, s in run.seen.items() if s.sweep < progress.sweep]
        if run.whole:
            step.mended = sorted(await self._memory.doubled(stream.name) - run.again)
        await self._publish(stream, Difference(), {"sweep": progress.sweep, "after": None}, step)

    async def _intend(self, stream: Stream, watch: Watch) -> None:
        """Save the changes that the guard lets through before they are published, so that a killed copy has counted them."""
        if guarded := watch.changed():
            await self._publish(stream, Difference(), {}, Step(guarded=guarded))

    async def _gone(self, stream: Stream, gone: list[Known], watch: Watch, progress: Progress) -> Progress:
        comparison = Comparison(self.adapter.name, stream, gone, set(), self._clock())
        comparison.gone(gone)
        watch.deleted(len(comparison.found.events))
        return await self._behind(stream, comparison.found, watch, progress)

    async def _let(self, stream: Stream, asides: list[Aside], watch: Watch, progress: Progress) -> Progress:
        known = await self._memory.lookup(stream.name, [aside.made.key for aside in asides])
        comparison = Comparison(self.adapter.name, stream, known, set(), self._clock(), watch=watch)
        comparison.let(asides)
        watch.spend(asides)
        return await self._behind(stream, comparison.found, watch, progress)

    async def _behind(self, stream: Stream, found: Difference, watch: Watch, progress: Progress) -> Progress:
        """Publish the deletions and changes that a sweep has found at its end."""
        progress = replace(progress, published=progress.published + len(found.events))
        cursor: Cursor = {"sweep": progress.sweep, "after": progress.after}
        await self._publish(stream, found, cursor, Step(progress=progress, guarded=watch.changed()))
        return progress

    # -- tailing -------------------------------------------------------------------------------------------------

    async def _tail(self, stream: Stream, tail: Tail) -> None:
        progress = await self._memory.progress(stream.name)
        due = progress.completed is None or self._clock() - progress.completed >= tail.sweep_every
        if progress.completed and (await self._watch(stream)).due(progress.completed.timestamp()):
            due = True
        if due or progress.after is not None:
            # The first sweep is the first load. The first tail behind it reads all again, which costs a comparison and
            # leaves no gap between the two.
            await self._sweep(stream, tail.sweep)
            progress = await self._memory.progress(stream.name)
        last: dict[tuple[str, Position], bytes] = {}
        watch = await self._watch(stream)
        async with closing(self._from_system(tail.pages(progress.tail), stream.pause)) as pages:
            async for page in pages:
                singles = [region("", [record], self._salt) for record in page.records]
                progress = await self._tailed(stream, singles, last, watch, replace(progress, tail=page.cursor))
                last = {(s.records[0].key, s.records[0].position): s.digest for s in singles}

    async def _tailed(
        self,
        stream: Stream,
        singles: list[Region],
        last: dict[tuple[str, Position], bytes],
        watch: Watch,
        progress: Progress,
    ) -> Progress:
        """Compare a page's rows one by one; `last` are those of the page before."""
        times = Counter(s.records[0].key for s in singles)
        known = await self._memory.lookup(stream.name, list(times))
        quarantined = await self._quarantined(stream, list(times))
        comparison = Comparison(self.adapter.name, stream, known, quarantined, self._clock(), watch=watch)
        for single in singles:
            record = single.records[0]
            if times[record.key] > 1 or last.get((record.key, record.position), single.digest) != single.digest:
                comparison.second(record.key)
            else:
                comparison.row(single)
        found = comparison.found
        await self._let_page(stream, comparison, watch)
        # A row stays in the region where the sweep saw it, and that region is compared again at the next sweep.
        touched = {k.region for k in found.known.values()}
        seen = await self._memory.regions(stream.name) if touched else {}
        marks = {name: Seen(None, s.sweep) for name, s in seen.items() if name in touched}
        published = progress.published + len(found.events)
        progress = replace(progress, published=published, held=watch.held, error=None)
        step = Step(regions=marks, progress=progress, guarded=watch.changed())
        await self._publish(stream, found, {"tail": progress.tail}, step, len(singles))
        return progress

    async def _let_page(self, stream: Stream, comparison: Comparison, watch: Watch) -> None:
        if comparison.found.aside:
            watch.put_aside(comparison.found.aside)
            let = watch.page()
            await self._intend(stream, watch)
            comparison.let(let)
            watch.spend(let)

    # -- files ---------------------------------------------------------------------------------------------------

    async def _files(self, stream: Stream, files: Files) -> None:
        progress = await self._memory.progress(stream.name)
        progress = replace(progress, sweep=progress.sweep + 1, started=self._clock())
        seen = await self._memory.regions(stream.name)
        watch = await self._watch(stream)
        lying = await self._listed(stream, files)
        listed = listing(lying)
        for n, extract in enumerate(lying):
            if self._blocked.get((stream.name, extract.name)) == listed:
                continue
            digest = digest_of(extract, self._salt)
            had = seen.get(extract.name)
            if had is None or had.digest != digest or watch.allowed(extract.name):
                shared = had is not None and had.sweep < 0
                this = Lying(extract, digest, lying[:n], lying[n + 1 :], shared)
                progress = await self._extract(stream, files, this, watch, progress)
        progress = replace(progress, completed=self._clock(), held=watch.held, error=None)
        await self._publish(stream, Difference(), {}, Step(progress=progress))

    async def _listed(self, stream: Stream, files: Files) -> list[Extract]:
        """The extracts that lie ready now, the oldest first."""
        async with closing(self._from_system(files.extracts(), stream.pause)) as extracts:
            return [extract async for extract in extracts]

    async def _extract(
        self, stream: Stream, files: Files, lying: Lying, watch: Watch, progress: Progress
    ) -> Progress:
        """
        Read a file that replaces the last file of its name. Its digest is remembered once all of it is published: after a kill
        before that the file is read again, which repeats nothing.
        """
        extract = lying.extract
        watch.begin(extract.name)
        reading = ExtractReading(self.adapter.name, stream, lying, self._memory, watch, self._salt, self._clock)
        # From now on no older file of this name counts as read, in case it comes back while half of this one is published.
        step = Step(regions={extract.name: reading.seen(None, progress.sweep)})
        await self._publish(stream, Difference(), reading.cursor, step)
        try:
            async with closing(ahead(self._from_system(reading.pieces(), stream.pause))) as pieces:
                async for records in pieces:
                    found = await reading.compared(records)
                    step = Step(regions=await reading.sharing(), guarded=watch.changed())
                    await self._publish(stream, found, reading.cursor, step, len(records))
        except BadRecordError as error:
            # An adapter raises this before the first portion. If one raises it later, nothing has been deleted all the same.
            # Its content is not known, so it may hold records that other extracts lack.
            read = Seen(lying.digest, -progress.sweep)
            step = Step(regions={extract.name: read}, problems=[reading.problem(error)])
            await self._publish(stream, Difference(), reading.cursor, step)
            return progress
        # Deletions of others may have waited for this extract, if it could not be read before.
        self._blocked = {of: listed for of, listed in self._blocked.items() if of[0] != stream.name}
        given_back = await self._given_back(stream, reading, watch, progress.sweep)
        may_delete = given_back and not await self._moved(stream, files, reading)
        again = await self._end_of(stream, reading, watch, may_delete=may_delete)
        read = reading.seen(None if again else lying.digest, progress.sweep)
        published = progress.published + reading.published
        progress = replace(progress, read=progress.read + reading.read, published=published, held=watch.held)
        step = Step(regions={extract.name: read}, mended=reading.mended, progress=progress, guarded=watch.changed())
        await self._publish(stream, Difference(), reading.cursor, step)
        return progress

    async def _given_back(self, stream: Stream, reading: ExtractReading, watch: Watch, sweep: int) -> bool:
        """
        Give the records that the extract no longer holds back to the other extracts that hold them. False if an extract that
        may hold some cannot be read: then nothing is deleted yet.
        """
        for other in await reading.sharers():
            try:
                async with closing(self._from_system(other.pieces(), stream.pause)) as pieces:
                    async for records in pieces:
                        found = await other.taken_back(records, reading)
                        # A change that is put aside is judged with all others of that extract, at its next reading.
                        again = {other.extract.name: Seen(None, -sweep)} if found.aside else {}
                        step = Step(regions=again, guarded=watch.changed())
                        await self._publish(stream, found, reading.cursor, step, len(records))
            except BadRecordError:
                log.warning(
                    "%s.%s: %s no longer holds records that it held. They may be in %s, which cannot be read: nothing is "
                    "deleted. To do: mend that file, or take it away",
                    self.adapter.name, stream.name, reading.extract.name, other.extract.name,
                )  # fmt: skip
                self._blocked[stream.name, reading.extract.name] = reading.listed
                return False
        return True

    async def _moved(self, stream: Stream, files: Files, reading: ExtractReading) -> bool:
        """
        True if the extract lacks records and the folder has changed since it was listed. A lacking record may have moved to
        another extract meanwhile, so nothing is deleted yet.
        """
        if not await reading.lacks():
            return False
        return reading.listed != listing(await self._listed(stream, files))

    async def _end_of(self, stream: Stream, reading: ExtractReading, watch: Watch, *, may_delete: bool) -> bool:
        """
        End an extract that was read to its end: delete the records that it lacks, unless the guard holds that back, and publish
        the changes that the guard lets through. Whether the extract has to be read again.
        """
        delete = may_delete and watch.deletions(*await reading.missing())
        let = await watch.changes(self._memory, stream.name)
        watch.say(f"{self.adapter.name}.{stream.name}")
        await self._intend(stream, watch)
        if delete:
            async with closing(reading.lacking()) as batches:
                async for lacking in batches:
                    found = reading.gone(lacking)
                    watch.deleted(len(found.events))
                    await self._publish(stream, found, reading.cursor, Step(guarded=watch.changed()))
        for some in _batches(let):
            watch.spend(some)
            step = Step(guarded=watch.changed())
            await self._publish(stream, await reading.let(some), reading.cursor, step)
        return watch.end(whole=may_delete) or not may_delete

    # -- both ends -----------------------------------------------------------------------------------------------

    async def _from_system(self, items: AsyncIterator[T], pause: timedelta) -> AsyncIterator[T]:
        async with closing(items):
            with self._watched():
                async for item in items:
                    yield item
                    await asyncio.sleep(pause.total_seconds())

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Where the legacy system stops answering, `ready` connects again."""
        connection = self._connections
        try:
            yield
        except UnavailableError:
            # Another stream may have connected again already: then it is that connection that counts.
            self._connected = self._connected and connection != self._connections
            raise

    async def _publish(self, stream: Stream, found: Difference, cursor: Cursor, step: Step, read: int = 0) -> None:
        async with self._publishing:
            if self._in_doubt or self._began[stream.name] != self._caught_up:
                raise UnavailableError(self.adapter.name, "stopped reading: what was published last was in doubt")
            # Until both are done the memory may be behind Kafka; only catching up tells.
            self._in_doubt = True
            try:
                if found.events:
                    await self._nothing_went_back()
                    places = await self._journal.publish(found.events, (stream.name, cursor))
                    note(found.about, places)
                    step.offsets, step.told = self._lookout.published(found.events, places), len(places)
                step.at = self._clock()
                step.known = list(found.known.values())
                step.problems += found.problems
                step.mended += found.mended
                await self._memory.save(stream.name, step)
            except FencedError as error:
                if await self._memory.claimed() > (self._claim or 0):
                    raise self._fenced_off() from error
                raise UnavailableError(self.adapter.name, "Kafka ended its transaction, which took too long") from error
            self._in_doubt = False
        count(self.adapter.name, stream.name, read, found.events, step.problems)

    async def _nothing_went_back(self) -> None:
        """
        :raises UnavailableError: the memory, or the journal, is not the one that this copy caught up with.
        :raises FencedError: a newer copy of this adapter has taken over.
        """
        if not await self._memory.current():
            if await self._memory.claimed() > (self._claim or 0):
                raise self._fenced_off()
            raise UnavailableError(self.adapter.name, "the state is not the one that was saved last: catching up first")
        if not await self._lookout.holds():
            raise UnavailableError(self.adapter.name, "the journal is not the one that was read: reading it again first")


def _batches(asides: list[Aside]) -> Iterator[list[Aside]]:
    return (asides[start : start + _BATCH] for start in range(0, len(asides), _BATCH))


def _apart(regions: list[Region], passed: set[str]) -> list[Region]:
    """
    Give regions names that their sweep has not met yet: two have the same name if the key that ends one occurs twice.

    No key contains the mark on the second one's name, because keys are ASCII.
    """
    names = set[str]()
    apart = []
    for each in regions:
        while each.name in passed or each.name in names:
            each = each._replace(name=each.name + "²")
        names.add(each.name)
        apart.append(each)
    return apart


def _marks(regions: list[Region], changed: set[str], found: Difference, run: _Sweeping, sweep: int) -> dict[str, Seen]:
    """
    The digests to remember of regions; a region without a digest is compared again, whatever it holds.

    Two kinds get no digest: a region with a second row of a key, and a region that was not compared although a record has
    just left it, because another row of that record may lie in it.
    """
    again = found.doubled | (found.left - changed)
    marks = {r.name: Seen(None if r.name in again else r.digest, sweep) for r in regions}
    for name in found.left - marks.keys():
        if name in run.seen:
            marks[name] = Seen(None, run.seen[name].sweep)
    return marks
