"""
The strays of a sweep: new rows that may be known records under new numbers (`adapters.engine.numbers`).

They lie in the memory until the sweep ends, so a million of them take no more room than any rows, and a sweep that was stopped
goes on with them. Nothing is published when a record takes a new row: a kill at any moment repeats nothing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Container, Iterable, Mapping
from datetime import timedelta

from adapters.engine.difference import Aside, Difference
from adapters.engine.guard import Watch
from adapters.engine.journal import Known, Progress, Seen, Step
from adapters.engine.mapping import Made
from adapters.engine.numbers import FEW, joined, left, matched, references, resolved, set_free, worth
from adapters.engine.reading import Means, batches
from adapters.port import Stream

log = logging.getLogger(__name__)

_PAGE = 2000  # records that are looked at in one go
_KEPT = 2000  # strays whose content is kept, so that they are published with the same sweep if they are new records
_BEFORE = timedelta(days=1)


class Strays:
    """
    The strays of one reading. `living` is about how many records were known before it; 0: it looks for none, None: it has to
    be counted.
    """

    def __init__(self, means: Means, stream: Stream, progress: Progress, living: int | None) -> None:
        self._means = means
        self._stream = stream
        self._progress = progress
        self._living = living
        self._new = 0
        self._contents: set[bytes] | None = None
        self._kept: dict[str, Aside] = {}

    # -- on the way ----------------------------------------------------------------------------------------------

    async def contents(self, new: int) -> Container[bytes]:
        """The contents that make a new row a stray, once so many more new rows were met that it is worth to look them up."""
        self._new += new
        if self._living is None and self._new >= FEW:
            self._living = await self._means.memory.live(self._stream.name)
        if self._contents is None and new and self._living and worth(self._new, self._living):
            self._contents = {k.fingerprint async for some in self._missing() for k in some if k.fingerprint}
        return self._contents or ()

    async def _missing(self) -> AsyncIterator[list[Known]]:
        after, asked = "", (self._stream.name, self._progress.sweep, self._stream.lasting)
        while some := await self._means.memory.missing_after(*asked, after, _PAGE):
            yield some
            after = some[-1].key

    def met(self, strays: Iterable[Aside]) -> None:
        for each in strays:
            if len(self._kept) < _KEPT:
                self._kept[each.made.key] = each

    # -- at the end ----------------------------------------------------------------------------------------------

    async def join(self) -> None:
        """Give the records that are missing the strays with their content, if they are not only a few."""
        if not await self._means.memory.strays(self._stream.name, None, 1):
            return
        pairs: list[tuple[Known, Known]] = []
        total = 0
        async for missing in self._missing():
            contents = {k.fingerprint for k in missing if k.fingerprint}
            pairs += matched(missing, await self._means.memory.strays(self._stream.name, contents, 4 * _PAGE))
            if total or len(pairs) >= FEW:
                await self._join(pairs)
                total, pairs = total + len(pairs), []
        if total:
            log.warning(
                "%s.%s: %d rows came under new numbers with the content that they had; their records keep the keys that they "
                "are published under, and nothing is published for them",
                self._means.adapter, self._stream.name, total,
            )  # fmt: skip

    async def _join(self, pairs: list[tuple[Known, Known]]) -> None:
        self._means.numbers.keep()
        # A row that could not be read under the old number is no more, either.
        found = Difference(mended=[known.key for known, _ in pairs])
        for known, stray in pairs:
            for each in (joined(known, stray), set_free(stray)):
                if each is not None:
                    found.known[each.key] = each
        since = self._progress.completed or self._progress.started
        # Other streams may have published records meanwhile that name one of these by its new number: they are mapped again.
        again = None if since is None else int((since - _BEFORE).timestamp() * 1000)
        step = Step(renamed=[known.key for known, _ in pairs], again=again)
        await self._means.publisher.publish(self._stream.name, found, {}, step)

    async def left(self, watch: Watch) -> AsyncIterator[Difference]:
        """Compare the strays that turned out to be new records, as far as their content was kept, and give what to publish."""
        for asides in batches(list(self._kept.values())):
            known = {k.key: k for k in await self._means.memory.lookup(self._stream.name, [a.made.key for a in asides])}
            new = [a for a in asides if (k := known.get(a.made.key)) and k.stray and k.row_digest == a.digest]
            comparison = self._means.comparison(self._stream, known.values(), set(), watch)
            comparison.strays(new)
            if new:
                yield comparison.found

    async def leave(self, seen: Mapping[str, Seen]) -> None:
        """Let the next sweep publish the others: it compares their regions."""
        while some := await self._means.memory.strays(self._stream.name, None, _PAGE):
            found = Difference(known={k.key: k for k in left(some)})
            homes = {k.region for k in some if k.region is not None}
            regions = {name: Seen(None, seen[name].sweep) for name in homes & seen.keys()}
            await self._means.publisher.publish(self._stream.name, found, {}, Step(regions=regions))


async def name_kept_keys(means: Means, made: dict[bytes, Made]) -> None:
    """
    Have rows that were mapped name other records by the keys that these keep. Nothing is done while no record of the adapter
    has come under a new number.
    """
    if made and await means.numbers.kept(means.memory):
        kept = await means.memory.kept(references(means.adapter, made.values()))
        if kept:
            made.update({digest: resolved(means.adapter, each, kept) for digest, each in made.items()})
