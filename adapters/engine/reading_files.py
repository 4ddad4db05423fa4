"""
Files: the extracts that lie ready in a folder, each read whole if it was not read before.

Each extract is compared with what the last one of its name held. What it no longer holds goes back to the other extracts
that hold it, or is deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from adapters.engine.ahead import ahead
from adapters.engine.catchup import closing
from adapters.engine.copies import held, is_copy, late, marked, newest, twin
from adapters.engine.difference import Difference
from adapters.engine.extracts import ExtractReading, Listing, Lying, bad_file, digest_of, listing
from adapters.engine.guard import Watch
from adapters.engine.journal import ExtractAccount, Problem, Progress, Seen, Step
from adapters.engine.reading import Means, batches
from adapters.engine.regions import extract_mark, tamed
from adapters.port import Extract, Files, Record, Stream
from canonical.errors import BadRecordError, DoubtfulError

log = logging.getLogger(__name__)


class Blocked:
    """
    The extracts whose deletions wait because another extract cannot be read, with what lay ready then.

    Such an extract is not read again before something in the folder changes, or the extract that blocks it can be read. It is
    only a matter of not reading for nothing: if this is forgotten, the extract is read once more.
    """

    def __init__(self) -> None:
        self._listed: dict[tuple[str, str], Listing] = {}

    def put(self, stream: str, extract: str, listed: Listing) -> None:
        self._listed[stream, extract] = listed

    def holds(self, stream: str, extract: str, listed: Listing) -> bool:
        return self._listed.get((stream, extract)) == listed

    def free(self, stream: str | None = None) -> None:
        """Let the extracts of a stream, or all, be read again."""
        self._listed = {} if stream is None else {of: listed for of, listed in self._listed.items() if of[0] != stream}


async def files(means: Means, stream: Stream, reading: Files, blocked: Blocked) -> None:
    """Read the extracts of a stream that are new, that changed, or of which a person has let changes through."""
    progress = await means.memory.progress(stream.name)
    progress = replace(progress, sweep=progress.sweep + 1, started=means.clock(), read=0, published=0)
    watch = await means.watch(stream)
    await FilesReading(means, stream, reading, watch, progress, blocked).run()


class FilesReading:
    """A running look at a stream's folder."""

    def __init__(
        self, means: Means, stream: Stream, files: Files, watch: Watch, progress: Progress, blocked: Blocked
    ) -> None:
        self._means = means
        self._stream = stream
        self._files = files
        self._watch = watch
        self._progress = progress
        self._blocked = blocked

    async def run(self) -> None:
        seen = await self._means.memory.regions(self._stream.name)
        extracts = await self._listed()
        if await self._forget(seen, {extract.name for extract in extracts}):
            seen = await self._means.memory.regions(self._stream.name)
        for n, extract in enumerate(extracts):
            had = seen.get(extract.name)
            shared = had is not None and had.sweep < 0
            digest = digest_of(extract, self._means.salt)
            former = None if had is None else held(had)
            lying = Lying(extract, digest, extracts[:n], extracts[n + 1 :], shared, former)
            if self._blocked.holds(self._stream.name, extract.name, listing(extracts)):
                continue
            if had is None or newest(had) != digest or self._watch.allowed(extract.name):
                if not await self._is_copy(lying, seen):
                    await self._extract(lying)
                seen = await self._means.memory.regions(self._stream.name)
        ended = replace(self._progress, completed=self._means.clock(), held=self._watch.held, error=None)
        await self._means.publisher.publish(self._stream.name, Difference(), {}, Step(progress=ended))

    async def _listed(self) -> list[Extract]:
        """The extracts that lie ready now, the oldest first."""
        items = self._means.system.items(self._files.extracts(), self._stream.pause)
        async with closing(items) as extracts:
            return [extract async for extract in extracts]

    # -- copies --------------------------------------------------------------------------------------------------

    async def _is_copy(self, lying: Lying, seen: Mapping[str, Seen]) -> bool:
        """Say once that an extract is, or was, a copy of one that records were read from."""
        extract, stream = lying.extract, self._stream.name
        found = twin(lying, seen)
        if found is None or not await self._holds_records(found.name):
            return False
        if not found.was and found.name not in lying.others and await self._adds_nothing(lying):
            return False  # the file was renamed, and its records go with it
        mark, had = marked(lying, self._progress.sweep), seen.get(extract.name)
        if found.was:
            self._blocked.put(stream, extract.name, lying.listed)
        elif had is not None and had.digest == mark.digest:
            return True
        error = BadRecordError(
            f"{self._means.adapter} extract {extract.name}", field="file", shape="a copy",
            rule=f"was first the same as the extract {found.name}" if found.was else f"is the same as the extract {found.name}",
            fix=f"if it takes the place of that file, name it {found.name}; if not, take it away, or give it a new name",
        )  # fmt: skip
        step = Step() if found.was else Step(regions={extract.name: mark}, accounts={extract.name: ExtractAccount()})
        step.problems.append(Problem.of(bad_file(self._means.adapter, extract.name), error))
        await self._means.publisher.publish(self._stream.name, Difference(), {}, step)
        return True

    async def _adds_nothing(self, lying: Lying) -> bool:
        """Tell whether all records of an extract live under their keys already: then none is doubled by its new name."""
        reading = ExtractReading(self._means, self._stream, lying, self._watch)
        try:
            async with closing(self._means.system.items(reading.pieces(), self._stream.pause)) as pieces:
                async for records in pieces:
                    keys = {tamed(record).key for record in records}
                    known = await self._means.memory.lookup(self._stream.name, sorted(keys))
                    if len(known) < len(keys) or any(each.deleted for each in known):
                        return False
        except BadRecordError:
            return False
        return True

    async def _holds_records(self, name: str) -> bool:
        return bool(await self._means.memory.members_after(self._stream.name, (name, extract_mark(name)), "", 1))

    # -- files that were taken away ------------------------------------------------------------------------------

    async def _forget(self, seen: Mapping[str, Seen], lying: Collection[str]) -> bool:
        """End the problems of copies and of refused files that were taken away. True if there were any."""
        away = {bad_file(self._means.adapter, name): name for name in seen if name not in lying}
        bad = await self._means.memory.quarantined(self._stream.name, list(away)) if away else set()
        gone = {key: name for key, name in away.items() if key in bad or is_copy(seen[name])}
        for key, name in gone.items():
            await self._taken_away(key, name, seen[name])
        return bool(gone)

    async def _taken_away(self, key: str, name: str, had: Seen) -> None:
        """Forget the file that was refused. Records of the file that had its name before stay, and that one counts as read."""
        self._watch.begin(name)
        self._watch.doubt("", [])
        step = Step(mended=[key], guarded=self._watch.changed())
        if is_copy(had) or not await self._holds_records(name):
            step.gone_regions.append(name)
        else:
            step.regions[name] = replace(had, digest=held(had))
        await self._means.publisher.publish(self._stream.name, Difference(), {}, step)

    # -- one extract ---------------------------------------------------------------------------------------------

    async def _extract(self, lying: Lying) -> None:
        """
        Read a file that replaces the last file of its name. Its digest is remembered once all of it is published: after a kill
        before that the file is read again, which repeats nothing.
        """
        self._watch.begin(lying.extract.name)
        reading = ExtractReading(self._means, self._stream, lying, self._watch)
        # From now on no older file of this name counts as read, in case it comes back while half of this one is published.
        await self._publish(reading, Difference(), Step(regions={reading.extract.name: self._seen(reading, None, whole=False)}))
        try:
            await self._pieces(reading)
        except BadRecordError as error:
            await self._refused(reading, lying, error)
            return
        report = reading.extract.report()
        self._watch.doubt(reading.extract.digest, report.doubts)
        # Deletions of others may have waited for this extract, if it could not be read before.
        self._blocked.free(self._stream.name)
        may_delete = await self._given_back(reading) and not await self._moved(reading)
        again = await self._end_of(reading, may_delete=may_delete)
        whole = may_delete and not self._watch.keeps(lying.extract.name)
        account = reading.account(report.besides)
        await self._remember(reading, self._seen(reading, None if again else lying.digest, whole=whole), account)

    async def _refused(self, reading: ExtractReading, lying: Lying, error: BadRecordError) -> None:
        """
        Remember a file of which nothing is published. An adapter refuses it before the first portion. If one does so later,
        nothing has been deleted all the same.
        """
        # Its content is not known, so it may hold records that other extracts lack.
        read, name = Seen(late(lying.digest, lying.former), -self._progress.sweep), reading.extract.name
        if isinstance(error, DoubtfulError):
            self._watch.doubt(reading.extract.digest, [error.doubt])
            self._watch.say(f"{self._means.adapter}.{self._stream.name}")
        step = Step(regions={name: read}, problems=[reading.problem(error)], guarded=self._watch.changed())
        if lying.former is None:
            step.accounts[name] = ExtractAccount()
        await self._publish(reading, Difference(), step)

    async def _pieces(self, reading: ExtractReading) -> None:
        """Compare an extract's records piece by piece, and publish what changed."""
        items = self._means.system.items(reading.pieces(), self._stream.pause)
        async with closing(ahead(items)) as pieces:
            async for records in pieces:
                found = await reading.compared(records)
                step = Step(regions=await reading.sharing(), guarded=self._watch.changed())
                await self._publish(reading, found, step, len(records))

    async def _remember(self, reading: ExtractReading, seen: Seen, account: ExtractAccount) -> None:
        had, held = self._progress, self._watch.held
        self._progress = replace(
            had, read=had.read + reading.read, published=had.published + reading.published, held=held
        )
        name, guarded = reading.extract.name, self._watch.changed()
        step = Step(
            regions={name: seen}, mended=reading.mended, progress=self._progress, guarded=guarded, accounts={name: account}
        )
        await self._publish(reading, Difference(), step)

    def _seen(self, reading: ExtractReading, digest: bytes | None, *, whole: bool) -> Seen:
        return reading.seen(digest, self._progress.sweep, whole=whole)

    async def _publish(self, reading: ExtractReading, found: Difference, step: Step, read: int = 0) -> None:
        await self._means.publisher.publish(self._stream.name, found, reading.cursor, step, read)

    # -- the records that it no longer holds ---------------------------------------------------------------------

    async def _given_back(self, reading: ExtractReading) -> bool:
        """
        Give the records that the extract no longer holds back to the other extracts that hold them. False if an extract that
        may hold some cannot be read: then nothing is deleted yet.
        """
        for other in await reading.sharers():
            try:
                async with closing(self._means.system.items(other.pieces(), self._stream.pause)) as pieces:
                    async for records in pieces:
                        await self._taken_back(other, reading, records)
            except BadRecordError:
                log.warning(
                    "%s.%s: %s no longer holds records that it held. They may be in %s, which cannot be read: nothing is "
                    "deleted. To do: mend that file, or take it away",
                    self._means.adapter, self._stream.name, reading.extract.name, other.extract.name,
                )  # fmt: skip
                self._blocked.put(self._stream.name, reading.extract.name, reading.listed)
                return False
        return True

    async def _taken_back(self, other: ExtractReading, reading: ExtractReading, records: Sequence[Record]) -> None:
        found = await other.taken_back(records, reading)
        # A change that is put aside is judged with all others of that extract, at its next reading.
        again = {other.extract.name: Seen(None, -self._progress.sweep)} if found.aside else {}
        await self._publish(reading, found, Step(regions=again, guarded=self._watch.changed()), len(records))

    async def _moved(self, reading: ExtractReading) -> bool:
        """
        True if the extract lacks records and the folder has changed since it was listed. A lacking record may have moved to
        another extract meanwhile, so nothing is deleted yet.
        """
        if not await reading.lacks():
            return False
        return reading.listed != listing(await self._listed())

    async def _end_of(self, reading: ExtractReading, *, may_delete: bool) -> bool:
        """
        End an extract that was read to its end: delete the records that it lacks, unless the guard holds that back, and publish
        the changes that the guard lets through. Whether the extract has to be read again.
        """
        watch, stream = self._watch, self._stream
        delete = may_delete and watch.deletions(*await reading.missing())
        let = await watch.changes(self._means.memory, stream.name)
        watch.say(f"{self._means.adapter}.{stream.name}")
        await self._means.intend(stream, watch)
        if delete:
            await self._delete(reading)
        for some in batches(let):
            watch.spend(some)
            guarded = watch.changed()
            await self._publish(reading, await reading.let(some), Step(guarded=guarded))
        return watch.end(whole=may_delete) or not may_delete

    async def _delete(self, reading: ExtractReading) -> None:
        async with closing(reading.lacking()) as pages:
            async for lacking in pages:
                found = reading.gone(lacking)
                self._watch.deleted(len(found.events))
                await self._publish(reading, found, Step(guarded=self._watch.changed()))
