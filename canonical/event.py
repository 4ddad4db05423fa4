"""
The envelope: CloudEvents 1.0 in the Kafka protocol binding's binary mode.

The record's value is the entity's whole state, its key the entity's key, the attributes are `ce_*` headers. A delete is
a record without a value that still carries its headers. Attributes: https://github.com/cloudevents/spec (v1.0.2; the
extensions `sequence` and `partitioning`); `traceparent` stands beside them, where OpenTelemetry looks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from canonical.entity import Entity
from canonical.errors import BadRecordError, shape_of

Headers = list[tuple[str, bytes]]

_SPEC = ("ce_specversion", b"1.0")
_JSON = ("content-type", b"application/json")
_SOURCE = "urn:ironbridge:"


class Event(NamedTuple):
    """
    One version of one entity, as it was observed.

    `data` is the canonical JSON, None if the entity was deleted. `version` grows with each change of a key; a key that is
    used again begins above every version that anybody may hold. `time` is when the change was observed, in UTC. `owner`
    decides the partition. `stream` is the part of the source that it was read from. `extract` is a digest of the file's
    name, if it was read from a file, or the place of the message, if it was pushed.
    """

    entity: str
    source: str
    key: str
    owner: str
    version: int
    time: datetime
    data: bytes | None
    stream: str = ""
    traceparent: str | None = None
    schema_version: int = 1
    extract: str = ""
    moved_to: str = ""
    """The new owner, if this is what a move leaves in the old owner's partition: the entity lives on there."""

    def __repr__(self) -> str:
        """The event's id only, because its content must not reach a log."""
        return f"Event({self.id})"

    @property
    def id(self) -> str:
        """The same for the same (source, key, version), whenever it is made: the key begins with the source."""
        return f"{self.key}@{self.version}"

    @property
    def type(self) -> str:
        return f"ironbridge.{self.entity}.v{self.schema_version}"

    def headers(self) -> Headers:
        """The attributes as Kafka headers."""
        source, kind, schema, *stream = _common(self.source, self.entity, self.schema_version, self.stream)
        key = self.key.encode()
        headers = [
            _SPEC,
            ("ce_id", b"%b@%d" % (key, self.version)),
            source,
            kind,
            ("ce_subject", key),
            ("ce_time", _written(self.time)),
            schema,
            ("ce_sequence", b"%010d" % self.version),  # the extension wants them to sort as text
            ("ce_partitionkey", self.owner.encode()),
            _JSON,
            *stream,
        ]
        if self.extract:
            headers.append(("ce_extract", self.extract.encode()))
        if self.moved_to:
            headers.append(("ce_movedto", self.moved_to.encode()))
        if self.traceparent:
            headers.append(("traceparent", self.traceparent.encode()))
        return headers

    def traced(self, traceparent: str | None) -> Event:
        """The same event as part of a trace."""
        return self._replace(traceparent=traceparent)

    @classmethod
    def from_kafka(cls, where: str, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Event:
        """
        Read a record's headers; the value is kept as it is.

        :raises BadRecordError: an attribute is missing or not what CloudEvents says; `where` names the record.
        """
        had = dict(headers)
        try:
            entity, schema_version = _kind(had["ce_type"])
            event = cls(
                entity,
                _source(had["ce_source"]),
                had["ce_subject"].decode(),
                had["ce_partitionkey"].decode(),
                int(had["ce_sequence"]),
                _time(had["ce_time"]),
                value,
                had.get("ce_stream", b"").decode(),
                _trace(had.get("traceparent")),
                schema_version,
                had.get("ce_extract", b"").decode(),
                had.get("ce_movedto", b"").decode(),
            )
            # What an attribute says and what we made of it must be the same.
            if had["ce_specversion"] != b"1.0" or had["ce_id"].decode() != event.id:
                raise ValueError
            if event.version < 1 or not (event.source and event.key and event.owner):
                raise ValueError
            return event
        except (KeyError, ValueError, AttributeError, TypeError, OverflowError):  # OverflowError: a time before year 1
            raise _garbled(where, had) from None


@lru_cache(maxsize=256)
def _common(source: str, entity: str, schema_version: int, stream: str) -> Headers:
    """The headers that all events of a stream have in common."""
    common = [
        ("ce_source", (_SOURCE + source).encode()),
        ("ce_type", f"ironbridge.{entity}.v{schema_version}".encode()),
        ("ce_dataschema", f"urn:ironbridge:schema:{entity}:v{schema_version}".encode()),
    ]
    return [*common, ("ce_stream", stream.encode())] if stream else common


@lru_cache(maxsize=256)
def _kind(written: bytes) -> tuple[str, int]:
    """The entity and its schema's version."""
    _, entity, version = written.decode().split(".")
    if f"ironbridge.{entity}.v{int(version[1:])}".encode() != written:
        raise ValueError
    return entity, int(version[1:])


@lru_cache(maxsize=256)
def _source(written: bytes) -> str:
    source = written.decode().removeprefix(_SOURCE)
    if (_SOURCE + source).encode() != written:
        raise ValueError
    return source


@lru_cache(maxsize=16)
def _written(time: datetime) -> bytes:
    return time.isoformat().replace("+00:00", "Z").encode()  # a page's events have one time


@lru_cache(maxsize=16)
def _time(written: bytes) -> datetime:
    time = datetime.fromisoformat(written.decode())
    if time.tzinfo is None:
        raise ValueError
    return time.astimezone(UTC)


def _trace(header: bytes | None) -> str | None:
    """W3C's traceparent. One that is none is no reason to refuse the event."""
    return header.decode() if header and _TRACEPARENT.fullmatch(header) else None


_TRACEPARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ATTRIBUTES = {
    "ce_specversion": re.compile(rb"1\.0"),
    "ce_type": re.compile(rb"ironbridge\.[a-z][a-z0-9-]*\.v[0-9]{1,9}"),
    "ce_source": re.compile(rb"urn:ironbridge:[^:]+"),
    "ce_subject": re.compile(rb".+"),
    "ce_sequence": re.compile(rb"[0-9]+"),
    "ce_id": re.compile(rb".+@[1-9][0-9]*"),
    "ce_time": re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})"),
    "ce_partitionkey": re.compile(rb".+"),
}


def _garbled(where: str, had: Mapping[str, bytes | None]) -> BadRecordError:
    """Find the attribute that is wrong. It is called only once one is known to be: events are read by the million."""
    fix = "publish to this topic through an Ironbridge adapter only"
    for name, rule in _ATTRIBUTES.items():
        if name not in had:
            return BadRecordError(where, field=f"header {name}", rule="is missing", shape="nothing", fix=fix)
        if not rule.fullmatch(had[name] or b""):
            broken, shape = "is not that of an Ironbridge event", shape_of((had[name] or b"").decode(errors="replace"))
            return BadRecordError(where, field=f"header {name}", rule=broken, shape=shape, fix=fix)
    broken, shape = "do not fit together", f"{len(had)} headers"
    return BadRecordError(where, field="ce_ headers", rule=broken, shape=shape, fix=fix)


def topic_of(entity: str | type[Entity], prefix: str = "canonical") -> str:
    """The topic of an entity type, e.g. `canonical.care-episode`."""
    return f"{prefix}.{entity if isinstance(entity, str) else entity.type_name}"
