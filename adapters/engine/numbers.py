"""
Recognises rows that a warehouse has numbered anew: other keys, the same content. Nothing here does I/O.

A row with the content of another record is a *stray*, if it is new or has changed: it is not published with its row. The record
that had a changed row's number is *parted* from it, and missing like one whose row has gone. At the sweep's end the records that
are missing are held against the strays: each takes the row with its content, and keeps the key that it is published under. So
nobody is told anything, and nothing is missing. Strays that are left are new records, or changes of the records that were parted
from them.

A warehouse may have numbered its people anew when they had been read, and their episodes had not. The content of an episode then
has a number that nobody knows: such a row is a *strange* stray, and is looked up again until the people have been read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from adapters.engine.journal import Known
from adapters.engine.mapping import Made, fingerprint_of

FEW = 5
"""
A warehouse has numbered its rows anew if at least so many rows come under new numbers. A few that go, and a few that come with
the same content, are other records. In a stream of less than twice as many, half of them are enough (`Strays`).
"""

LEFT = b""
"""The row digest of a record whose row is compared by its number again, because no other record came for its content."""
WAITS = b"?"
"""The row digest of a strange stray between two sweeps."""

_STRANGE = "?"  # begins the owner of a strange stray; then comes the time when it was met, in ms

# Known records for each row that is new, or that has changed: then their contents are looked up sooner than they are published.
_NEW, _CHANGED = 10_000, 1_000
_BEFORE = '{"key":"'
# Behind keys that no row has, because keys are ASCII.
_FREE = "²"  # a name without a row
_PARTED = "³"  # a row's key, from which a record has been parted; behind it stand the time in ms and the record's name


class Others(NamedTuple):
    """
    These grounds decide whether a row may belong to another record than the one with its number. `contents` are the
    fingerprints of records that may come under new numbers; a new row may have one of them, and a changed row if `dealt`.
    `strange` holds the digests of new rows that name records which nobody knows yet, and when each was first met, in ms: the
    records that they name may have new numbers, too. `sweeps` is true while a sweep runs, and false for a tail.
    """

    contents: Container[bytes] = ()
    dealt: bool = False
    strange: Mapping[bytes, int] = MappingProxyType({})
    sweeps: bool = True

    def may_have(self, known: Known | None, fingerprint: bytes, digest: bytes) -> bool:
        """Tell whether a row, known as this record's, may be another record's."""
        if known is not None and (known.stray or (known.row_digest == WAITS and not self.sweeps)):
            return True
        if digest not in self.strange and fingerprint not in self.contents:
            return False
        if known is None or not known.published:
            return new(known) or (known is not None and known.row_digest == WAITS)
        return self.dealt and not known.lost and known.row_digest != LEFT and known.fingerprint != fingerprint


NOBODY = Others()


def few_of(living: int) -> int:
    """Tell how many rows are enough in a stream of so many records."""
    return min(FEW, (living + 1) // 2 or 1)


def new(known: Known | None) -> bool:
    """Tell whether nobody has met a row with that key, or nobody since its record was deleted."""
    return known is None or (known.deleted and known.row_digest is None)


def worth(added: int, changed: int, living: int) -> bool:
    """Tell whether enough rows are new, or have changed, to look up what all living records hold."""
    return added * _NEW >= living or (changed >= FEW and changed * _CHANGED >= living)


def under(made: Made, name: str) -> Made:
    """A row's entity under the key that its record keeps."""
    if name == made.key:
        return made
    owner = name if made.owner == made.key else made.owner
    return made._replace(key=name, owner=owner, data=made.data.replace(_quoted(made.key), _quoted(name), 1))


def references(source: str, made: Iterable[Made]) -> set[str]:
    """The keys of the source's other records that these entities name."""
    found = _keys_of(source)
    return {key.decode() for each in made for key in found.findall(each.data, len(each.key))}


def resolved(source: str, made: Made, kept: Mapping[str, str]) -> Made:
    """An entity that names other records by the keys that they keep."""
    own = len(_BEFORE) + len(made.key)
    data = made.data[:own] + _keys_of(source).sub(
        lambda key: _quoted(kept.get(key[1].decode(), key[1].decode())), made.data[own:]
    )
    if data == made.data:
        return made
    return made._replace(owner=kept.get(made.owner, made.owner), data=data, fingerprint=fingerprint_of(data))


@cache
def _keys_of(source: str) -> re.Pattern[bytes]:
    return re.compile(rb'"(' + re.escape(source).encode() + rb':[!#-\[\]-~ ]+)"')


def matched(missing: Iterable[Known], strays: Iterable[Known]) -> list[tuple[Known, Known]]:
    """Missing records, each with a stray of its content; where several have the same content, in the order of their keys."""
    free: dict[tuple[str, bytes | None], list[Known]] = defaultdict(list)
    for stray in strays:
        free[stray.entity, stray.fingerprint].append(stray)
    return [
        (known, some.pop(0))
        for known in missing
        if not known.lost and (some := free.get((known.entity, known.fingerprint)))
    ]


def joined(known: Known, stray: Known) -> Known:
    """A record with the row that it comes from now."""
    kept = None if known.name == stray.key else known.name
    return replace(known, key=stray.key, kept=kept, region=stray.region, row_digest=stray.row_digest)


def set_free(stray: Known) -> Known | None:
    """A deleted record that was known under the key of a row that is another's now; None if there was none."""
    if not stray.version:
        return None
    return unrowed(replace(stray, fingerprint=None, row_digest=None, region=None))


def unrowed(known: Known) -> Known:
    """A record without a row, which leaves the key of its name to any row."""
    return replace(known, key=known.name + _FREE, kept=known.name)


def parted(known: Known, at: int) -> Known:
    """Return a record without its row, because the row says what another record says; `at` is the present time in ms."""
    key = f"{known.key}{_PARTED}{at:013d} {known.name}"
    return replace(known, key=key, kept=known.name, region=None, row_digest=None)


def row_of(known: Known) -> str | None:
    """The key of the row from which a record was parted; None if it was not."""
    row, parted_from, _ = known.key.partition(_PARTED)
    return row if parted_from else None


def reunited(known: Known, stray: Known) -> Known:
    """A record with the row that it was parted from: the row has changed, and is compared when it is read next."""
    return replace(joined(known, stray), row_digest=LEFT)


def left(strays: Collection[Known], waits: Collection[str]) -> list[Known]:
    """Return the strays as the next reading finds them: it publishes them, or looks up those in `waits` once more."""
    return [replace(s, fingerprint=None, row_digest=WAITS if s.key in waits else LEFT) for s in strays]


def owner_of_strange(met: int) -> str:
    """Return the mark that a strange stray has instead of an owner. It holds the time when its row was first met, in ms."""
    return f"{_STRANGE}{met}"


def strange(stray: Known) -> int:
    """Return when a strange stray was first met, in ms; 0 for any other stray."""
    return int(stray.owner.removeprefix(_STRANGE)) if stray.owner.startswith(_STRANGE) else 0


def _quoted(key: str) -> bytes:
    return b'"' + key.encode() + b'"'
