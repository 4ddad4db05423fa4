"""
Blots a row's values out of what a mapping says of it.

Whoever wrote the mapping, or a check of an entity, says what went wrong, and quotes a value quickly. Such a text goes into logs,
spans, the state and pages, where nobody's name may stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

from adapters.port import Row
from canonical.entity import bad_record
from canonical.errors import BadRecordError, UntoldError

_BLOT = "…"
_LEAST = 3
"""Shorter values (a flag, a code, a day of the month) tell nobody who it is, and stand in any sentence."""

_OURS = ("canonical.", "adapters.")
"""Code that ships, and is tried: it quotes no value. A sentence of it may hold a word that is a value somewhere."""

_PYDANTICS = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error", "union_tag_invalid"}
"""The faults that pydantic finds by itself."""


def fault(where: str, error: BadRecordError | ValidationError, row: Row) -> BadRecordError:
    """An error of mapping a row, without any of the row's values in it. `where` names the record."""
    if isinstance(error, BadRecordError):
        return error if _by_ours(error) else _blotted(where, error, row)
    bad, first = bad_record(where, error), error.errors(include_url=False, include_input=False)[0]
    known = first["type"] in _PYDANTICS or _by_ours(first.get("ctx", {}).get("error"))
    return bad if known else _blotted(where, bad, row)


def _by_ours(error: BaseException | None) -> bool:
    """Tell whether the code that raised an error is ours."""
    trace, module = None if error is None else error.__traceback__, ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    return module.startswith(_OURS)


def _blotted(where: str, error: BadRecordError, row: Row) -> BadRecordError:
    cells = sorted({text for text in _texts(row) if len(text) >= _LEAST}, key=len, reverse=True)

    def clean(text: str) -> str:
        for cell in cells:
            text = text.replace(cell, _BLOT)
        return text

    said = (error.field, error.rule, error.shape, error.fix)
    field, rule, shape, fix = map(clean, said)
    if (field, rule, shape, fix) == said and clean(error.where) == error.where:
        return error
    kind = UntoldError if isinstance(error, UntoldError) else BadRecordError
    return kind(where, field=field, rule=rule, shape=shape, fix=fix)


def _texts(row: Row) -> Iterator[str]:
    """The values of a row, and of the rows that are joined to it, as somebody may write them."""
    for value in row:
        if isinstance(value, tuple):
            yield from _texts(value)
        elif isinstance(value, date):
            yield from _written(value)
        elif value is not None:
            yield str(value).strip()


def _written(day: date) -> Iterator[str]:
    yield str(day)
    yield repr(day)
    yield f"{day:%Y-%m-%d}"
    yield f"{day:%d/%m/%Y}"
