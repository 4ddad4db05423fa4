"""
Writes and checks the contracts that subscribers may rely on: a JSON Schema of each entity, and one AsyncAPI 3 document.

Each entity's released contract is a file in the folder `contracts` beside the entity's module, of ours in
canonical/contracts. A released version only ever grows: fields may be added that may be absent, limits may widen, a field
may become more sensitive. Anything else is a new version, with a file of its own. The AsyncAPI document is built from the
contracts whenever somebody asks for it, and is kept nowhere.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from canonical import ENTITIES, Entity, Sensitivity
from canonical.errors import MisconfiguredError
from canonical.event import topic_of

Schema = dict[str, Any]

ASYNCAPI = "asyncapi.json"
_FILE = re.compile(r"([a-z0-9-]+)\.v([0-9]+)\.json")


def export(folder: Path | None = None) -> list[Path]:
    """
    Write the contracts; the files written.

    A folder gets `<type>.v<version>.json` of every entity, and `asyncapi.json`. Without one each entity's contract is written
    where its package keeps it.

    :raises MisconfiguredError: a schema there already would change so that its subscribers break; nothing is written.
    """
    places = {entity: folder or home(entity) for entity in ENTITIES.values()}
    broken = [sentence for entity, place in places.items() if place for sentence in _broken(place, entity)]
    if broken:
        raise MisconfiguredError("contracts", "; ".join(broken))
    documents = {place / name_of(entity): _written(contract(entity)) for entity, place in places.items() if place}
    if folder:
        documents[folder / ASYNCAPI] = _written(asyncapi())
    for file, text in documents.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return list(documents)


def check(folder: Path | None = None) -> list[str]:
    """
    Name each breach of the released contracts in a sentence; the list is empty if they are kept.

    Looks at all that `export` has written into a folder; without one, at what each package keeps. A package without a
    folder `contracts` has released nothing yet.
    """
    places: dict[Path, list[type[Entity]]] = {}
    for entity in ENTITIES.values():
        if (place := folder or home(entity)) and (folder or place.is_dir()):
            places.setdefault(place, []).append(entity)
    broken = [sentence for place, entities in places.items() for each in entities for sentence in _broken(place, each)]
    run = "run `ironbridge contracts export" + (f" {folder}` and commit it" if folder else "` and commit it")
    for place, entities in places.items():
        documents = {name_of(entity): contract(entity) for entity in entities}
        broken += _outdated(place, documents | ({ASYNCAPI: asyncapi()} if folder else {}), run)
        broken += _gone(place)
    return broken


def home(entity: type[Entity]) -> Path | None:
    """The folder in which an entity's package keeps its released contracts; None if its module is in no package."""
    module = sys.modules[entity.__module__]
    return Path(inspect.getfile(entity)).parent / "contracts" if module.__package__ else None


def name_of(entity: type[Entity]) -> str:
    """The name of an entity's contract, `person.v1.json`."""
    return f"{entity.type_name}.v{entity.version}.json"


def _outdated(place: Path, documents: Mapping[str, Schema], run: str) -> Iterator[str]:
    for name, document in documents.items():
        if not (place / name).exists():
            yield f"{name} is missing: {run}"
        elif (place / name).read_text(encoding="utf-8") != _written(document):
            yield f"{name} is out of date: {run}"


def _gone(place: Path) -> Iterator[str]:
    for file in sorted(place.glob("*.json")):
        released = _FILE.fullmatch(file.name)
        entity = ENTITIES.get(released[1]) if released else None
        if released and (entity is None or entity.version < int(released[2])):
            yield f"{file.name} was released and is gone from the code: bring it back"


def _written(document: Schema) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def contract(entity: type[Entity]) -> Schema:
    """
    The JSON Schema (2020-12) of what is published of an entity: absent values are left out, there is no null.

    Each field says how sensitive it is (`x-sensitivity`), the whole which standard it follows (`x-standard`).
    """
    schema = entity.model_json_schema(mode="serialization", schema_generator=_Contract)
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": f"urn:ironbridge:schema:{entity.type_name}:v{entity.version}",
        "title": schema.pop("title"),
        "description": schema.pop("description"),
        "x-standard": entity.standard,
        **schema,
    }


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


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """
    Why a schema cannot take the place of a released one of the same version; nothing where it can.

    Refused is what a subscriber of the old one, or a reader of what was published under it, would trip over.
    """
    _, kind, version = old["$id"].removeprefix("urn:ironbridge:").split(":")
    way_out = f"or raise `version` of {new['title']} to {int(version.removeprefix('v')) + 1}"
    return [f"{kind} {version}: {what}, {way_out}" for what in _Comparison(old, new).of(old, new, "")]


def _broken(folder: Path, entity: type[Entity]) -> list[str]:
    file = folder / name_of(entity)
    if not file.exists():
        return []
    return incompatibilities(json.loads(file.read_text(encoding="utf-8")), contract(entity))


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


