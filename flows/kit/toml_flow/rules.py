"""Rules for the fields of a document, and conditions under which there is one; each is checked against the entity at start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import to_jsonable_python

from canonical.entity import Entity
from canonical.errors import RefusedError
from flows.kit.plain import short_name
from flows.kit.toml_flow.near import PYTHON, near
from flows.kit.toml_flow.paths import FieldPath, path_of
from flows.port import Facts

_SOURCES = ("field", "join", "constant")
_TESTS = ("is_", "is_not", "one_of", "none_of", "set", "has_come", "has_passed")
_FORMAT = re.compile(r"([^%]|%[dmYyjHMS%])+")


def _constant(value: Any) -> Any:
    if not isinstance(value, bool | int | str):
        raise ValueError(f"is a text in quotes, a whole number, true or false {PYTHON}")  # noqa: TRY004 (pydantic tells it)
    return value


Constant = Annotated[Any, AfterValidator(_constant)]


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FieldRule(_Rule):
    """
    Says what stands in one field of a document: `"names[0].given"` for a field of the entity, `true` or `3` for a constant, or a
    table with one of `field`, `join` and `constant`, and what else is to be done.
    """

    field: str | None = None
    """A path in the entity, e.g. `names[0].given`."""
    join: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Paths whose values are joined to one text; those that are not set are left out."""
    with_: str = Field(" ", alias="with")
    """The text between joined values."""
    constant: Constant = None
    """The same value for every document: a text, a whole number, true or false."""
    codes: dict[str, Constant] = Field(default_factory=dict)
    """The entity's codes, each with the target's; `*` stands for all that are not named."""
    unknown: Literal["refuse", "leave out", "keep"] | None = None
    """
    Says what becomes of a code that `codes` does not name: the subject is parked (`refuse`, the default), the field is left out,
    or the code stays as it is.
    """
    format: str | None = None
    """How a day is written: `%d/%m/%Y`. Without it as 2026-04-01."""
    longest: Annotated[int, Field(ge=1)] | None = None
    """The text is cut to so many characters."""
    short_name: bool = False
    """32 capital letters and digits stand for the text, such as a key, in a target that takes few signs."""
    absent: Constant = None
    """The value where the entity has none. Without it the field is left out of the document."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"field": given}
        if isinstance(given, bool | int):
            return {"constant": given}
        if not isinstance(given, dict | FieldRule):
            what = f"is a field of the entity, a constant, or a table with {_listed(_SOURCES)} {PYTHON}"
            raise ValueError(what)  # noqa: TRY004 (pydantic tells it)
        return given

    @model_validator(mode="after")
    def _one_source(self) -> FieldRule:
        if len([name for name in _SOURCES if getattr(self, name) is not None]) != 1:
            raise ValueError(f"needs exactly one of {_listed(_SOURCES)}")
        if "with_" in self.model_fields_set and self.join is None:
            raise ValueError("`with` stands between joined fields: name them with `join`")
        if self.unknown and not self.codes:
            raise ValueError("`unknown` says what becomes of a code that `codes` does not name: there are no `codes`")
        if "*" in self.codes and self.unknown:
            raise ValueError("`*` stands for every code that is not named: leave `unknown` out")
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that it reads."""
        return self.join or ((self.field,) if self.field is not None else ())

    def faults(self, entity: type[Entity]) -> Iterator[str]:
        """All that the entity does not bear out."""
        found = []
        for text in self.paths:
            try:
                found.append(path_of(entity, text))
            except ValueError as error:
                yield str(error)
        for path in found:
            if path.is_part:
                names = ", ".join(path.kind.model_fields)
                yield f"`{path.text}{'[0]' if path.many else ''}` has fields of its own, name one of them: {names}"
        if len(found) == len(self.paths) == 1 and not found[0].is_part and self.join is None:
            yield from self._of_one(found[0])
        elif self.join is None and (self.codes or self.format) and not self.paths:
            yield "`codes` and `format` are for a `field`, and not for a constant"
        elif self.join is not None and (self.codes or self.format):
            yield f"`codes` and `format` are for one `field`, and not for joined ones {PYTHON}"

    def _of_one(self, path: FieldPath) -> Iterator[str]:
        if self.format is not None and not (path.is_day and _FORMAT.fullmatch(self.format)):
            yield f"`{path.text}` is no day" if not path.is_day else "`format` is made of %d, %m, %Y, %y, %j, %H, %M and %S"
        if self.short_name and (path.many or path.is_day):
            yield f"`{path.text}` is no text that `short_name` could stand for"
        if self.codes and (path.many or path.is_day):
            yield f"`{path.text}` holds no code"
        elif self.codes and path.codes is not None:
            yield from _uncoded(path.text, path.codes, {*self.codes} - {"*"})
            missing = [each for each in path.codes if each not in self.codes]
            if missing and self.unknown is None and "*" not in self.codes:
                yield f"`codes` does not name {', '.join(missing)}: add them, or say what becomes of them with `*` or `unknown`"


