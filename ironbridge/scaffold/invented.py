"""Invented values of an entity's fields, for the test of a flow."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from canonical.entity import Entity
from canonical.key import Key, key_of

_TEXTS = ("1", "Example", "SY1 1AA")


def invented(entity: type[Entity], source: str) -> dict[str, Any]:
    """
    Return the least that an entity of this type holds, and its plain fields where a value is found that their types take, as
    JSON values. Its key is the first of its kind in `source`.
    """
    key = key_of(source, entity.type_name, "1")
    given: dict[str, Any] = {"key": key} | _required(entity, source)
    for name in entity.model_fields:
        if name not in given:
            given |= next(({name: v} for v in _values(entity, name, source) if _takes(entity, given | {name: v})), {})
    return given


def filled(entity: type[Entity], source: str) -> dict[str, Any]:
    """The same, with all that is found for the first part of each of its lists."""
    given = invented(entity, source)
    for name, its in entity.model_fields.items():
        part = next(iter(get_args(_kind(its.annotation))), None) if get_origin(_kind(its.annotation)) is tuple else None
        if isinstance(part, type) and issubclass(part, BaseModel):
            first = given[name][0] if given.get(name) else _required(part, source)
            for field in part.model_fields:
                tried = ({field: value} for value in _values(part, field, source))
                first |= next((more for more in tried if _takes(entity, given | {name: [first | more]})), {})
            given |= {name: [first]}
    return given


def _takes(entity: type[Entity], given: dict[str, Any]) -> bool:
    try:
        entity.model_validate(given)
    except ValidationError:
        return False
    return True


def _required(model: type[BaseModel], source: str) -> dict[str, Any]:
    names = [name for name, its in model.model_fields.items() if its.is_required() and name != "key"]
    return {name: next(iter(_values(model, name, source))) for name in names}


def _values(model: type[BaseModel], name: str, source: str) -> list[Any]:
    """Values to try for a field: the first is right for one that is required."""
    kind = _kind(model.model_fields[name].annotation)
    if _names_a_record(model, name):
        return [key_of(source, name.replace("_", "-"), "1")]
    if get_origin(kind) is tuple:
        part = get_args(kind)[0]
        return [[_required(part, source)]] if isinstance(part, type) and issubclass(part, BaseModel) else []
    return _plain(kind, name)


def _plain(kind: Any, name: str) -> list[Any]:
    if not isinstance(kind, type) or issubclass(kind, datetime | bool):
        return [True] if kind is bool else []
    if issubclass(kind, Enum):
        return [next(iter(kind)).value]
    texts = [f"{name.replace('_', ' ').capitalize()} 1", *_TEXTS]
    found: dict[type, list[Any]] = {int: [1], Decimal: ["12.50"], date: ["2026-01-05"], str: texts}
    return [value for each, values in found.items() if issubclass(kind, each) for value in values]


def _kind(hint: Any) -> Any:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        return _kind(next(each for each in get_args(hint) if each is not type(None)))
    return hint


def _names_a_record(model: type[BaseModel], name: str) -> bool:
    """Tell whether a field holds another record's key."""
    its = model.model_fields[name]
    notes, parts = [*its.metadata], [its.annotation]
    while parts:
        hint = parts.pop()
        if get_origin(hint) in (Union, UnionType, Annotated):
            parts += get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
            notes += getattr(hint, "__metadata__", ())
    return any(note in notes for note in get_args(Key)[1:])
