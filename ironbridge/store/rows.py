"""
Gives the rows of an answer as dataclasses. A column gives the field of its own name, and a field without a column is an error,
so that a query and its dataclass cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from functools import cache
from typing import Any, ClassVar, Protocol, TypeVar

from sqlalchemy import CursorResult


class _Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


T = TypeVar("T", bound=_Dataclass)


def rows(kind: type[T], answer: CursorResult[Any]) -> list[T]:
    """Gives every row of an answer."""
    return [row_of(kind, row) for row in answer.mappings()]


def row_of(kind: type[T], row: Mapping[Any, Any], **more: Any) -> T:
    """Gives one row. `more` are fields that the row lacks, or that it has in another form."""
    return kind(**{**row, **{name: bool(row[name]) for name in _booleans(kind) if name in row}, **more})


@cache
def _booleans(kind: type[_Dataclass]) -> tuple[str, ...]:
    """The fields that are true or false: SQLite has only numbers for them."""
    return tuple(field.name for field in fields(kind) if field.type in ("bool", bool))
