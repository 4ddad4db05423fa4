"""A sweep works ahead: while one page is being published, the next one is read, cut into regions and mapped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple, TypeVar

from adapters.engine.catchup import closing
from adapters.engine.journal import Seen
from adapters.engine.mapping import Made, mapped
from adapters.engine.regions import Region, Regions
from adapters.port import Page, Position, Record, Stream
from canonical.errors import ends_us

T = TypeVar("T")
_SLICE = 32  # rows, about a millisecond, for which nobody else gets a turn


class Portion(NamedTuple):
    """
    Some complete regions, and where the sweep stands behind them (None: where it stood before). `made` is what some of
    their rows were mapped to already, by the rows' digests.
    """

    regions: list[Region]
    after: Position | None
    made: Mapping[bytes, Made]


async def portions(
    stream: Stream, pages: AsyncIterator[Page], regions: Regions, seen: Mapping[str, Seen]
) -> AsyncIterator[Portion]:
    """Each page's complete regions. A region that is not in `seen` is new, and so are its rows: they are mapped."""
    async with closing(pages):
        async for page in pages:
            if complete := regions.add(page.records):
                yield await _portion(stream, complete, seen, complete[-1].records[-1].position)
    if last := regions.end():
        # The open end is read again by whoever goes on from here: rows may have been added to it.
        yield await _portion(stream, last, seen, None)


async def _portion(stream: Stream, regions: list[Region], seen: Mapping[str, Seen], after: Position | None) -> Portion:
    made: dict[bytes, Made] = {}
    for each in regions:
        if each.name not in seen:
            await map_rows(stream, zip(each.records, each.digests, strict=True), made)
    return Portion(regions, after, made)


async def map_rows(stream: Stream, rows: Iterable[tuple[Record, bytes]], made: dict[bytes, Made]) -> None:
    """Map rows into `made`, by their digests, in slices, so that other tasks have their turn meanwhile."""
    for n, (record, digest) in enumerate(rows):
        if n % _SLICE == 0:
            await asyncio.sleep(0)
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
