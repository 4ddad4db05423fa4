"""
Tells which columns the tables of an entity have.

The columns that begin with `_` say where a row comes from; no field of an entity begins so. Behind them stand the entity's
fields by their canonical names: a day is a date32, a moment a timestamp in UTC, money a decimal128(18, 2), a quantity a
decimal128(18, 4), a code or any other text a string, a part a struct, and several parts a list of structs.
"""

from __future__ import annotations

import json
import types
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from canonical import Entity
from canonical.errors import MisconfiguredError
from canonical.values import Amount, Quantity

if TYPE_CHECKING:
    import pyarrow as pa

HISTORY = "_history"
"""The end of the names of history tables."""
_SCALES = {id(Amount.__metadata__[1]): 2, id(Quantity.__metadata__[1]): 4}  # type: ignore[attr-defined]
"""By the check that tells two kinds of decimals apart, the digits behind the point."""


def table_name(entity: type[Entity], *, history: bool = False) -> str:
    """The name of an entity's table, e.g. `care_episode` or `care_episode_history`: SQL takes it without quotation marks."""
    return entity.type_name.replace("-", "_") + (HISTORY if history else "")


@cache
def schema_of(entity: type[Entity]) -> pa.Schema:
    """
    The columns of an entity's tables, in their order.

    :raises MisconfiguredError: a field has a type for which there is no column.
    """
    import pyarrow as pa

    about = [
        pa.field("key", pa.string(), nullable=False),
        pa.field("_version", pa.int64(), nullable=False),
        pa.field("_changed", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("_source", pa.string(), nullable=False),
        pa.field("_owner", pa.string(), nullable=False),
        pa.field("_deleted", pa.bool_(), nullable=False),
        pa.field("_moved_to", pa.string()),
    ]
    return pa.schema(about + [each for each in _fields(entity, entity.type_name) if each.name != "key"])


def _fields(model: type[BaseModel], where: str) -> list[pa.Field]:
    import pyarrow as pa

    return [
        pa.field(name, _type_of(info.annotation, info.metadata, f"{where}.{name}"))
        for name, info in model.model_fields.items()
    ]


def _type_of(annotation: Any, metadata: Sequence[Any], where: str) -> pa.DataType:
    """The type of a column whose field has this annotation; `metadata` is what its `Annotated` said so far."""
    import pyarrow as pa

    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_of(inner[0], [*metadata, *inner[1:]], where)
    if origin in (Union, types.UnionType):
        some = [each for each in inner if each is not type(None)]
        if len(some) == 1:
            return _type_of(some[0], metadata, where)
    if origin in (tuple, list):
        return pa.list_(_type_of(inner[0], (), where))
    if isinstance(annotation, type):
        return _plain_type(annotation, metadata, where)
    raise _without_column(annotation, where)


def _plain_type(kind: type, metadata: Sequence[Any], where: str) -> pa.DataType:
    import pyarrow as pa

    if issubclass(kind, BaseModel):
        return pa.struct(_fields(kind, where))
    if issubclass(kind, str | Enum):
        return pa.string()
    if issubclass(kind, Decimal):
        scale = next((_SCALES[id(each)] for each in metadata if id(each) in _SCALES), 10)
        return pa.decimal128(18 if scale < 10 else 38, scale)
    simple = {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        datetime: pa.timestamp("us", tz="UTC"),
        date: pa.date32(),
    }
    if kind in simple:
        return simple[kind]
    raise _without_column(kind, where)


def _without_column(kind: Any, where: str) -> MisconfiguredError:
    return MisconfiguredError(
        f"tables: {where}", f"there is no column for the type {getattr(kind, '__name__', kind)}",
        fix="use a value type of canonical/values.py, or leave the entity out with `tables.entities`",
    )  # fmt: skip


def delta_types(columns: pa.Schema) -> dict[str, Any]:
    """The types of columns as Delta names them."""
    from deltalake import Schema

    return {each["name"]: each["type"] for each in json.loads(Schema.from_arrow(columns).to_json())["fields"]}


def grown(old: Any, new: Any) -> bool:
    """Tell whether a type is the same, or has more fields in its parts."""
    if isinstance(old, dict) and isinstance(new, dict) and old["type"] == new["type"] == "array":
        return grown(old["elementType"], new["elementType"])
    if isinstance(old, dict) and isinstance(new, dict) and old["type"] == new["type"] == "struct":
        has = {each["name"]: each["type"] for each in new["fields"]}
        return all(each["name"] in has and grown(each["type"], has[each["name"]]) for each in old["fields"])
    return bool(old == new)
