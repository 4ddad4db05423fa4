"""
Recognises rows that a warehouse has numbered anew: other keys, the same content. Nothing here does I/O.

A row with the content of another record that its sweep has not met yet is a *stray*, if it is new or has changed: it is not
published with its row. The record that had a changed row's number is *parted* from it, and missing like one whose row has gone.
At the sweep's end the records that are missing are held against the strays: each takes the row with its content, and keeps the
key that it is published under. So nobody is told anything, and nothing is missing. Strays that are left are new records, or
changes of the records that were parted from them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cache

from adapters.engine.journal import Known
from adapters.engine.mapping import Made, fingerprint_of

FEW = 5
"""
A warehouse has numbered its rows anew if at least so many rows come under new numbers. A few that go, and a few that come with
the same content, are other records.
"""

LEFT = b""
"""The row digest of a record whose row is compared by its number again, because no other record came for its content."""

# Known records for each row that is new, or that has changed: then their contents are looked up sooner than they are published.
_NEW, _CHANGED = 10_000, 1_000
_BEFORE = '{"key":"'
# Behind keys that no row has, because keys are ASCII.
_FREE = "²"  # a name without a row
_PARTED = "³"  # a row's key, of which the record has been parted


def worth(new: int, changed: int, living: int) -> bool:
    """Tell whether so many new rows, and so many that changed, are reason enough to look up what so many records hold."""
    return new * _NEW >= living or (changed >= FEW and changed * _CHANGED >= living)


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


def parted(known: Known) -> Known:
    """A record without the row of its number, whose content is another record's."""
    return replace(known, key=known.key + _PARTED, kept=known.name, region=None, row_digest=None)


def parted_key(key: str) -> str:
    """The key of the record that was parted from a row."""
    return key + _PARTED


def row_of(known: Known) -> str | None:
    """The key of the row from which a record was parted; None if it was not."""
    return known.key.removesuffix(_PARTED) if known.key.endswith(_PARTED) else None


def reunited(known: Known, stray: Known) -> Known:
    """A record with the row that it was parted from: the row has changed, and is compared when it is read next."""
    return replace(joined(known, stray), row_digest=LEFT)


def left(strays: Collection[Known]) -> list[Known]:
    """Strays that are to be published when their rows are read next."""
    return [replace(stray, fingerprint=None, row_digest=LEFT) for stray in strays]


def _quoted(key: str) -> bytes:
    return b'"' + key.encode() + b'"'