class _Contract(GenerateJsonSchema):
    """As pydantic writes it, but for what is published: without null, open to more fields, with the fields' notes."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if described.get("default", "") is None:
            del described["default"]
        return described

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # it would only repeat the name

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        described = super().model_schema(schema)
        described.pop("additionalProperties", None)  # a subscriber must not fall over a field that is new
        described["description"] = inspect.cleandoc(schema["cls"].__doc__ or "")
        for name, note in _notes(schema["cls"]):
            if name in described["properties"]:
                described["properties"][name]["description"] = note
        return described


def _notes(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """The docstring below each field. pydantic can gather them too, but does it at every import and takes 80 ms."""
    for each in reversed(model.__mro__):
        if issubclass(each, Entity) or each is model:
            [definition] = ast.parse(textwrap.dedent(inspect.getsource(each))).body
            body = definition.body if isinstance(definition, ast.ClassDef) else []
            for field, note in pairwise(body):
                match field, note:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                        yield name, inspect.cleandoc(text)


class _Comparison:
    """Walks two schemas of one entity side by side; a path is written as `classified` writes it."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old.get("$defs", {})
        self._new = new.get("$defs", {})

    def of(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        name = f"`{path}`" if path else "the whole"
        for keyword in _EXACT:
            if old.get(keyword) != new.get(keyword):
                yield f"{name} may not change its {keyword}: leave it at {_told(old.get(keyword))}"
        yield from _enumerated(name, old, new)
        yield from _limited(name, old, new)
        yield from _declassified(name, old, new)
        yield from self._fields(old, new, path)
        if "items" in old and "items" in new:
            yield from self.of(old["items"], new["items"], f"{path}[]")

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        had, has = old.get("properties", {}), new.get("properties", {})
        must, needs = set(old.get("required", ())), set(new.get("required", ()))
        for field, schema in had.items():
            here = f"{path}.{field}" if path else field
            if field not in has:
                yield f"`{here}` may not be removed: keep it"
                continue
            if field in needs - must:
                yield f"`{here}` may not become required, older events lack it: give it a default"
            if field in must - needs:
                yield f"`{here}` may not become optional, subscribers count on it: keep it required"
            yield from self.of(schema, has[field], here)
        for field in sorted((has.keys() - had.keys()) & needs):
            here = f"{path}.{field}" if path else field
            yield f"`{here}` is new and may not be required, older events lack it: give it a default"


_EXACT = ("type", "format", "pattern", "anyOf", "oneOf")
"""A subscriber branches on these; whether one pattern holds all that another one does, nobody can tell."""

_LIMITS = {"maxLength": 1, "maximum": 1, "exclusiveMaximum": 1, "maxItems": 1}
_LIMITS |= {"minLength": -1, "minimum": -1, "exclusiveMinimum": -1, "minItems": -1}
"""Which way each limit is wider."""

_RANK = [Sensitivity.PLAIN, Sensitivity.FINANCIAL, Sensitivity.IDENTIFYING, Sensitivity.SPECIAL]


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    reference = schema.get("$ref")
    return {**definitions[reference.rsplit("/", 1)[1]], **schema, "$ref": None} if reference else schema


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _enumerated(name: str, old: Schema, new: Schema) -> Iterator[str]:
    had, has = _values(old), _values(new)
    if had is None and has is None:
        return
    if had is None or has is None:
        yield f"{name} may not {'begin' if had is None else 'cease'} to be one of a list of values: leave it as it was"
        return
    if gone := [value for value in had if value not in has]:
        yield f"{name} may not lose the value {_told(*gone)}: keep it"
    if added := [value for value in has if value not in had]:
        yield f"{name} may not take the value {_told(*added)}, which subscribers do not know: leave it out"


def _limited(name: str, old: Schema, new: Schema) -> Iterator[str]:
    for keyword, wider in _LIMITS.items():
        had, has = old.get(keyword), new.get(keyword)
        if has is not None and (had is None or has * wider < had * wider):
            kept = "leave it out" if had is None else f"leave it at {had}"
            yield f"{name} may not be narrowed by {keyword} {has}: {kept}"


def _declassified(name: str, old: Schema, new: Schema) -> Iterator[str]:
    had, has = old.get("x-sensitivity"), new.get("x-sensitivity")
    if had is not None and (has is None or _RANK.index(has) < _RANK.index(had)):
        yield f"{name} may not be less sensitive than {had}: subscribers' masks rest on it, leave it"


def _told(*values: Any) -> str:
    return ", ".join("none" if value is None else json.dumps(value, ensure_ascii=False) for value in values)


_ABOUT = """\
The entities of a council's legacy systems, and each change of them, as CloudEvents 1.0 in Kafka's binary mode.

Each entity type has a topic of its own, compacted, keyed by the entity's key: the last record of a key is its whole
state. A record without a value is a deletion; it still carries its headers. All entities of one owner
(`ce_partitionkey`: a child, a supplier) lie in the same partition of every topic. Topics begin with `canonical` unless
the settings say otherwise.

Each change of a key has a greater version (`ce_sequence`) than all changes before it. Versions have gaps, and a key that
is deleted and used again goes on above its earlier versions. Only the order of the versions is promised: an entity that
moves to another owner moves to another partition, and its tombstone in the old one may be read after it. So keep the
version of each key that you hold, also of a deleted one, for 30 days, and ignore every event that is not newer.

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
        "content-type": {"type": "string", "const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C trace context of the change, where it is traced."},
    },
}
