"""
A sweep: all rows of a stream in the order of their keys, a page at a time.

Rows are compared in regions. A record that no region of a whole sweep holds is gone from the legacy system.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from opentelemetry import trace

from adapters.engine.ahead import Portion, ahead, map_changed, portions
from adapters.engine.catchup import closing
from adapters.engine.difference import Aside, Comparison, Difference
from adapters.engine.guard import Watch
from adapters.engine.journal import AGAIN, Cursor, Known, Progress, Seen, Step
from adapters.engine.mapping import Made
from adapters.engine.numbers import NOBODY
from adapters.engine.reading import Means, batches
from adapters.engine.regions import LAST_REGION, LEARNED, Region, Regions
from adapters.engine.strays import Strays, name_kept_keys
from adapters.port import Stream, Sweep
from canonical.turns import in_turns

tracer = trace.get_tracer(__name__)
log = logging.getLogger(__name__)


async def sweep(means: Means, stream: Stream, reading: Sweep) -> None:
    """
    Read a stream by a sweep to its end; one that was stopped goes on where it stood. All is read once more if the rows seem to
    have been numbered anew meanwhile.
    """
    recognised = await _overtaken(means, stream, reading)
    if recognised is not None:
        log.warning(
            "%s.%s: the rows may have been numbered anew while they were read. They are read once more before anything is told "
            "of new rows that say what known records say, or of missing records",
            means.adapter, stream.name,
        )  # fmt: skip
        await _overtaken(means, stream, reading, recognised)


async def _overtaken(means: Means, stream: Stream, reading: Sweep, before: int | None = None) -> int | None:
    """
    Read once. Return None if the sweep has ended; if it was overtaken, return how many records it recognised. `before` is what
    the reading before this one returned: then this one ends the sweep in any case.
    """
    progress = await means.memory.progress(stream.name)
    begins = progress.after is None
    if begins:
        progress = replace(progress, sweep=progress.sweep + 1, started=means.clock(), read=0, published=0)
    seen = await means.memory.regions(stream.name)
    watch = await means.watch(stream)
    if watch.day_begins:
        watch.day(await means.memory.live(stream.name))
    return await SweepReading(means, stream, watch, seen, progress, begins, before).run(reading)


class SweepReading:
    """
    A running sweep. `seen` are the regions that are known; a sweep is `whole` if this reading of it has seen the start. `before`
    is how many records an overtaken reading before this one recognised; None if there was none.
    """

    def __init__(
        self,
        means: Means,
        stream: Stream,
        watch: Watch,
        seen: dict[str, Seen],
        progress: Progress,
        whole: bool,
        before: int | None,
    ) -> None:
        self._means = means
        self._stream = stream
        self._watch = watch
        self._seen = seen
        self._progress = progress
        self._whole = whole
        self._before = before
        # The regions left behind. A stopped sweep reads its open end again, and other regions may lie there by now. Records that
        # the journal taught count as seen by this sweep, but it has not met them.
        self._passed = {name for name, s in seen.items() if s.sweep == progress.sweep} - {LAST_REGION, LEARNED}
        self._again: set[str] = set()  # the second rows met
        self._rearmost: list[str] = []  # the records that lay in the open end before, if it has changed
        self._ended_before = (end := seen.get(LAST_REGION)) is not None and end.sweep == progress.sweep
        # Of a stopped sweep none may be left.
        unmet = sum(s.sweep < progress.sweep for s in seen.values()) or not whole
        self._strays = Strays(means, stream, progress, unmet * means.mean_region, again=bool(before))

    async def run(self, reading: Sweep) -> int | None:
        """
        Read to the end, and return None. If the rows may have been numbered anew meanwhile, another sweep has to end this one:
        return how many records were recognised.
        """
        regions = Regions(self._means.salt, self._means.mean_region)
        pages = self._means.system.items(reading.pages(self._progress.after), self._stream.pause)
        async with closing(ahead(portions(self._stream, pages, regions, self._seen))) as ready:
            async for portion in ready:
                await self._compare(portion)
        return await self._finish()

    # -- on the way ----------------------------------------------------------------------------------------------

    async def _compare(self, portion: Portion) -> None:
        """Compare a portion's regions, publish what changed, and remember where the sweep stands."""
        regions = portion.regions
        _name_apart(regions, self._passed)
        changed = {r.name for r in regions if (had := self._seen.get(r.name)) is None or had.digest != r.digest}
        with tracer.start_as_current_span(f"read {self._means.adapter}.{self._stream.name}") as span:
            comparison = await self._comparison([r for r in regions if r.name in changed], portion.made)
            async for each in in_turns(regions):
                if each.name in changed:
                    comparison.rows(each, self._passed, portion.made)
                self._passed.add(each.name)
            found = comparison.found
            read = sum(len(r.records) for r in regions)
            progress = self._further(portion, read, len(found.events))
            span.set_attributes({"ironbridge.read": progress.read, "ironbridge.changed": len(found.events)})
            marks = self._marks(regions, changed, found) | self._met_before(found)
            step = Step(regions=marks, progress=progress, guarded=self._watch.changed())
            await self._means.publisher.publish(self._stream.name, found, _cursor(progress), step, read)
        self._progress = progress
        self._watch.put_aside(found.aside)
        self._strays.met(found)
        self._seen.update(marks)
        self._again |= {p.key for p in found.problems if p.key.endswith(AGAIN)}

    async def _comparison(self, changed: list[Region], made: dict[bytes, Made]) -> Comparison:
        """Compare with all records that these regions, or their rows, are known as. Changed rows are mapped into `made`."""
        memory, name = self._means.memory, self._stream.name
        known: list[Known] = []
        quarantined: set[str] = set()
        others = NOBODY
        if changed:
            keys = [r.key for each in changed for r in each.records]
            known = await memory.members(name, [r.name for r in changed])
            self._rearmost += [k.key for k in known if k.region == LAST_REGION]
            have = {k.key for k in known}
            if strange := [key for key in keys if key not in have]:
                known += await memory.lookup(name, strange)
            quarantined = await self._means.quarantined(self._stream, keys)
            # The rows of a new region were mapped ahead.
            await map_changed(self._stream, [r for r in changed if r.name in self._seen], known, made)
            await name_kept_keys(self._means, made)
            others = await self._strays.others(changed, known, made)
        return self._means.comparison(self._stream, known, quarantined, self._watch, others=others)

    def _further(self, portion: Portion, read: int, published: int) -> Progress:
        had = self._progress
        after = portion.after or had.after
        return replace(had, after=after, read=had.read + read, published=had.published + published, error=None)

    def _marks(self, regions: list[Region], changed: set[str], found: Difference) -> dict[str, Seen]:
        """
        The digests to remember of regions; a region without a digest is compared again, whatever it holds.

        Two kinds get no digest: a region with a second row of a key, and a region that was not compared although a record has
        just left it, because another row of that record may lie in it.
        """
        again = found.doubled | (found.left - changed)
        marks = {r.name: Seen(None if r.name in again else r.digest, self._progress.sweep) for r in regions}
        for name in found.left - marks.keys():
            if name in self._seen:
                marks[name] = Seen(None, self._seen[name].sweep)
        return marks

    def _met_before(self, found: Difference) -> dict[str, Seen]:
        """
        Count the records that have left the open end as seen, if this sweep met them there before it was stopped. Their rows
        may lie before its place now: only the next sweep can find that they are gone.
        """
        lay = set(self._rearmost) if self._ended_before else set()
        away = [k for k in found.known.values() if k.key in lay and k.region is None and k.published]
        for known in away:
            known.region = LEARNED
        return {LEARNED: Seen(None, self._progress.sweep)} if away else {}

    # -- at the end ----------------------------------------------------------------------------------------------

    async def _finish(self) -> int | None:
        """A whole sweep is done: what no region of it held is gone."""
        memory, stream, watch = self._means.memory, self._stream, self._watch
        await self._strays.join(self._seen)
        if self._before is None and await self._strays.overtaken(*await self._gone_from_the_end()):
            await self._behind(Difference(), replace(self._progress, after=None))
            await self._strays.leave(self._seen, overtaken=True)
            return self._strays.joined
        await self._strays.settle(self._seen)
        async for found in self._strays.left(watch):
            watch.put_aside(found.aside)
            await self._behind(found)
        gone = (stream.name, self._progress.sweep, stream.lasting)
        some = await memory.unseen(*gone)
        missing = await memory.missing(*gone) if some else 0
        live = await memory.live(stream.name) if missing else 0
        delete = not self._strays.waits and watch.deletions(missing, live, live - missing)
        let = await watch.changes(memory, stream.name, whole=self._whole)
        await self._means.intend(stream, watch)
        while delete and some:
            await self._gone(some)
            some = await memory.unseen(*gone)
        for asides in batches(let):
            await self._let(asides)
        watch.end(whole=self._whole)
        watch.say(f"{self._means.adapter}.{stream.name}")
        await self._end(deleted=delete)
        await self._strays.leave(self._seen)
        return None

    async def _gone_from_the_end(self) -> tuple[int, bool]:
        """Count the records that lay in the open end and are missing; tell whether all of them are."""
        memory, name, sweep = self._means.memory, self._stream.name, self._progress.sweep
        unmet = (end := self._seen.get(LAST_REGION)) is not None and end.sweep < sweep
        lay = await (memory.members(name, [LAST_REGION]) if unmet else memory.lookup(name, self._rearmost))
        living = [k for k in lay if k.published]
        unseen = {None, LEARNED} | {name for name, s in self._seen.items() if s.sweep < sweep}
        gone = sum(k.region in unseen for k in living)
        return gone, 0 < gone == len(living)

    async def _gone(self, gone: list[Known]) -> None:
        comparison = self._means.comparison(self._stream, gone, set())
        comparison.gone(gone)
        self._watch.deleted(len(comparison.found.events))
        await self._behind(comparison.found)

    async def _let(self, asides: list[Aside]) -> None:
        known = await self._means.memory.lookup(self._stream.name, [aside.made.key for aside in asides])
        comparison = self._means.comparison(self._stream, known, set(), self._watch)
        comparison.let(asides)
        self._watch.spend(asides)
        await self._behind(comparison.found)

    async def _behind(self, found: Difference, progress: Progress | None = None) -> None:
        """Publish the deletions and changes that a sweep has found at its end."""
        progress = progress or self._progress
        self._progress = replace(progress, published=progress.published + len(found.events))
        step = Step(progress=self._progress, guarded=self._watch.changed())
        await self._means.publisher.publish(self._stream.name, found, _cursor(self._progress), step)

    async def _end(self, *, deleted: bool) -> None:
        held = self._watch.held
        began = None if self._strays.waits else self._progress.started
        ended = replace(
            self._progress, after=None, held=held, started=began, completed=self._means.clock(), error=None
        )  # fmt: skip
        step = Step(guarded=self._watch.changed(), progress=ended)
        if deleted:
            step.gone_regions = [name for name, s in self._seen.items() if s.sweep < ended.sweep]
        if self._whole:
            step.mended = sorted(await self._means.memory.doubled(self._stream.name) - self._again)
        await self._means.publisher.publish(self._stream.name, Difference(), _cursor(ended), step)


def _cursor(progress: Progress) -> Cursor:
    return {"sweep": progress.sweep, "after": progress.after}


def _name_apart(regions: list[Region], passed: set[str]) -> None:
    """
    Give regions names that their sweep has not met yet: two have the same name if the key that ends one occurs twice.

    No key contains the mark on the second one's name, because keys are ASCII.
    """
    names = set[str]()
    for each in regions:
        while each.name in passed or each.name in names:
            each.name += "²"
        names.add(each.name)
