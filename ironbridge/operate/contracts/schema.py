"""Makes the JSON Schema of an entity, as it is published, from its model."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from canonical import Entity

Schema = dict[str, Any]


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
            yield from _own_notes(each)


@cache
def _own_notes(model: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """The same for the fields that a class declares itself. Finding its source takes as long as parsing its module."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    found = []
    for field, note in pairwise(body):
        match field, note:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                found.append((name, inspect.cleandoc(text)))
    return tuple(found)
