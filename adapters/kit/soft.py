"""
Maps a row that cannot be mapped as it stands: a soft field whose value is at fault is left out, and all others stay.

A field is soft if a record without it is better than no record: `nino: Soft[str | None]`. The fault may show where the
value is read, or where the canonical type refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

from pydantic import ValidationError

from adapters.engine.blot import fault
from adapters.kit.rows import Declared, Field, fields_of
from adapters.kit.typed import Mapped
from adapters.port import Row, Softened
from canonical.errors import BadRecordError, ends_us, named, shape_of


class _Place(NamedTuple):
    """A soft value's way into a row: its place or, in a row of a part, the part's place, the row's number and its place there."""

    way: tuple[int, ...]
    column: str
    value: Any


def softening(mapped: Mapped[Any]) -> Callable[[Row], Softened | None] | None:
    """Give a stream its `softly`; None if no field of its rows is soft."""
    row: type = mapped.row
    return partial(_softly, mapped) if _has_soft(row) else None


def _softly(mapped: Mapped[Any], values: Row) -> Softened | None:
    """
    Leave out all soft values, and put back each one that does no harm: one mapping more than there are soft values.

    Each fault is told as it shows while all other values are sound. None if the row cannot be mapped without any of them.
    """
    kept, left_out, places = values, [], list(_places(mapped.row, values))
    for place in places:
        kept = _with(kept, place.way, None)
    if not places or _fault(mapped, kept) is not None:
        return None
    for place in places:
        tried = _with(kept, place.way, place.value)
        if (rule := _fault(mapped, tried)) is None:
            kept = tried
        else:
            shape = shape_of(place.value)
            left_out.append(BadRecordError(mapped.source, field=place.column, rule=rule, shape=shape))
    return Softened(mapped(kept), left_out) if left_out else None


@cache
def _has_soft(row: type) -> bool:
    return any(each.soft or (each.part is not None and _has_soft(each.part)) for each in fields_of(row))


def _places(row: type, values: Row) -> Iterator[_Place]:
    """Every soft value of a row that is there, those of its parts too."""
    for at, (its, value) in enumerate(zip(fields_of(row), values, strict=False)):
        if its.part is not None and _has_soft(its.part):
            for number, part in enumerate(value):
                yield from (each._replace(way=(at, number, *each.way)) for each in _places(its.part, part))
        elif its.soft and value is not None:
            yield _Place((at,), _named_column(row, its), value)


def _named_column(row: type, its: Field) -> str:
    declared = row.__dict__.get("__declared__", Declared(row.__name__))
    return f"{declared.table}.{its.column}"


def _with(values: Row, way: tuple[int, ...], value: Any) -> Row:
    """The row with another value at one place."""
    at, *rest = way
    found = list(values)
    found[at] = _with(found[at], tuple(rest), value) if rest else value
    return tuple(found)


def _fault(mapped: Mapped[Any], values: Row) -> str | None:
    """The rule that a row breaks; None if it can be mapped."""
    try:
        mapped(values)
    except (BadRecordError, ValidationError) as error:
        return fault(mapped.source, error, values).rule
    except BaseException as error:
        if ends_us(error):
            raise
        return f"the mapping fails with {named(error)}"
    return None
