"""The section of a flow that is declared in settings alone, checked against the entities that it names: all faults at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from canonical import ENTITIES
from canonical.entity import Entity
from flows.kit.toml_flow.documents import DocumentRules, flattened
from flows.kit.toml_flow.flow import TomlFlow
from flows.kit.toml_flow.near import near
from flows.kit.toml_flow.paths import path_of
from flows.kit.toml_flow.rules import Condition, FieldRule
from flows.port import Urgency

_NOT_BORNE_OUT: Final = "not_borne_out"
Fault = tuple[tuple[str | int, ...], str]
"""Where it stands in the section, and a sentence."""


class TomlDocument(DocumentRules):
    """The rules of a document, borne out by the entity that they name."""

    @model_validator(mode="wrap")
    @classmethod
    def _borne_out(cls, given: Any, made: ModelWrapValidatorHandler[Self]) -> Self:
        faults = [_detail(*fault) for fault in _faults(given)] if isinstance(given, Mapping) else []
        try:
            checked = made(given)
        except ValidationError as error:
            raise ValidationError.from_exception_data(cls.__name__, [*_details(error), *faults]) from None
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return checked


class TomlFlowSettings(TomlDocument):
    """
    The section `[flows.NAME]` of a flow that needs no code. `kind` is the kind of the documents, as the target calls it. `also`
    holds further documents by their kind, so that one may refer to another.
    """

    kind: Annotated[str, Field(min_length=1)]
    urgency: Literal["safeguarding", "usual", "tidy_up"] = "usual"
    """Which subjects the target's budget serves first."""
    also: dict[str, TomlDocument] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        entities = [document.entity for document in self.documents.values()]
        if self.kind in self.also:
            raise ValueError(f"`{self.kind}` is in `also`, and is the kind of the flow's first documents, too")
        if twice := sorted({each for each in entities if entities.count(each) > 1}):
            raise ValueError(f"one {twice[0]} is one document: make a flow of its own for the other one")
        return self

    @property
    def documents(self) -> dict[str, TomlDocument]:
        """All documents by their kind, the first one first."""
        return {self.kind: self} | self.also


def _faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """All that the entity does not bear out, in what can be read of the section."""
    name = given.get("entity")
    if not isinstance(name, str):
        return
    entity = ENTITIES.get(name)
    if entity is None:
        yield ("entity",), f"there is no entity `{name}`{near(name, ENTITIES)}"
        return
    rules = flattened(given.get("map"))
    for field, rule in rules.items() if isinstance(rules, Mapping) else ():
        yield from _borne_by(entity, FieldRule, ("map", field), rule)
    if "number" in given:
        yield from _borne_by(entity, FieldRule, ("number",), given["number"])
    when = given.get("when")
    for at, condition in enumerate(when if isinstance(when, list | tuple) else ()):
        yield from _borne_by(entity, Condition, ("when", at), condition)
    refers = given.get("refers")
    for field, text in refers.items() if isinstance(refers, Mapping) else ():
        yield from ((("refers", field), what) for what in _not_referring(entity, text))


def _borne_by(entity: type[Entity], kind: type[FieldRule | Condition], at: tuple[str | int, ...], given: Any) -> Iterator[Fault]:
    try:
        rule = kind.model_validate(given)
    except ValidationError:
        return  # told where it is checked with the section
    yield from ((at, what) for what in rule.faults(entity))


def _not_referring(entity: type[Entity], text: Any) -> Iterator[str]:
    try:
        path = path_of(entity, str(text))
    except ValueError as error:
        yield str(error)
        return
    if path.many or not path.names_a_record:
        yield f"`{text}` names no other record: it holds no key"


def _detail(at: tuple[str | int, ...], what: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError(_NOT_BORNE_OUT, "{what}", {"what": what}), loc=at, input=None)


def _details(error: ValidationError) -> list[InitErrorDetails]:
    return [
        _detail(each["loc"], each["msg"])
        if each["type"] == _NOT_BORNE_OUT
        else InitErrorDetails(type=each["type"], loc=each["loc"], input=None, ctx=each.get("ctx", {}))
        for each in error.errors(include_url=False)
    ]


def flow_of(name: str, settings: TomlFlowSettings, _there: object = None) -> TomlFlow:
    """The flow that a section declares."""
    documents = [(kind, ENTITIES[document.entity], document) for kind, document in settings.documents.items()]
    return TomlFlow(name, settings.model_dump(mode="json"), documents, Urgency[settings.urgency.upper()])
