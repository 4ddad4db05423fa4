"""Defines the canonical entity: one state of one real thing, whole, checked, owned, and classified field by field."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from canonical.errors import BadRecordError, shape_of
from canonical.key import Key


class Sensitivity(StrEnum):
    """
    Says what a field would give away. It stands in the model, beside the field, and in the exported schema.

    The words are those of UK GDPR: IDENTIFYING is personal data that points at somebody (article 4(1)), SPECIAL is
    special category data and what reveals it (article 9), FINANCIAL is money and bank details. PLAIN gives nobody away.
    """

    PLAIN = "plain"
    IDENTIFYING = "identifying"
    SPECIAL = "special"
    FINANCIAL = "financial"

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        described["x-sensitivity"] = self.value
        return described


PLAIN = Sensitivity.PLAIN
IDENTIFYING = Sensitivity.IDENTIFYING
SPECIAL = Sensitivity.SPECIAL
FINANCIAL = Sensitivity.FINANCIAL

class Part(BaseModel):
    """
    A piece of an entity, such as a name or an invoice line: no key of its own.

    Printed, it shows what is plain and hides the rest, whether it is there or not: `names=<identifying>`.
    """

    # A process uses a few of some forty entities, and what checks one takes milliseconds to build: its first use does that.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, ser_json_inf_nan="null", defer_build=True
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, info in type(self).model_fields.items():
            kind = _classification(info)
            yield name, getattr(self, name) if kind is Sensitivity.PLAIN else _Hidden(kind)


class _Hidden:
    def __init__(self, kind: Sensitivity | None) -> None:
        self._kind = kind

    def __repr__(self) -> str:
        return f"<{self._kind or 'unclassified'}>"


class Entity(Part):
    """
    The whole state of one real thing at one moment.

    `type_name` names it in topics and keys, `version` grows only when a change would break a subscriber, `standard`
    says where the names and codes come from. `owner` is the entity it lives and dies with: it decides the partition.
    `owned_by` is the field that holds the owner's key; an entity that belongs to none owns itself.
    """

    type_name: ClassVar[str]
    version: ClassVar[int] = 1
    standard: ClassVar[str]
    owned_by: ClassVar[str] = "key"
    known_by: ClassVar[tuple[str, ...]] = ()
    """The fields by which people look it up besides its key, e.g. `nhs_number` or `identifiers[].value`."""

    key: Annotated[Key, PLAIN]

    @property
    def owner(self) -> str:
        """The key of the entity that this one belongs to."""
        owner: str = getattr(self, self.owned_by)
        return owner

    @classmethod
    def event_type(cls) -> str:
        """The CloudEvents type, e.g. `ironbridge.person.v1`."""
        return f"ironbridge.{cls.type_name}.v{cls.version}"

    def to_bytes(self) -> bytes:
        """
        The canonical JSON: declared order, absent values left out. The same state always gives the same bytes.

        Control characters are taken out of its texts, because not every store, target and subscriber can hold them.

        :raises BadRecordError: a text that may not be empty holds nothing else.
        """
        data = self.__pydantic_serializer__.to_json(self, exclude_none=True)
        if b"\\" not in data or (plain := without_controls(data)) == data:
            return data
        return self.__pydantic_serializer__.to_json(self.from_bytes(plain), exclude_none=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Any:
        """
        Read the canonical JSON again. Fields that a newer publisher has added are left out.

        :raises BadRecordError: the bytes are not this entity; says the field and the rule, never the value.
        """
        try:
            return cls.__pydantic_validator__.validate_json(without_controls(data), extra="ignore")
        except ValidationError as error:
            raise bad_record(cls.type_name, error) from None


_ESCAPES = re.compile(rb"\\(?:u00[01][0-9a-fA-F]|[bf]|(.))", re.DOTALL)
"""An escape in JSON: a control character, but for a tab and the ends of lines, or any other one (group 1)."""


def without_controls(data: bytes) -> bytes:
    """JSON without the control characters that it has escaped; a tab and the ends of lines stay."""
    if b"\\" not in data:  # nearly all: a text seldom holds a line's end or a quotation mark
        return data
    return _ESCAPES.sub(lambda found: found[0] if found[1] else b"", data)


def bad_record(where: str, error: ValidationError) -> BadRecordError:
    """Say what pydantic said of a value, without the value. Raise it `from None`: pydantic's own text may quote it."""
    first = error.errors(include_url=False, include_context=False)[0]
    steps, value = [str(step) for step in first["loc"]], first["input"]
    match first["type"]:
        case "extra_forbidden":
            steps[-1] = shape_of(steps[-1])  # not a name of ours: it may be anything
        case "missing":
            value = None  # pydantic shows the whole that it is missing from
    field = ".".join(steps) or "the record"
    return BadRecordError(where, field=field, rule=first["msg"].removeprefix("Value error, "), shape=shape_of(value))


def classified(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, Sensitivity | None]]:
    """Every leaf field of a model with its class, parts walked: `("names[].given", Sensitivity.IDENTIFYING)`."""
    for name, info in model.model_fields.items():
        here = f"{path}.{name}" if path else name
        nested, many = _nested(info.annotation)
        if nested is not None:
            yield from classified(nested, here + ("[]" if many else ""))
        else:
            yield here, _classification(info)


def plain_lists(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every field of a model that lists plain values, parts walked: `addresses[].lines`."""
    for name, info in model.model_fields.items():
        here = f"{path}.{name}" if path else name
        nested, many = _nested(info.annotation)
        if nested is not None:
            yield from plain_lists(nested, here + ("[]" if many else ""))
        elif many:
            yield here


def _classification(info: FieldInfo) -> Sensitivity | None:
    return next((each for each in info.metadata if isinstance(each, Sensitivity)), None)


def _nested(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        inner = [_nested(a) for a in get_args(annotation)]
        return next((found for found in inner if found[0]), (None, False))
    if origin in (list, tuple):
        return _nested(get_args(annotation)[0])[0], True
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    return None, False
