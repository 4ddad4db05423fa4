"""
Regions: runs of rows that one digest stands for. Nothing here does I/O.

A stream's rows are compared in *regions*: runs of rows that end where a key's checksum says so, about 512 long. An
insert or a delete moves no other boundary, so an unchanged region costs one comparison, wherever the pages were cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeVar
from zlib import crc32

from adapters.port import Gone, Position, Record

Word = TypeVar("Word", Record, Gone, Record | Gone)

MEAN_REGION = 512
LAST_REGION = "~"  # the open end: it sorts behind every key and is no key itself
LEARNED = "?"  # the region of records that are known from the journal, or from a tail, and that no sweep has met since
LONGEST_KEY = 240  # as canonical.entity.Key has it
_PUSHED = "@["  # begins the place of a pushed record: no key and no digest begins so


class Region:
    """
    A run of records, named after the key that ends it. `digest` stands for all of them, `digests` for one each: these are worked
    out when they are asked for, which nobody does for a region that is as it was.
    """

    __slots__ = ("_digests", "_salt", "_texts", "digest", "name", "records")

    def __init__(self, name: str, records: list[Record], salt: bytes) -> None:
        """
        The salt names the mapping's edition: rows of an older one count as changed.

        `repr` of a row is its content: the drivers' own values print exactly and the same way each time.
        """
        self.name, self.records, self._salt = name, records, salt
        self._texts = [repr(record.row) for record in records]
        self._digests: list[bytes] | None = None
        # No value prints with a zero byte in it, so only these rows make this text.
        self.digest = blake2b("\0".join(self._texts).encode(), digest_size=12, key=salt).digest()

    @property
    def digests(self) -> list[bytes]:
        if self._digests is None:
            blank = blake2b(digest_size=12, key=self._salt)
            self._digests = [_digest(blank, text) for text in self._texts]
            self._texts.clear()
        return self._digests


class Regions:
    """
    Cuts pages of records into regions; what is left of a page waits for the next one.

    `mean` is how long they are on average, a power of two; none is longer than 8 times that.
    """

    def __init__(self, salt: bytes, mean: int = MEAN_REGION) -> None:
        self._salt = salt
        self._mask = mean - 1
        self._longest = 8 * mean
        self._open: list[Record] = []
        self._full = False

    def add(self, records: Iterable[Record]) -> list[Region]:
        """The regions that these records complete."""
        complete, mask, longest = [], self._mask, self._longest
        for record in records:
            key = record.key
            # Rows with one key stay together, or there would be two regions of one name.
            if self._full and key != self._open[-1].key:
                complete.append(self._cut())
            self._open.append(record)
            self._full = not crc32(key.encode("utf-8", "replace")) & mask or len(self._open) >= longest
        return complete

    def end(self) -> list[Region]:
        """The region behind the last boundary: the stream's open end, whatever key it ends with."""
        self._full = False
        return [self._cut()] if self._open else []

    def _cut(self) -> Region:
        records, self._open = self._open, []
        name, self._full = (tamed(records[-1]).key if self._full else LAST_REGION), False
        return region(name, records, self._salt)


def extract_mark(name: str) -> str:
    """Give the digest that stands for an extract in events and in keys, because a file's name may name a person."""
    return blake2b(name.encode(), digest_size=8).hexdigest()


def region(name: str, records: Iterable[Record], salt: bytes) -> Region:
    """Some records as a region, under the keys that they are known by."""
    records = list(records)
    return Region(name, records if _tame(records) else [tamed(record) for record in records], salt)


def _digest(blank: blake2b, text: str) -> bytes:
    row = blank.copy()  # cheaper than a new one
    row.update(text.encode())
    return row.digest()


def place_of(position: Position) -> str:
    """Give the text that stands for a pushed record's position, in its event and instead of its region."""
    return "@" + json.dumps(position, separators=(",", ":"))


def position_at(place: str | None) -> Position:
    """The position that a place stands for; () if it is no place of a pushed record."""
    return tuple(json.loads(place[1:])) if place is not None and is_place(place) else ()


def is_place(region: str | None) -> bool:
    """Tell whether a region is the place of a pushed record."""
    return region is not None and region.startswith(_PUSHED)


def _tame(records: list[Record]) -> bool:
    """Tell whether `tamed` would leave all of these as they are, at a fraction of its price."""
    keys = [record.key for record in records]
    return (
        (text := "".join(keys)).isascii()
        and text.isprintable()
        and max(map(len, keys), default=0) <= LONGEST_KEY
        and LAST_REGION not in keys
        and LEARNED not in keys
    )


def tamed(record: Word) -> Word:
    """A record under the key that it is known by: one that no canonical key can be is replaced by its digest."""
    key = record.key
    if len(key) <= LONGEST_KEY and key.isascii() and key.isprintable() and key not in (LAST_REGION, LEARNED):
        return record
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return record._replace(key=f"unreadable-key:{digest}")
