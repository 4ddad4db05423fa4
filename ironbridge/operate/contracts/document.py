"""Makes the AsyncAPI document from the contracts of all entities, whenever somebody asks for it. It is kept nowhere."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from canonical import ENTITIES, Entity
from canonical.event import topic_of
from ironbridge.operate.contracts.schema import Schema, contract


def asyncapi() -> Schema:
    """All topics, the headers and the entities on them, as an AsyncAPI 3.0 document."""
    document = _generated()
    del document["servers"]  # which brokers there are is a matter of each council's settings
    for channel in document["channels"].values():
        del channel["servers"]
    messages, schemas = document["components"]["messages"], document["components"]["schemas"]
    schemas.clear()  # FastStream's own reading of the models
    for entity in ENTITIES.values():
        message = messages[f"{entity.type_name}:Message"]
        del message["correlationId"]  # FastStream's own, which nothing of ours carries
        payload = {"$ref": f"#/components/schemas/{_add(schemas, entity)}"}
        headers = {"$ref": "#/components/schemas/Headers"}
        message |= {"name": entity.event_type(), "payload": payload, "headers": headers, "bindings": _KEY}
    schemas["Headers"] = _HEADERS
    # FastStream keeps publishers in a set, whose order is another one every time.
    for part in (document["channels"], document["operations"], messages, schemas):
        ordered = dict(sorted(part.items()))
        part.clear()
        part |= ordered
    return document


def _generated() -> Schema:
    # FastStream takes long to load, and only this needs it.
    from faststream.kafka import KafkaBroker
    from faststream.specification import AsyncAPI

    broker = KafkaBroker()
    for entity in ENTITIES.values():
        broker.publisher(topic_of(entity), title=entity.type_name, description=inspect.getdoc(entity), schema=entity)
    version = str(max(entity.version for entity in ENTITIES.values()))
    generated = AsyncAPI(broker, title="Ironbridge", version=version, description=_ABOUT, identifier="urn:ironbridge")
    document: Schema = json.loads(generated.to_specification().to_json())
    return document


def _add(schemas: Schema, entity: type[Entity]) -> str:
    """
    Put an entity's contract and its parts side by side, as AsyncAPI wants them. The name that the entity has there.

    A class of another package may be called like one of ours: the later one has its entity's type before its name.
    """
    whole = contract(entity)
    parts = whole.pop("$defs", {}) | {entity.__name__: {k: v for k, v in whole.items() if k not in ("$schema", "$id")}}
    names = dict.fromkeys(parts, "")
    while True:
        named = {name: name if not prefix else f"{prefix}.{name}" for name, prefix in names.items()}
        placed = {named[name]: _referring(part, named) for name, part in parts.items()}
        taken = [name for name in parts if schemas.get(named[name], placed[named[name]]) != placed[named[name]]]
        if not taken:
            schemas |= placed
            return named[entity.__name__]
        names |= dict.fromkeys(taken, entity.type_name)


def _referring(schema: Any, named: Mapping[str, str]) -> Any:
    """A schema whose references lead to where AsyncAPI has the parts."""
    if isinstance(schema, dict):
        return {key: _place(value, named) if key == "$ref" else _referring(value, named) for key, value in schema.items()}
    return [_referring(each, named) for each in schema] if isinstance(schema, list) else schema


def _place(reference: str, named: Mapping[str, str]) -> str:
    return f"#/components/schemas/{named[reference.rsplit('/', 1)[1]]}"


_ABOUT = """\
The entities of a council's legacy systems, and each change of them, as CloudEvents 1.0 in Kafka's binary mode.

Each entity type has a topic of its own, compacted, keyed by the entity's key: the last record of a key is its whole
state. A record without a value is a deletion; it still carries its headers. All entities of one owner
(`ce_partitionkey`: a child, a supplier) lie in the same partition of every topic. Topics begin with `canonical` unless
the settings say otherwise.

Each change of a key has a greater version (`ce_sequence`) than all changes before it. Versions have gaps, and a key that
is deleted and used again goes on above its earlier versions. Only the order of the versions is promised: an entity that
moves to another owner moves to another partition, and its tombstone in the old one may be read after it. So keep the
version of each key that you hold, also of a deleted one, for 30 days, and ignore every event that is not newer. A
tombstone that a move leaves behind names the new owner (`ce_movedto`): the entity lives on, and its state comes there. A
tombstone without it is a deletion.

Read with `isolation.level=read_committed` and `auto.offset.reset=earliest`, ignore fields that you do not know, and
heed `x-sensitivity` before you print or store anything."""

_KEY = {
    "kafka": {
        "key": {"type": "string", "description": "The entity's key, also in `ce_subject`."},
        "bindingVersion": "0.4.0",
    }
}

_HEADERS: Schema = {
    "title": "Headers",
    "type": "object",
    "required": [
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_subject",
        "ce_time",
        "ce_sequence",
        "ce_partitionkey",
    ],
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {
            "type": "string",
            "description": "The key and the version, `liquidlogic:person:1042@3`: one an event.",
        },
        "ce_source": {"type": "string", "description": "The legacy system, `urn:ironbridge:liquidlogic`."},
        "ce_type": {"type": "string", "description": "The entity and its contract's version, `ironbridge.person.v1`."},
        "ce_subject": {"type": "string", "description": "The entity's key."},
        "ce_time": {"type": "string", "format": "date-time", "description": "When the change was observed."},
        "ce_dataschema": {"type": "string", "format": "uri", "description": "The `$id` of the entity's JSON Schema."},
        "ce_sequence": {
            "type": "string",
            "pattern": "^[0-9]{10,}$",
            "description": "The version of this key: it grows, with gaps. Ten digits or more, which sort as text.",
        },
        "ce_partitionkey": {"type": "string", "description": "The owner's key, which decides the partition."},
        "ce_stream": {"type": "string", "description": "The part of the legacy system that it was read from."},
        "ce_extract": {
            "type": "string",
            "description": "A digest of the file's name or, where it was pushed, its message's place.",
        },
        "ce_movedto": {
            "type": "string",
            "description": "On a tombstone that a move left in the old owner's partition: the new owner's key.",
        },
        "content-type": {"type": "string", "const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C trace context of the change, where it is traced."},
    },
}
