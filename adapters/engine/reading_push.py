"""
A push: what a legacy system sends by itself.

Each parcel is published in one transaction, remembered, and only then answered, so an answer means that its events are in
Kafka. What a system sends again is unchanged, or is older than what is known; in both cases nothing is published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

from adapters.engine.ahead import map_rows
from adapters.engine.catchup import closing
from adapters.engine.difference import Difference
from adapters.engine.elapsed import within
from adapters.engine.journal import Known, Progress, Step
from adapters.engine.mapping import Made
from adapters.engine.reading import Means
from adapters.engine.regions import Region, position_at, region, tamed
from adapters.port import Gone, Parcel, Position, Push, Record, Stream

LONGEST = timedelta(minutes=1)
"""How long one reading lasts if parcels keep coming: between two of them a person's pause and the claim are looked at."""


async def push(means: Means, stream: Stream, reading: Push) -> None:
    """Take in what has come, until nothing more comes for the moment."""
    progress = await means.memory.progress(stream.name)
    progress = replace(progress, started=means.clock(), read=0, published=0)
    await PushReading(means, stream, progress).run(reading)


class PushReading:
    """A running reading of what is pushed. The guard has no part in it: what was sent once cannot be kept back and read later."""

    def __init__(self, means: Means, stream: Stream, progress: Progress) -> None:
        self._means = means
        self._stream = stream
        self._progress = progress

    async def run(self, reading: Push) -> None:
        began = self._means.clock()
        async with closing(self._means.system.items(reading.receive(), self._stream.pause)) as parcels:
            async for parcel in parcels:
                await self._take_in(parcel)
                if not within(LONGEST, began, self._means.clock()):
                    break
        ended = replace(self._progress, completed=self._means.clock(), error=None)
        await self._means.publisher.publish(self._stream.name, Difference(), {}, Step(progress=ended))

    async def _take_in(self, parcel: Parcel) -> None:
        """Publish and remember what a parcel changes, then answer it."""
        found = await self._compared(_last_words(parcel.records))
        had, number = self._progress, len(parcel.records)
        progress = replace(had, read=had.read + number, published=had.published + len(found.events), error=None)
        step, cursor = Step(progress=progress), {"received": progress.read}
        await self._means.publisher.publish(self._stream.name, found, cursor, step, number, parcel.offsets)
        self._progress = progress
        with self._means.system.watched():
            await parcel.answer([problem.key for problem in found.problems])

    async def _compared(self, words: Mapping[str, Record | Gone]) -> Difference:
        keys = list(words)
        known = {k.key: k for k in await self._means.memory.lookup(self._stream.name, keys)}
        comparison = self._means.comparison(self._stream, known.values(), await self._quarantined(keys))
        new = [word for word in words.values() if not _older(word.position, _position(known.get(word.key)))]
        here = region("", [word for word in new if isinstance(word, Record)], self._means.salt)
        made = await self._made(here, known)
        for record, digest in zip(here.records, here.digests, strict=True):
            comparison.sent(record, digest, made.get(digest))
        for word in new:
            if isinstance(word, Gone):
                comparison.ended(word)
        return comparison.found

    async def _quarantined(self, keys: list[str]) -> set[str]:
        return await self._means.memory.quarantined(self._stream.name, keys)

    async def _made(self, here: Region, known: Mapping[str, Known]) -> dict[bytes, Made]:
        """Map the rows that changed, in slices, because mapping takes the longest."""
        made: dict[bytes, Made] = {}
        rows = zip(here.records, here.digests, strict=True)
        changed = [(r, d) for r, d in rows if (had := known.get(r.key)) is None or had.row_digest != d or had.lost]
        await map_rows(self._stream, changed, made)
        return made


def _last_words(words: Iterable[Record | Gone]) -> dict[str, Record | Gone]:
    """The last word on each key."""
    last: dict[str, Record | Gone] = {}
    for word in words:
        tame = tamed(word)
        if not _older(tame.position, last[tame.key].position if tame.key in last else ()):
            last[tame.key] = tame
    return last


def _position(known: Known | None) -> Position:
    return position_at(known.region) if known else ()


def _older(position: Position, than: Position) -> bool:
    """
    Tell whether a position is surely older. Where one is not known, or the system counts in another way by now, nobody
    can say.
    """
    try:
        return bool(position and than) and position < than
    except TypeError:
        return False
