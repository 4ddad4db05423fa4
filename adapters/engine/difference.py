"""
This module finds what changed: it compares rows with what is known of them. Nothing here does I/O.

The rows come in regions (`adapters.engine.regions`). A row whose digest is another one is mapped; if its fingerprint is
another one, too, there is an event.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from adapters.engine.journal import AGAIN, INCOMPLETE, LARGEST_EVENT, LARGEST_RECORD, Known, Problem
from adapters.engine.mapping import Made, mapped_or_bad, whole_fingerprint_of
from adapters.engine.numbers import NOBODY, Others, owner_of_strange, parted, strange, under
from adapters.engine.regions import LEARNED, Region, place_of
from adapters.port import Gone, Record, Stream
from canonical import ENTITIES, Event
from canonical.errors import BadRecordError, UntoldError

if TYPE_CHECKING:
    from adapters.engine.guard import Watch


class TooLargeError(BadRecordError):
    """An event is larger than its topic takes. That may change without the row, which is mapped again when it is compared."""


class Aside(NamedTuple):
    """A change that is not published with its row: the mapped row, its digest, and the reasons why it was put aside."""

    made: Made
    digest: bytes
    kinds: tuple[str, ...]


def fresh(version: int, now: int) -> int:
    """
    The version for a change of a record whose last version is `version`: `now` in milliseconds since 1970, or more if the
    record has more already.

    So a key that is used again after everybody has forgotten it begins above every version that anybody may hold. The result
    is even: the odd version below it belongs to the tombstone that a move leaves in the old owner's partition, and to no
    other event.
    """
    at = version + 2 if version + 2 > now else now
    return at + at % 2


@dataclass(slots=True)
class Difference:
    """
    The events to publish and the changes to remember.

    `about` lists, beside `events`, the known record of each event: the record's place is noted there once it is known. `left`
    are the regions in which a record was known before it turned up in another one. `doubled` are the regions that hold the
    second row of a key, or a change that was put `aside`. All of them have to be compared again. `strays` are new rows that
    may be known records under a new number; what becomes of them is seen at the reading's end.
    """

    events: list[Event] = field(default_factory=list)
    about: list[Known] = field(default_factory=list)
    known: dict[str, Known] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    left: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    aside: list[Aside] = field(default_factory=list)
    strays: list[Aside] = field(default_factory=list)


class Keys:
    """A set of keys that keeps only eight bytes of each, so that a million of them take 70 MB."""

    def __init__(self) -> None:
        self._met: set[int] = set()

    def __contains__(self, key: str) -> bool:
        return _mark(key) in self._met

    def add(self, key: str) -> None:
        self._met.add(_mark(key))


def _mark(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())


class Comparison:
    """
    Compares one stream's rows with the known records.

    `known` holds every record that the rows may be about, `quarantined` the ones of their keys that have a problem. `extract`
    marks the file, or the message, that they were read from. A change is not published if `watch` puts it aside. `largest`
    tells the bytes of an entity type's largest event. A row that may be one of `others` is a stray.
    """

    def __init__(
        self,
        adapter: str,
        stream: Stream,
        known: Iterable[Known],
        quarantined: set[str],
        now: datetime,
        extract: str = "",
        watch: Watch | None = None,
        largest: Callable[[str], int] = lambda _: LARGEST_EVENT,
        others: Others = NOBODY,
    ) -> None:
        self._adapter = adapter
        self._stream = stream
        self._largest = {entity: largest(entity.type_name) for entity in stream.entities}
        self._contracts = {entity.type_name: entity.version for entity in stream.entities}
        self._known: dict[str, Known] = {}
        self._kept: dict[str, Known] = {}
        self._members: dict[str | None, list[Known]] = {}
        for each in known:
            if each.key in self._known:
                continue  # it was found by its region and by its name
            self._known[each.key] = each
            self._members.setdefault(each.region, []).append(each)
            if each.kept is not None:
                self._kept[each.kept] = each
        self._others = others
        self._quarantined = quarantined
        self._now = now
        self._version = int(now.timestamp() * 1000)
        self._extract = extract
        self._watch = watch
        self.found = Difference()

    def rows(
        self,
        region: Region,
        passed: Container[str | None] = (),
        made: Mapping[bytes, Made] = MappingProxyType({}),
        met: Keys | None = None,
    ) -> None:
        """
        Compare a region's rows. A record that is known in the region and has no row any more loses its region.

        `passed` are the regions that the same sweep has left behind: a row is a second one if one of them holds its key. `made`
        holds rows that are mapped already, by their digests. `met` are the keys of earlier rows, if a region is compared in
        pieces; the keys of these rows are added.
        """
        name, seen = region.name, set[str]() if met is None else met
        for record, digest in zip(region.records, region.digests, strict=True):
            known = self._known.get(record.key)
            home = None if known is None else known.region
            if record.key in seen or (home != name and home in passed):
                self.second(record.key)
                self.found.doubled.add(name)
                continue
            seen.add(record.key)
            if home is not None and home != name:
                self.found.left.add(home)
            self._row(record, digest, name, known, made.get(digest))
        for known in self._members.get(name, ()):
            if known.region == name and known.key not in seen:
                self._without_region(known)

    def row(self, single: Region, made: Mapping[bytes, Made] = MappingProxyType({})) -> None:
        """Compare one record by itself; it stays in the region that it is known in."""
        record = single.records[0]
        if record.key + AGAIN in self._quarantined:
            return  # which of its rows is the right one is for the sweep to say: it goes by their order
        known = self._known.get(record.key)
        digest = single.digests[0]
        self._row(record, digest, None if known is None else known.region, known, made.get(digest))

    def sent(self, record: Record, digest: bytes, made: Made | None) -> None:
        """Compare one record that was pushed; from now on it is known at its position."""
        self._extract = place_of(record.position)
        self._row(record, digest, self._extract, self._known.get(record.key), made)

    def ended(self, gone: Gone) -> None:
        """
        Publish the deletion of a record, because the system says so. It is known at its position from now on, also if it was
        never published: what comes late from before its end says nothing.
        """
        self._extract = place_of(gone.position)
        known = self._known.get(gone.key)
        if known is None:
            known = self._known[gone.key] = self._unpublished(gone.key)
        self.gone([known])
        known.region = self._extract

    def second(self, key: str) -> None:
        """Quarantine a further row of a key; the first one stands."""
        rule, fix = "occurs more than once", "find out which row is the right one in the legacy system"
        error = BadRecordError(self._where(key), field="key", rule=rule, shape="a second row", fix=fix)
        self._problem(key + AGAIN, error)

    def made(self, record: Record) -> Made:
        """
        Map a row, whatever is known of it.

        :raises BadRecordError: it cannot be mapped; that is what quarantines it.
        """
        return self._checked(record, self._mapped(record))

    def gone(self, records: Iterable[Known]) -> None:
        """Publish the deletion of records that the legacy system no longer holds."""
        for known in records:
            if known.version and not known.deleted:
                self._event(known, known.owner, None, fresh(known.version, self._version))
            known.deleted, known.lost = True, False
            known.region = known.row_digest = known.fingerprint = None
            self.found.known[known.key] = known
            self.found.mended += [known.key, known.key + INCOMPLETE]

    def let(self, asides: Iterable[Aside]) -> None:
        """Publish changes that were put aside."""
        for made, digest, _ in asides:
            known = self._compare(made, self._filled(made), self._kept.get(made.key) or self._known.get(made.key))
            known.row_digest = digest

    def strays(self, strays: Iterable[Aside]) -> None:
        """Publish strays that no missing record took: each is a new record, or a change of the record with its number."""
        for made, digest, _ in strays:
            known = self._known[made.key]
            made = made if known.kept is None else under(made, known.kept)
            self._take(made, digest, known, known.region)

    def _without_region(self, known: Known) -> None:
        known.region = known.row_digest = None
        self.found.known[known.key] = known
        if known.deleted:  # it had come back as a row that could not be mapped
            self.found.mended.append(known.key)

    def _row(
        self, record: Record, digest: bytes, region: str | None, known: Known | None, made: Made | None = None
    ) -> None:
        if known is None or known.row_digest != digest or known.lost:
            try:
                made = self._checked(record, made or self._mapped(record))
            except BadRecordError as error:
                self._quarantine(record, digest, region, known, error)
            else:
                self._incomplete(record.key, made.left_out)
                if self._others.may_have(known, made.fingerprint, digest):
                    self._stray(Aside(made, digest, ()), known, region)
                    return
                if known is None and made.key in self._kept:
                    known = self._known[made.key] = self._unpublished(made.key)
                if known is not None and known.kept is not None:
                    made = under(made, known.kept)
                self._take(made, digest, known, region)
        elif known.region != region:
            known.region = region
            self.found.known[known.key] = known

    def _take(self, made: Made, digest: bytes, known: Known | None, region: str | None) -> None:
        """Publish what a row says, unless it is put aside."""
        filled = self._filled(made)
        if known is not None and (kinds := self._takes_away(made, filled, known)):
            self._put_aside(Aside(made, digest, kinds), known, region)
            return
        known = self._compare(made, filled, known)
        known.row_digest, known.region = digest, region

    def _mapped(self, record: Record) -> Made:
        return mapped_or_bad(self._where(record.key), self._stream, record)

    def _checked(self, record: Record, made: Made) -> Made:
        if made.key != record.key:
            raise self._wrong(record.key, "key", "is another one than the record was read under")
        largest = self._largest.get(made.kind)
        if largest is None:
            raise self._wrong(record.key, "type", "is none that the stream declares")
        if len(made.data) > largest:
            raise self._too_large(made, largest)
        return made

    def _too_large(self, made: Made, largest: int) -> BadRecordError:
        fix = "find out in the source why so much belongs to one record"
        if largest < LARGEST_EVENT:
            again = f"`ironbridge backfill {self._adapter} {self._stream.name}`"
            fix = f"give the topic of {made.kind.type_name} a `max.message.bytes` of {LARGEST_RECORD} again, then run {again}"
        rule, shape = f"is larger than {largest} bytes", f"{len(made.data)} bytes"
        return TooLargeError(self._where(made.key), field="the entity", rule=rule, shape=shape, fix=fix)

    def _filled(self, made: Made) -> bytes | None:
        return self._watch.contents(made.kind, made.data) if self._watch else None

    def _takes_away(self, made: Made, filled: bytes | None, known: Known) -> tuple[str, ...]:
        if self._watch is None or filled is None or known.deleted or not known.version:
            return ()
        if known.fingerprint == made.fingerprint:
            return ()
        return self._watch.takes_away(known, filled, made.fingerprint)

    def _put_aside(self, aside: Aside, known: Known, region: str | None) -> None:
        """Leave the record as it was published; it counts as seen, and its region is compared again."""
        known.region = region
        self.found.known[known.key] = known
        self.found.aside.append(aside)
        if region is not None:
            self.found.doubled.add(region)
        if known.key in self._quarantined:
            self.found.mended.append(known.key)
            known.row_digest = None  # the bad row is a problem again if it comes back as it was

    def _stray(self, aside: Aside, known: Known | None, region: str | None) -> None:
        if known is not None and known.published:
            away = parted(known, self._version)
            self.found.known[away.key] = self._kept[known.name] = away
            known.region = None
            # Its number may be the name of a third record, which nobody has looked up.
            known = self._unpublished(aside.made.key, named=True)
        known = known or self._unpublished(aside.made.key)
        known.entity, known.fingerprint = aside.made.kind.type_name, aside.made.fingerprint
        met = self._others.strange.get(aside.digest)
        if met is not None or strange(known):
            known.owner = "" if met is None else owner_of_strange(met)
        known.row_digest, known.region = aside.digest, region
        self._known[known.key] = self.found.known[known.key] = known
        self.found.strays.append(aside)
        if known.key in self._quarantined:
            self.found.mended.append(known.key)

    def _compare(self, made: Made, filled: bytes | None, known: Known | None) -> Known:
        key, owner, kind, data, fingerprint, _ = made
        if known is None:
            known = self._known[key] = Known(key, kind.type_name, owner, None, None, None, 0)
        if self._watch is not None and filled is not None:
            self._watch.remember(known, filled, fingerprint)
        same = known.version > 0 and not known.deleted and known.fingerprint == fingerprint
        same = same or (known.published and known.fingerprint == whole_fingerprint_of(data))
        if not same or known.lost:
            # If the journal lost the event, it may also have lost later ones: the record is published under a new version.
            version = fresh(known.version, self._version)
            if known.version and not known.deleted and known.owner != owner:
                # It moves to another owner's partition: what lies in the old one must not outlive it there.
                self._event(known, known.owner, None, version - 1)
                self.found.events[-1] = self.found.events[-1]._replace(moved_to=owner)
            known.entity, known.owner = kind.type_name, owner
            self._event(known, owner, data, version)
        known.fingerprint, known.deleted, known.lost = fingerprint, False, False
        self.found.known[known.key] = known
        if known.key in self._quarantined:
            self.found.mended.append(known.key)
        return known

    def _quarantine(
        self, record: Record, digest: bytes, region: str | None, known: Known | None, error: BadRecordError
    ) -> None:
        if known is None:
            known = self._known[record.key] = self._unpublished(record.key)
        self._incomplete(record.key)
        if known.stray:
            known.fingerprint = None  # it is nobody's row
        if region is None and known.deleted:
            region = LEARNED  # without one, no sweep would notice that its row is gone again
        known.row_digest, known.region = None if isinstance(error, TooLargeError) else digest, region
        self.found.known[known.key] = known
        if not isinstance(error, UntoldError):
            self._problem(record.key, error)
        elif known.key in self._quarantined:
            self.found.mended.append(known.key)

    def _unpublished(self, key: str, *, named: bool = False) -> Known:
        known = Known(key, self._stream.entities[0].type_name, "", None, None, None, 0)
        if named or key in self._kept:
            # The warehouse gives a number again under which another row's record goes on: this row gets a name of its own.
            known.kept = f"{key}-{self._version}"
        return known

    def _incomplete(self, key: str, left_out: BadRecordError | None = None) -> None:
        """Note what a record is published without; None: it lacks nothing, or is not published."""
        if left_out is not None:
            self._problem(key + INCOMPLETE, left_out)
        elif key + INCOMPLETE in self._quarantined:
            self.found.mended.append(key + INCOMPLETE)

    def _problem(self, key: str, error: BadRecordError) -> None:
        self.found.problems.append(Problem.of(key, error))

    def _event(self, known: Known, owner: str, data: bytes | None, version: int) -> None:
        known.version = version
        contract = self._contracts.get(known.entity) or ENTITIES.version_of(known.entity)
        # By position: a named tuple of eleven fields takes twice as long by names.
        event = Event(
            known.entity, self._adapter, known.name, owner, version, self._now, data, self._stream.name, None, contract,
            self._extract,
        )  # fmt: skip
        self.found.events.append(event)
        self.found.about.append(known)

    def _wrong(self, key: str, field: str, rule: str) -> BadRecordError:
        fix = "mend the adapter's mapping"
        return BadRecordError(self._where(key), field=f"the entity's {field}", rule=rule, shape="an entity", fix=fix)

    def _where(self, key: str) -> str:
        return f"{self._adapter}.{self._stream.name} {key}"
