"""Finds mistakes of a mapping, or of an entity, that no event shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from adapters.port import Row, Stream
from canonical.entity import FINANCIAL, Sensitivity, bad_record
from canonical.errors import BadRecordError

_VALUE = "Qz7-Vkx-Mustermann"
"""No word of anybody's; a text that holds it quotes it."""


def floating_money(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The fields of an entity, and of its parts, that hold money as a binary fraction."""
    for name, info in model.model_fields.items():
        here = f"{path}.{name}" if path else name
        inner = list(_types(info.annotation))
        if float in inner and FINANCIAL in [each for each in info.metadata if isinstance(each, Sensitivity)]:
            yield here
        for part in inner:
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from floating_money(part, here)


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _types(inner)


def quotes_a_value(stream: Stream, row: Row) -> bool:
    """Tell whether the mapping's error about a bad value of this row quotes it. One text after another is spoilt."""
    return any(_VALUE in _error(stream, spoilt) for spoilt in _spoilt(row))


def _error(stream: Stream, row: Row) -> str:
    try:
        stream.map(row)
    except ValidationError as error:
        return str(bad_record(stream.name, error))
    except BadRecordError as error:
        return str(error)
    except Exception:  # it is told by its class and place
        return ""
    return ""


def _spoilt(row: Row) -> Iterator[Row]:
    """The row with another value in place of one text, for each text of it and of the rows joined to it."""
    for at, value in enumerate(row):
        if isinstance(value, str):
            yield (*row[:at], _VALUE, *row[at + 1 :])
        elif isinstance(value, tuple):
            yield from ((*row[:at], spoilt, *row[at + 1 :]) for spoilt in _spoilt(value))
