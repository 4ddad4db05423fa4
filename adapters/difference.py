"""
What changed: rows against what is known of them. Nothing here does I/O.

A stream's rows are compared in *regions*: runs of rows that end where a key's checksum says so, about 512 long. An insert
or a delete moves no other boundary, so an unchanged region costs one comparison, wherever the pages were cut.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from pydantic import ValidationError

from adapters.journal import Known, Problem
from adapters.port import Record, Stream
from canonical import Event
from canonical.entity import bad_record
from canonical.errors import BadRecordError, MisconfiguredError

MEAN_REGION = 512  # a power of two: the mask below picks one key in so many
LONGEST_REGION = 8 * MEAN_REGION
LAST_REGION = "~"  # sorts behind every key and is none
TWICE = "#again"  # marks the quarantine of a second row with a key that was already seen
BUGS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a mapping that met a value it was not written for raises: that row is quarantined, and no other."""


class Region(NamedTuple):
    """A run of records, named after the key that ends it, with each row's digest and the digest of them all."""

    name: str
    records: list[Record]
    digests: list[bytes]
    digest: bytes


class Regions:
    """Cuts pages of records into regions; what is left of a page waits for the next one."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt
        self._open: list[Record] = []

    def add(self, records: Iterable[Record]) -> list[Region]:
        """The regions that these records complete."""
        complete = []
        for record in records:
            self._open.append(record)
            if not crc32(record.key.encode()) & (MEAN_REGION - 1) or len(self._open) >= LONGEST_REGION:
                complete.append(self._cut(record.key))
        return complete

    def end(self) -> list[Region]:
        """The region behind the last boundary: the stream's open end."""
        return [self._cut(LAST_REGION)] if self._open else []

    def _cut(self, name: str) -> Region:
        records, self._open = self._open, []
        return region(name, records, self._salt)


def region(name: str, records: list[Record], salt: bytes) -> Region:
    """
    Digest some records. The salt names the mapping's edition: rows of an older one count as changed.

    `repr` of a row is its content: the drivers' own values print exactly and the same way each time.
    """
    digests = [blake2b(repr(record.row).encode(), digest_size=12, key=salt).digest() for record in records]
    return Region(name, records, digests, blake2b(b"".join(digests), digest_size=12).digest())


@dataclass(slots=True)
class Difference:
    """
    What to publish and to remember.

    `events` lie beside the known records that they are about, in `about`: each record's place is noted there once it is known.
    """

    events: list[Event] = field(default_factory=list)
    about: list[Known] = field(default_factory=list)
    known: dict[str, Known] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)


class Comparison:
    """Compares one stream's rows with what is known; `known` holds every record that they might be about."""

    def __init__(
        self, adapter: str, stream: Stream, known: Iterable[Known], quarantined: set[str], now: datetime
    ) -> None:
        self._adapter = adapter
        self._stream = stream
        self._known = {k.key: k for k in known}
        self._quarantined = quarantined
        self._twice = {key for key in quarantined if key.endswith(TWICE)}
        self._now = now
        self.found = Difference()

    def rows(self, region: Region) -> None:
        """Compare a region's rows; what is known in the region and has no row any more loses its region."""
        seen: set[str] = set()
        for record, digest in zip(region.records, region.digests, strict=True):
            if record.key in seen:
                self._second(record.key)
                continue
            seen.add(record.key)
            self._row(record, digest, region.name)
        self.found.mended += [key for key in self._twice if key.removesuffix(TWICE) in seen]
        for known in self._known.values():
            if known.region == region.name and known.key not in seen:
                known.region = None
                known.row_digest = None
                self.found.known[known.key] = known

    def row(self, single: Region, home: str | None) -> None:
        """Compare one record by itself, leaving it in the region that it is known in."""
        self._row(single.records[0], single.digests[0], home)

    def gone(self, records: Iterable[Known]) -> None:
        """Publish the deletion of records that the legacy system no longer holds."""
        for known in records:
            if known.version and not known.deleted:
                self._event(known, known.owner, None, fresh=not known.lost)
            known.deleted, known.lost = True, False
            known.region = known.row_digest = known.fingerprint = None
            self.found.known[known.key] = known
            self.found.mended.append(known.key)

    def _row(self, record: Record, digest: bytes, region: str | None) -> None:
        known = self._known.get(record.key)
        if known is None or known.row_digest != digest or known.lost:
            self._map(record, digest, region, known)
        elif known.region != region:
            known.region = region
            self.found.known[known.key] = known

    def _map(self, record: Record, digest: bytes, region: str | None, known: Known | None) -> None:
        try:
            entity = self._stream.map(record.row)
            data = entity.to_bytes()
        except ValidationError as error:
            return self._quarantine(record, digest, region, known, bad_record(self._where(record.key), error))
        except BadRecordError as error:
            return self._quarantine(record, digest, region, known, error)
        except BUGS as error:
            return self._quarantine(record, digest, region, known, _bug(self._where(record.key), error))
        if entity.key != record.key:
            raise MisconfiguredError(
                self._where(record.key), "the mapping gave another key", fix="mend the adapter's mapping"
            )
        fingerprint = blake2b(data, digest_size=16).digest()
        if known is None:
            known = self._known[record.key] = Known(record.key, entity.type_name, entity.owner, None, None, None, 0)
        same = known.fingerprint == fingerprint and not known.deleted
        if not same or known.lost:
            if known.version and not known.deleted and not known.lost and known.owner != entity.owner:
                # It moves to another owner's partition: what lies in the old one must not outlive it there.
                self._event(known, known.owner, None)
            known.entity, known.owner = entity.type_name, entity.owner
            self._event(known, entity.owner, data, fresh=not (same and known.lost))
        known.fingerprint, known.row_digest, known.region = fingerprint, digest, region
        known.deleted = known.lost = False
        self.found.known[known.key] = known
        if record.key in self._quarantined:
            self.found.mended.append(record.key)
        return None

    def _quarantine(
        self, record: Record, digest: bytes, region: str | None, known: Known | None, error: BadRecordError
    ) -> None:
        if known is None:
            known = self._known[record.key] = Known(
                record.key, self._stream.entities[0].type_name, "", None, None, None, 0
            )
        known.row_digest, known.region = digest, region
        self.found.known[known.key] = known
        self._problem(record.key, error)

    def _second(self, key: str) -> None:
        self._twice.discard(key + TWICE)
        fix = "find out which row is the right one in the legacy system"
        error = BadRecordError(
            self._where(key), field="key", rule="occurs more than once", shape="a second row", fix=fix
        )
        self._problem(key + TWICE, error)

    def _problem(self, key: str, error: BadRecordError) -> None:
        self.found.problems.append(Problem(key, error.field, error.rule, error.shape, str(error)))

    def _event(self, known: Known, owner: str, data: bytes | None, *, fresh: bool = True) -> None:
        # An event that the journal lost is published again as what it was: same version, same id.
        known.version += fresh
        self.found.events.append(
            Event(known.entity, self._adapter, known.key, owner, known.version, self._now, data, self._stream.name)
        )
        self.found.about.append(known)

    def _where(self, key: str) -> str:
        return f"{self._adapter}.{self._stream.name} {key}"


def _bug(where: str, error: Exception) -> BadRecordError:
    """A mapping's own mistake, named by its place in the code; its text may quote the row."""
    line = traceback.extract_tb(error.__traceback__)[-1]
    return BadRecordError(
        where,
        field=f"the mapping ({Path(line.filename).name}:{line.lineno})",
        rule=f"failed with {type(error).__name__}",
        shape="a row",
        fix="mend the adapter's mapping; the row is read again with the next edition of its code",
    )
