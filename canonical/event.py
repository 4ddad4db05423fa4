"""
The envelope: CloudEvents 1.0 in the Kafka protocol binding's binary mode.

The record's value is the entity's whole state, its key the entity's key, the attributes are `ce_*` headers. A delete is
a record without a value that still carries its headers. Attributes: https://github.com/cloudevents/spec (v1.0.2; the
extensions `sequence`, `partitioning` and `distributed-tracing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from canonical.entity import Entity
from canonical.errors import BadRecordError, shape_of

Headers = list[tuple[str, bytes]]

_SPEC = ("ce_specversion", b"1.0")
_JSON = ("content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Event:
    """
    One version of one entity, as it was observed.

    `data` is the canonical JSON, None where the entity was deleted. `version` counts 1, 2, 3 … for each key without a
    gap. `time` is when the change was observed, in UTC. `owner` decides the partition. `stream` is the part of the
    source that it was read from.
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

    @property
    def id(self) -> str:
        """The same for the same (source, key, version), whenever it is made: the key begins with the source."""
        return f"{self.key}@{self.version}"

    @property
    def type(self) -> str:
        return f"ironbridge.{self.entity}.v{self.schema_version}"

    def headers(self) -> Headers:
        """The attributes as Kafka headers."""
        headers = [
            _SPEC,
            ("ce_id", self.id.encode()),
            ("ce_source", f"urn:ironbridge:{self.source}".encode()),
            ("ce_type", self.type.encode()),
            ("ce_subject", self.key.encode()),
            ("ce_time", self.time.isoformat().replace("+00:00", "Z").encode()),
            ("ce_dataschema", f"urn:ironbridge:schema:{self.entity}:v{self.schema_version}".encode()),
            ("ce_sequence", b"%d" % self.version),
            ("ce_partitionkey", self.owner.encode()),
            ("ce_stream", self.stream.encode()),
            _JSON,
        ]
        if self.traceparent:
            headers.append(("traceparent", self.traceparent.encode()))
        return headers

    @classmethod
    def from_kafka(cls, where: str, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Event:
        """
        Read a record's headers; the value is kept as it is.

        :raises BadRecordError: an attribute is missing or not what CloudEvents says; `where` names the record.
        """
        had = dict(headers)
        try:
            prefix, entity, version = had["ce_type"].decode().split(".")
            scheme, name, source = had["ce_source"].decode().split(":")
            if prefix != "ironbridge" or (scheme, name) != ("urn", "ironbridge") or had["ce_specversion"] != b"1.0":
                raise ValueError
            traceparent = had.get("traceparent")
            return cls(
                entity=entity,
                source=source,
                key=had["ce_subject"].decode(),
                owner=had["ce_partitionkey"].decode(),
                version=int(had["ce_sequence"]),
                time=datetime.fromisoformat(had["ce_time"].decode()).astimezone(UTC),
                data=value,
                stream=had.get("ce_stream", b"").decode(),
                traceparent=traceparent.decode() if traceparent else None,
                schema_version=int(version.removeprefix("v")),
            )
        except KeyError as error:
            raise BadRecordError(
                where,
                field=f"header {error.args[0]}",
                rule="is missing",
                shape="nothing",
                fix="publish to this topic through an Ironbridge adapter only",
            ) from None
        except (ValueError, UnicodeDecodeError):
            raise BadRecordError(
                where,
                field="ce_ headers",
                rule="are not those of an Ironbridge event",
                shape=shape_of(had["ce_type"]),
                fix="publish to this topic through an Ironbridge adapter only",
            ) from None


def topic_of(entity: str | type[Entity], prefix: str = "canonical") -> str:
    """The topic of an entity type, e.g. `canonical.care-episode`."""
    return f"{prefix}.{entity if isinstance(entity, str) else entity.type_name}"
