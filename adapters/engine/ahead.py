"""A sweep works ahead: while one page is being published, the next one is read, cut into regions and mapped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

from adapters.engine.catchup import closing
from adapters.engine.journal import Known, Seen
from adapters.engine.mapping import Made, mapped
from adapters.engine.regions import Region, Regions
from adapters.port import Page, Position, Record, Stream
from canonical.errors import ends_us
from canonical.turns import in_turns

T = TypeVar("T")
_PIECE = 250  # records that are cut into regions in one go, about a millisecond
_FEW = 8  # rows that are mapped in one go, about half a millisecond


class Portion(NamedTuple):
    """
    Some complete regions, and where the sweep stands behind them (None: where it stood before). `made` is what some of
    their rows were mapped to already, by the rows' digests.
    """

    regions: list[Region]
    after: Position | None
    made: dict[bytes, Made]


async def portions(
    stream: Stream, pages: AsyncIterator[Page], regions: Regions, seen: Mapping[str, Seen]
) -> AsyncIterator[Portion]:
    """Each page's complete regions. A region that is not in `seen` is new, and so are its rows: they are mapped."""
    async with closing(pages):
        async for page in pages:
            cut = [regions.add(piece) async for piece in in_turns(_pieces(page.records))]
            if complete := [each for some in cut for each in some]:
                yield await _portion(stream, complete, seen, complete[-1].records[-1].position)
    if last := regions.end():
        # The open end is read again by whoever goes on from here: rows may have been added to it.
        yield await _portion(stream, last, seen, None)


def _pieces(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    return (records[start : start + _PIECE] for start in range(0, len(records), _PIECE))


async def _portion(stream: Stream, regions: list[Region], seen: Mapping[str, Seen], after: Position | None) -> Portion:
    made: dict[bytes, Made] = {}
    new = (each for each in regions if each.name not in seen)
    await map_rows(stream, (row for each in new for row in zip(each.records, each.digests, strict=True)), made)
    return Portion(regions, after, made)


async def map_changed(stream: Stream, regions: Iterable[Region], known: Iterable[Known], made: dict[bytes, Made]) -> None:
    """Map the regions' rows that differ from what is known of them, as `map_rows` does."""
    same = {each.key: None if each.lost else each.row_digest for each in known}
    rows = (row for each in regions for row in zip(each.records, each.digests, strict=True))
    await map_rows(stream, (row for row in rows if same.get(row[0].key) != row[1]), made)


async def map_rows(stream: Stream, rows: Iterable[tuple[Record, bytes]], made: dict[bytes, Made]) -> None:
    """Map rows into `made`, by their digests, in turns with all other tasks."""
    rows = iter(rows)
    async for few in in_turns(iter(lambda: tuple(islice(rows, _FEW)), ())):
        for record, digest in few:
            try:
                made[digest] = mapped(stream, record)
            except BaseException as error:
                if ends_us(error):
                    raise
                continue  # it fails again when it is compared, and is quarantined then


async def ahead(items: AsyncIterator[T]) -> AsyncIterator[T]:
    """The same items, the next one being made while one is worked on: reading a sweep changes nothing."""

    async def following() -> T | None:
        return await anext(items, None)

    async with closing(items):
        coming = asyncio.ensure_future(following())
        try:
            while (item := await coming) is not None:
                coming = asyncio.ensure_future(following())
                yield item
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
