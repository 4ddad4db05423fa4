"""
The strays of a sweep: new rows that may be known records under new numbers (`adapters.engine.numbers`).

They lie in the memory until the sweep ends, so a million of them take no more room than any rows, and a sweep that was stopped
goes on with them. Nothing is published when a record takes a new row: a kill at any moment repeats nothing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from adapters.engine.difference import Aside, Difference
from adapters.engine.guard import Watch
from adapters.engine.journal import Known, Progress, Seen, Step
from adapters.engine.mapping import Made
from adapters.engine.numbers import (
    FEW,
    LEFT,
    NOBODY,
    WAITS,
    Others,
    few_of,
    joined,
    left,
    matched,
    references,
    resolved,
    reunited,
    row_of,
    set_free,
    strange,
    worth,
)  # fmt: skip
from adapters.engine.reading import Means, batches
from adapters.engine.regions import Region
from adapters.port import Stream, Sweep, Tail
from canonical.key import entity_of

log = logging.getLogger(__name__)

_PAGE = 2000  # records that are looked at in one go
_KEPT = 2000  # strays whose content is kept, so that they are published with the same sweep if they are new records
_BEFORE = timedelta(days=1)
_PATIENCE = 2 * 24 * 3600 * 1000  # ms for which a row waits at most for a stream that is not read


class Strays:
    """
    The strays of one reading. `living` is about how many records were known before it; 0: it looks for none, None: it has to
    be counted. `again` is true if the reading before this one was overtaken and recognised some records.
    """

    def __init__(
        self, means: Means, stream: Stream, progress: Progress, living: int | None, *, again: bool = False
    ) -> None:
        self._means = means
        self._stream = stream
        self._progress = progress
        self._living = living
        self._again = again
        self._new = self._changed = self._touched = 0
        self.joined = 0
        """This reading gave another row to so many records."""
        self._wait = False  # whether strange ones are to wait for the next sweep
        self._too_few: set[str] = set()  # the rows with a missing record's content, if they are fewer than a renumbering
        self._released = 0  # rows that need not wait, or have waited long enough
        self._swept: dict[str, int] = {}  # when the last whole sweep of another stream began, in ms
        self._contents: set[bytes] | None = None
        self._kept: dict[str, Aside] = {}

    # -- on the way ----------------------------------------------------------------------------------------------

    async def others(self, regions: Sequence[Region], known: Sequence[Known], made: Mapping[bytes, Made]) -> Others:
        """
        Count the rows that are new or have changed. Once there are enough of them, look up what the known records say, and
        return on which grounds a row is a stray. `made` holds the rows that are mapped already.
        """
        if self._living == 0:
            return NOBODY
        new = self._count(regions, known, made)
        if self._contents is None:
            await self._look_up()
        if self._contents is not None and not self._contents:
            return NOBODY  # nobody lives, so no row can be anything but new
        return Others(self._contents or (), self._dealt, await self._strange(new))

    async def _look_up(self) -> None:
        if not self._new and self._changed < FEW:
            return
        if self._living is None and self._new + self._changed >= FEW:
            self._living = await self._means.memory.live(self._stream.name)
        if self._living and worth(self._new, self._changed, self._living):
            self._contents = await self._held()

    async def _held(self) -> set[bytes]:
        """
        Return what all living records say. Those that the sweep has met are among them: the rows may have been numbered anew
        since.
        """
        return {k.fingerprint async for some in self._missing(by_now=False) for k in some if k.fingerprint}

    async def _strange(self, rows: Mapping[bytes, tuple[Made, int]]) -> dict[bytes, int]:
        """
        Return the strange ones among these rows, each with the time when it was first met, in ms; `rows` gives that time beside
        what the row says. A strange row names records that nobody knows, and that another stream may still find.
        """
        named = {digest: references(self._means.adapter, [made]) for digest, (made, _) in rows.items()}
        every = set().union(*named.values())
        unknown = every - await self._means.memory.published(every) if every else set()
        # Their rows may have been recognised since these ones were mapped.
        just_known = await self._means.memory.kept(unknown) if unknown else {}
        found = dict[bytes, int]()
        for digest, names in named.items():
            met = rows[digest][1]
            if missing := names & unknown:
                if missing & just_known.keys() or await self._to_come({entity_of(name) for name in missing}, met):
                    found[digest] = met
                else:
                    self._released += 1
        return found

    async def _to_come(self, entities: set[str], met: int) -> bool:
        """Tell whether another stream with these entities has still to be swept whole: no sweep of it began after `met` (ms)."""
        if self._now() - met > _PATIENCE:
            return False
        for stream in self._means.streams():
            declared = {entity.type_name for entity in stream.entities}
            if stream.name == self._stream.name or not entities & declared or not isinstance(stream.reading, Sweep | Tail):
                continue
            if stream.name not in self._swept:
                progress = await self._means.memory.progress(stream.name)
                began, ended = progress.started, progress.completed
                self._swept[stream.name] = _ms(began) if began is not None and ended is not None and ended >= began else 0
            if self._swept[stream.name] <= met:
                return True
        return False

    def _now(self) -> int:
        return _ms(self._means.clock())

    def _count(
        self, regions: Iterable[Region], known: Iterable[Known], made: Mapping[bytes, Made]
    ) -> dict[bytes, tuple[Made, int]]:
        """Count the rows that are new, changed or only touched. Return the new ones, and when each was first met, in ms."""
        living, new, now = {k.key: k for k in known if not k.deleted}, dict[bytes, tuple[Made, int]](), self._now()
        for each in regions:
            for record, digest in zip(each.records, each.digests, strict=True):
                had, row = living.get(record.key), made.get(digest)
                if had is None:
                    self._new += 1
                    if row is not None:
                        new[digest] = row, now
                elif row is not None and had.published and digest != had.row_digest:
                    self._changed += row.fingerprint != had.fingerprint
                    self._touched += row.fingerprint == had.fingerprint
                elif had.row_digest == WAITS and row is not None:
                    self._new += 1
                    new[digest] = row, strange(had)
        return new

    @property
    def _dealt(self) -> bool:
        """
        Tell whether numbers may have been dealt anew: not if only a few rows changed, or if most that look changed say what they
        said, as they do under another edition of the mapping.
        """
        return self._changed >= FEW and self._changed > self._touched

    async def _missing(self, *, by_now: bool = True) -> AsyncIterator[list[Known]]:
        """
        Give the records that this sweep has not met until now, a page at a time; if not `by_now`, all records: the next sweep has
        met none of them when it begins.
        """
        after, asked = "", (self._stream.name, self._progress.sweep + (not by_now), self._stream.lasting)
        while some := await self._means.memory.missing_after(*asked, after, _PAGE):
            yield some
            after = some[-1].key

    def met(self, found: Difference) -> None:
        for each in found.strays:
            if len(self._kept) < _KEPT:
                self._kept[each.made.key] = each

    # -- at the end ----------------------------------------------------------------------------------------------

    async def join(self, seen: Mapping[str, Seen]) -> None:
        """
        Give each missing record the stray with its content, if there are more than a few. In a small stream few are enough once
        another stream's rows have come under new numbers.
        """
        if not await self._means.memory.strays(self._stream.name, None, 1):
            return
        few = 1 if self._again else await self._enough()
        pairs: list[tuple[Known, Known]] = []
        async for missing in self._missing():
            contents = {k.fingerprint for k in missing if k.fingerprint}
            pairs += matched(missing, await self._means.memory.strays(self._stream.name, contents, 4 * _PAGE))
            if self.joined or len(pairs) >= few:
                await self._join(pairs, seen)
                self.joined, pairs = self.joined + len(pairs), []
        self._too_few = {stray.key for _, stray in pairs}
        if self.joined:
            log.warning(
                "%s.%s: %d rows came under new numbers with the content that they had; their records keep the keys that they "
                "are published under, and nothing is published for them",
                self._means.adapter, self._stream.name, self.joined,
            )  # fmt: skip

    async def overtaken(self, gone: int, whole: bool) -> bool:
        """
        Tell whether the rows may have been numbered anew since this sweep met the first of them. Many strays are left then,
        because their records have been met; or the rows lie where it had been before them, and those at the end are missing.
        `gone` is how many of the open end are, `whole` whether all of it is.
        """
        memory, name = self._means.memory, self._stream.name
        some = await memory.strays(name, None, _PAGE)
        if not (some or gone):
            return False
        living = await memory.live(name)
        few = 1 if self.joined else few_of(living)
        # New rows of new people are strange every day. Where all rows are numbered anew, most of them are.
        many = few if self.joined else max(few, min(living // 10, _PAGE))
        if gone >= few or len(some) >= many or sum(not strange(stray) for stray in some) >= few:
            return True
        return whole and await memory.missing(name, self._progress.sweep, self._stream.lasting) >= few

    async def settle(self, seen: Mapping[str, Seen]) -> None:
        """
        Give each record that was parted from its row, and got no other one, its own row again: the row is compared as a change.
        Find out whether strange strays have to wait.
        """
        if not await self._means.memory.strays(self._stream.name, None, 1):
            return
        # Of those that were parted from one row, the last one has it again; the others lie here for longer.
        async for missing in self._missing():
            await self._reunite({row: known for known in missing if (row := row_of(known)) is not None}, seen)
        self._wait = await self._may_help()
        if self._wait:
            log.warning(
                "%s.%s: new rows name records that nobody knows, while others are missing. They may have been numbered anew, and "
                "wait until the other streams have been read; so do deletions",
                self._means.adapter, self._stream.name,
            )  # fmt: skip

    async def _may_help(self) -> bool:
        """Tell whether many rows name records that nobody knows, and many records are missing: they may be the same ones."""
        some = await self._means.memory.strays(self._stream.name, None, 4 * _PAGE)
        met = sum(strange(stray) > 0 for stray in some)
        if not met or met < (few := await self._few()):
            return False
        return await self._means.memory.missing(self._stream.name, self._progress.sweep, self._stream.lasting) >= few

    async def _enough(self) -> int:
        """Tell how many rows are a renumbering: few are one in a small stream, once another stream's rows have new numbers."""
        return await self._few() if await self._means.numbers.kept(self._means.memory) else FEW

    async def _few(self) -> int:
        """Tell how many rows are enough: half of them are, where the whole stream is small."""
        return few_of(await self._means.memory.live(self._stream.name))

    async def _reunite(self, away: Mapping[str, Known], seen: Mapping[str, Seen]) -> None:
        rows = await self._means.memory.lookup(self._stream.name, list(away)) if away else []
        pairs = [(away[row.key], row) for row in rows if row.key in away and not row.published and row.region is not None]
        if pairs:
            found = Difference(known={row.key: reunited(known, row) for known, row in pairs})
            step = Step(renamed=[known.key for known, _ in pairs], regions=_to_compare([row for _, row in pairs], seen))
            await self._means.publisher.publish(self._stream.name, found, {}, step)

    async def _join(self, pairs: list[tuple[Known, Known]], seen: Mapping[str, Seen]) -> None:
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
        # Rows that get their old numbers back fill the regions that these leave as before, and are to be compared all the same.
        left_behind = _to_compare([known for known, _ in pairs], seen)
        step = Step(renamed=[known.key for known, _ in pairs], regions=left_behind, again=again)
        await self._means.publisher.publish(self._stream.name, found, {}, step)

    async def left(self, watch: Watch) -> AsyncIterator[Difference]:
        """
        Compare the strays that no missing record took, and give what to publish: new records, and changes of the records with
        their numbers. Only strays whose content was kept are compared here.
        """
        for asides in batches(list(self._kept.values())):
            known = {k.key: k for k in await self._means.memory.lookup(self._stream.name, [a.made.key for a in asides])}
            new = [a for a in asides if (k := known.get(a.made.key)) is not None and self._may_tell(a, k)]
            comparison = self._means.comparison(self._stream, known.values(), set(), watch)
            comparison.strays(new)
            if new:
                yield comparison.found

    def _may_tell(self, aside: Aside, known: Known) -> bool:
        """Tell whether a row is still as it was kept, and nobody waits for it."""
        if known.published:
            return known.row_digest == LEFT
        return known.stray and known.row_digest == aside.digest and not (self._wait and self._may_be_known(known))

    def _may_be_known(self, stray: Known) -> bool:
        """Tell whether a row may be a known record's once more rows of its stream are known again."""
        return strange(stray) > 0 or stray.key in self._too_few

    @property
    def waits(self) -> bool:
        """Tell whether deletions wait for the next sweep, because strange strays are looked up again in it."""
        return self._wait and not self._released

    async def leave(self, seen: Mapping[str, Seen], *, overtaken: bool = False) -> None:
        """
        Leave the other strays to the next sweep, which compares their regions. Strange ones may have to wait once more; after a
        sweep that was `overtaken` all do. This comes when the sweep has ended, because a sweep that goes on would not meet them.
        """
        while some := await self._means.memory.strays(self._stream.name, None, _PAGE):
            waits = {s.key for s in some if overtaken or (self._wait and self._may_be_known(s))}
            found = Difference(known={k.key: k for k in left(some, waits)})
            await self._means.publisher.publish(self._stream.name, found, {}, Step(regions=_to_compare(some, seen)))


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def _to_compare(rows: Iterable[Known], seen: Mapping[str, Seen]) -> dict[str, Seen]:
    """The regions of some rows, so marked that the next sweep compares them."""
    homes = {row.region for row in rows if row.region is not None}
    return {name: Seen(None, seen[name].sweep) for name in homes & seen.keys()}


async def name_kept_keys(means: Means, made: dict[bytes, Made]) -> None:
    """
    Have rows that were mapped name other records by the keys that these keep. Nothing is done while no record of the adapter
    has come under a new number.
    """
    if made and await means.numbers.kept(means.memory):
        kept = await means.memory.kept(references(means.adapter, made.values()))
        if kept:
            made.update({digest: resolved(means.adapter, each, kept) for digest, each in made.items()})
