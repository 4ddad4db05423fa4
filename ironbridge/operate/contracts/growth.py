"""Compares a contract with the released one of the same version, which may only ever grow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from canonical import Sensitivity
from ironbridge.operate.contracts.schema import Schema


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """
    Say why a schema cannot take the place of a released one of the same version; nothing where it can.

    Refused is what a subscriber of the old one, or a reader of what was published under it, would trip over.
    """
    _, kind, version = old["$id"].removeprefix("urn:ironbridge:").split(":")
    way_out = f"or raise `version` of {new['title']} to {int(version.removeprefix('v')) + 1}"
    return [f"{kind} {version}: {what}, {way_out}" for what in _Comparison(old, new).of(old, new, "")]


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
