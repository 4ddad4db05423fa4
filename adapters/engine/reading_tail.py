"""A tail: the rows that a change column shows to be new, one by one, with a sweep now and then for all that it cannot show."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from adapters.engine.ahead import map_changed
from adapters.engine.catchup import closing
from adapters.engine.difference import Comparison, Difference
from adapters.engine.elapsed import within
from adapters.engine.guard import Watch
from adapters.engine.journal import Progress, Seen, Step
from adapters.engine.mapping import Made
from adapters.engine.reading import Means
from adapters.engine.reading_sweep import sweep
from adapters.engine.regions import Region, region
from adapters.engine.strays import Strays, name_kept_keys
from adapters.port import Page, Position, Stream, Tail


async def tail(means: Means, stream: Stream, reading: Tail) -> None:
    """Read what is new in a stream; before that all of it, if a sweep is due or was stopped."""
    progress = await means.memory.progress(stream.name)
    if progress.after is not None or await _due(means, stream, reading, progress):
        # The first sweep is the first load. The first tail behind it reads all again, which costs a comparison and
        # leaves no gap between the two.
        await sweep(means, stream, reading.sweep)
        progress = await means.memory.progress(stream.name)
    await TailReading(means, stream, await means.watch(stream), progress).run(reading)


async def _due(means: Means, stream: Stream, reading: Tail, progress: Progress) -> bool:
    """Tell whether it is time for a sweep, or the guard has something to judge that only a sweep can tell."""
    done = progress.completed
    if done is None or not within(reading.sweep_every, done, means.clock()):
        return True
    return (await means.watch(stream)).due(done.timestamp())


class TailReading:
    """A running tail of a stream."""

    def __init__(self, means: Means, stream: Stream, watch: Watch, progress: Progress) -> None:
        self._means = means
        self._stream = stream
        self._watch = watch
        self._progress = progress
        # To a tail, every record may be missing.
        self._strays = Strays(means, stream, replace(progress, sweep=progress.sweep + 1), None)
        self._last: dict[tuple[str, Position], bytes] = {}  # the rows of the page before, with their digests
        self._began_again = False

    async def run(self, reading: Tail) -> None:
        """
        Read to the end. A row that the page before held with another content has changed since, or is a second row of its key.
        Then the reading begins again, once: two rows are met together again, and a row that changed is met alone.
        """
        items = self._means.system.items(reading.pages(self._progress.tail), self._stream.pause)
        async with closing(items) as pages:
            async for page in pages:
                singles = [region("", [record], self._means.salt) for record in page.records]
                if not self._began_again and any(map(self._is_another, singles)):
                    break
                await self._compare(page, singles)
            else:
                return
        self._began_again, self._last = True, {}
        await self.run(reading)

    def _is_another(self, single: Region) -> bool:
        """Tell whether the page before held this row with another content."""
        record = single.records[0]
        return self._last.get((record.key, record.position), single.digest) != single.digest

    async def _compare(self, page: Page, singles: list[Region]) -> None:
        """Compare a page's rows one by one, and publish what changed."""
        comparison = await self._compared(singles)
        found = comparison.found
        await self._let(comparison)
        marks = await self._marks(found)
        published, held = self._progress.published + len(found.events), self._watch.held
        progress = replace(self._progress, tail=page.cursor, published=published, held=held, error=None)
        for stray in found.strays:  # only a sweep shows which records are missing: the next reading begins with one
            found.known.pop(stray.made.key)
            progress = replace(progress, completed=None)
        step = Step(regions=marks, progress=progress, guarded=self._watch.changed())
        await self._means.publisher.publish(self._stream.name, found, {"tail": progress.tail}, step, len(singles))
        self._progress = progress
        self._last = {(s.records[0].key, s.records[0].position): s.digest for s in singles}

    async def _compared(self, singles: list[Region]) -> Comparison:
        times = Counter(s.records[0].key for s in singles)
        known = await self._means.memory.lookup(self._stream.name, list(times))
        quarantined = await self._means.quarantined(self._stream, list(times))
        made: dict[bytes, Made] = {}
        await map_changed(self._stream, singles, known, made)
        await name_kept_keys(self._means, made)
        others = await self._strays.others(singles, known, made)
        # A row that changed is published: a tail is for what changes.
        others = others._replace(sweeps=False, dealt=False)
        comparison = self._means.comparison(self._stream, known, quarantined, self._watch, others=others)
        for single in singles:
            key = single.records[0].key
            if times[key] > 1 or self._is_another(single):
                comparison.second(key)
            else:
                comparison.row(single, made)
        return comparison

    async def _let(self, comparison: Comparison) -> None:
        """Take in the changes that were put aside, if they are few."""
        if comparison.found.aside:
            self._watch.put_aside(comparison.found.aside)
            let = self._watch.page()
            await self._means.intend(self._stream, self._watch)
            comparison.let(let)
            self._watch.spend(let)

    async def _marks(self, found: Difference) -> dict[str, Seen]:
        """A row stays in the region where the sweep saw it, and that region is compared again at the next sweep."""
        touched = {k.region for k in found.known.values()}
        seen = await self._means.memory.regions(self._stream.name) if touched else {}
        return {name: Seen(None, s.sweep) for name, s in seen.items() if name in touched}
