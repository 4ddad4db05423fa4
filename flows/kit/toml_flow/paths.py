"""
Reads one value of an entity by a path: `birth_date`, `names[0].given`, `contacts[system=email].value`, `addresses[current].town`.

A part of a list is chosen by its place, by a field that has a value (the first part that has it), or as the current one: it has
begun and has not ended, and of several it began last. Whether it has begun or ended is asked of the facts' day, so the subject
is looked at again on the day when another one becomes the current one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from canonical.entity import Entity
from canonical.key import Key
from flows.kit.toml_flow.near import near
from flows.port import Facts

_STEP = re.compile(r"([a-z_][a-z0-9_]*)(?:\[([^\]]*)\])?")
_OF_KEYS = get_args(Key)[1:]
_CURRENT = {"start_date", "end_date"}


@dataclass(frozen=True, slots=True)
class PathStep:
    """One step of a path: a field, and which part of its list. `pick` is None where the field is taken as it is."""

    field: str
    pick: str | None = None

    def taken(self, holder: Any, facts: Facts) -> Any:
        """The value that the step leads to; None if there is none."""
        found = getattr(holder, self.field)
        if self.pick is None:
            return found
        if self.pick.isdigit():
            return next(iter(found[int(self.pick) :]), None)
        if self.pick == "current":
            return _current(found, facts)
        field, _, wanted = self.pick.partition("=")
        return next((part for part in found if _written(getattr(part, field)) == wanted), None)


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A path that an entity has. `kind` is the type of its values; `many` says that it leads to a whole list of them."""

    text: str
    steps: tuple[PathStep, ...]
    kind: Any
    many: bool = False
    names_a_record: bool = False
    """It leads to the key of another record."""

    @property
    def is_part(self) -> bool:
        """Tell whether it leads to a part, or a list of parts, which have fields of their own."""
        return isinstance(self.kind, type) and issubclass(self.kind, BaseModel)

    @property
    def is_day(self) -> bool:
        return isinstance(self.kind, type) and issubclass(self.kind, date)

    @property
    def codes(self) -> list[str] | None:
        """The codes that the field may have; None if the entity does not list them."""
        listed = isinstance(self.kind, type) and issubclass(self.kind, Enum)
        return [str(each.value) for each in self.kind] if listed else None

    def value(self, entity: Entity, facts: Facts) -> Any:
        """Give the value at the path; None if it is empty."""
        found: Any = entity
        for step in self.steps:
            found = step.taken(found, facts)
            if found is None:
                return None
        return None if found == () else found


def path_of(entity: type[Entity], text: str) -> FieldPath:
    """
    The path in an entity that a text names.

    :raises ValueError: the entity has none such; says what it has instead.
    """
    model: Any = entity
    where, steps, made = entity.type_name, list[PathStep](), None
    for word in re.split(r"\.(?![^\[]*\])", text):
        if made is not None and (made.many or not made.is_part):
            raise ValueError(_no_way_on(made, word))
        made = _stepped(model, where, word, steps)
        model, where = made.kind, made.text
    assert made is not None  # noqa: S101 (a text has one word at least)  # nosec B101
    return made


def _stepped(model: type[BaseModel], where: str, word: str, steps: list[PathStep]) -> FieldPath:
    read = _STEP.fullmatch(word)
    if read is None:
        raise ValueError(f"`{word}` is no field: write one as `birth_date`, `names[0].given` or `contacts[system=email].value`")
    field, pick = read.groups()
    if field not in model.model_fields:
        raise ValueError(f"{where} has no field `{field}`{near(field, model.model_fields)}")
    info = model.model_fields[field]
    kind, many, notes = _kind(info.annotation)
    text = ".".join([*(_text(step) for step in steps), word])
    if pick is not None:
        _check_pick(text, kind, pick, many=many)
    steps.append(PathStep(field, pick))
    is_key = field != "key" and any(note in _OF_KEYS for note in [*info.metadata, *notes])
    return FieldPath(text, tuple(steps), kind, many and pick is None, is_key)


def _check_pick(text: str, kind: Any, pick: str, *, many: bool) -> None:
    if not many:
        raise ValueError(f"`{text.removesuffix(f'[{pick}]')}` is no list: leave `[{pick}]` out")
    if pick.isdigit():
        return
    fields = kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}
    if pick == "current" and fields.keys() >= _CURRENT:
        return
    if pick == "current":
        raise ValueError(f"`{text}`: only parts with a start_date and an end_date can be current, say `[0]` or `[field=value]`")
    field, equals, _ = pick.partition("=")
    if not equals:
        raise ValueError(f"`{text}`: write `[0]` for the first one, `[current]` or `[field=value]`")
    if field not in fields:
        raise ValueError(f"`{text}`: its parts have no field `{field}`{near(field, fields)}")


def _no_way_on(so_far: FieldPath, word: str) -> str:
    if so_far.many:
        return f"`{so_far.text}` is a list: say which one, e.g. `{so_far.text}[0].{word}`"
    return f"`{so_far.text}` has no fields of its own: `.{word}` leads nowhere"


def _kind(hint: Any) -> tuple[Any, bool, Sequence[Any]]:
    """The type behind a hint, whether the hint is a list of them, and the notes of its annotations."""
    notes: list[Any] = []
    while True:
        if get_origin(hint) is Annotated:
            hint, *more = get_args(hint)
            notes += more
        elif get_origin(hint) in (Union, UnionType):
            hint = next(each for each in get_args(hint) if each is not type(None))
        elif get_origin(hint) is tuple:
            return _kind(get_args(hint)[0])[0], True, notes
        else:
            return hint, False, notes


def _text(step: PathStep) -> str:
    return step.field if step.pick is None else f"{step.field}[{step.pick}]"


def _current(parts: Sequence[Any], facts: Facts) -> Any:
    begun = [part for part in parts if part.start_date is None or facts.has_come(part.start_date)]
    lasting = [part for part in begun if part.end_date is None or not facts.has_come(part.end_date)]
    return max(lasting, key=lambda part: part.start_date or date.min, default=None)


def _written(value: Any) -> str:
    """A value as it stands in a path: `true`, `email`."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value) if isinstance(value, Enum) else str(value)