class FieldReader:
    """A rule, made ready for one entity: it gives the value for the field of a document."""

    def __init__(self, where: str, rule: FieldRule, entity: type[Entity]) -> None:
        self._where = where
        self._rule = rule
        self._paths = [path_of(entity, text) for text in rule.paths]

    def value(self, entity: Entity, facts: Facts) -> Any:
        """
        The value as JSON has it; None if the field is left out.

        :raises RefusedError: its code is not in the code map.
        """
        rule = self._rule
        if rule.constant is not None:
            return rule.constant
        if rule.join is not None:
            found = self._joined(entity, facts)
        else:
            found = self._written(self._paths[0].value(entity, facts))
        if isinstance(found, str) and rule.longest:
            found = found[: rule.longest].strip()
        if isinstance(found, str) and found and rule.short_name:
            found = short_name(found)
        return rule.absent if found in (None, "") else found

    def _joined(self, entity: Entity, facts: Facts) -> str:
        found = []
        for path in self._paths:
            value = to_jsonable_python(path.value(entity, facts))
            found += value if isinstance(value, list) else [value]
        return self._rule.with_.join(str(each) for each in found if each not in (None, ""))

    def _written(self, value: Any) -> Any:
        if value is None:
            return None
        if self._rule.format is not None:
            return value.strftime(self._rule.format)
        plain = to_jsonable_python(value)
        return self._coded(plain) if self._rule.codes else plain

    def _coded(self, plain: Any) -> Any:
        codes, code = self._rule.codes, str(plain).lower() if isinstance(plain, bool) else str(plain)
        if code in codes or "*" in codes:
            return codes.get(code, codes.get("*"))
        if self._rule.unknown == "keep":
            return plain
        if self._rule.unknown == "leave out":
            return None
        what = f"`codes` does not name the code of {self._paths[0].text}"
        raise RefusedError(self._where, what, fix="add it, or say what becomes of it with `*` or `unknown`")


class Condition(_Rule):
    """
    Must hold, else the target should hold nothing, for this `reason`. One test of one field: `is`, `is_not`, `one_of`, `none_of`,
    `set`, `has_come` or `has_passed`.
    """

    field: str
    """A path in the entity."""
    is_: Constant = Field(None, alias="is")
    """The field has this value."""
    is_not: Constant = None
    """The field has another value, or none."""
    one_of: Annotated[tuple[Constant, ...], Field(min_length=1)] | None = None
    """The field has one of these values."""
    none_of: Annotated[tuple[Constant, ...], Field(min_length=1)] | None = None
    """The field has none of these values."""
    set: bool | None = None
    """The field has a value (true) or none (false)."""
    has_come: bool | None = None
    """It is that day or a later one (true), or an earlier one (false, also where there is no day)."""
    has_passed: bool | None = None
    """That day is over (true), or it is not (false, also where there is no day)."""
    reason: Annotated[str, Field(min_length=1)]
    """Give the reason why the target should hold nothing, in words for people."""

    @model_validator(mode="after")
    def _one_test(self) -> Condition:
        if len(self._tests) != 1:
            raise ValueError(f"needs exactly one of {_listed([name.rstrip('_') for name in _TESTS])} {PYTHON}")
        return self

    @property
    def _tests(self) -> list[str]:
        return [name for name in _TESTS if getattr(self, name) is not None]

    @property
    def _values(self) -> tuple[Any, ...]:
        """The values that the field is held against."""
        single = [value for value in (self.is_, self.is_not) if value is not None]
        return (*single, *(self.one_of or ()), *(self.none_of or ()))

    def faults(self, entity: type[Entity]) -> Iterator[str]:
        """All that the entity does not bear out."""
        try:
            path = path_of(entity, self.field)
        except ValueError as error:
            yield str(error)
            return
        [test] = self._tests
        if test == "set":
            return
        if test.startswith("has_") and not (path.is_day and not path.many):
            yield f"`{path.text}` is no day"
        elif not test.startswith("has_") and (path.many or path.is_part):
            yield f"`{path.text}` is no single value: ask whether it is `set`, or name a part or field of it"
        elif not test.startswith("has_") and path.codes is not None:
            yield from _uncoded(path.text, path.codes, {str(value) for value in self._values})
        elif not test.startswith("has_"):
            yield from self._of_another_type(path)

    def _of_another_type(self, path: FieldPath) -> Iterator[str]:
        asked = {bool: "true or false", int: "a whole number", str: "a text"}
        kind = next((each for each in asked if isinstance(path.kind, type) and issubclass(path.kind, each)), None)
        if kind is None:
            yield f"`{path.text}` can be held against no value here {PYTHON}"
        elif any(type(value) is not kind for value in self._values):
            yield f"`{path.text}` is {asked[kind]}"


class ConditionReader:
    """A condition, made ready for one entity."""

    def __init__(self, condition: Condition, entity: type[Entity]) -> None:
        self._condition = condition
        self._path = path_of(entity, condition.field)
        self.reason = condition.reason

    def holds(self, entity: Entity, facts: Facts) -> bool:
        """Tell whether the condition holds. One about a day notes the day on which it will have another answer."""
        asked, value = self._condition, self._path.value(entity, facts)
        if asked.set is not None:
            return (value is not None) is asked.set
        if asked.has_come is not None:
            return _come(value, facts) is asked.has_come
        if asked.has_passed is not None:
            return _come(value and value + timedelta(days=1), facts) is asked.has_passed
        plain = to_jsonable_python(value)
        if asked.is_not is not None or asked.none_of is not None:
            return plain not in (asked.none_of or (asked.is_not,))
        return plain in (asked.one_of or (asked.is_,))


def _come(day: date | None, facts: Facts) -> bool:
    return day is not None and facts.has_come(day)


def _uncoded(text: str, codes: Sequence[str], named: set[str]) -> Iterator[str]:
    for each in sorted(named - {*codes}):
        yield f"`{each}` is no code of `{text}`{near(each, codes)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
