"""The rules by which documents of one kind are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from flows.kit.toml_flow.rules import Condition, FieldRule

_OF_A_RULE = {field.alias or name for name, field in FieldRule.model_fields.items()}


def flattened(given: Any, before: str = "") -> Any:
    """A map with the tables of nested fields laid flat: `address = {city = "…"}` becomes `address.city = "…"`."""
    if not isinstance(given, Mapping):
        return given
    flat: dict[str, Any] = {}
    for name, rule in given.items():
        nested = isinstance(rule, Mapping) and not _OF_A_RULE & rule.keys()
        flat |= flattened(rule, f"{before}{name}.") if nested else {f"{before}{name}": rule}
    return dict(sorted(flat.items()))  # the order in the file changes no document


class DocumentRules(BaseModel):
    """Says what documents of one kind hold: one document for each entity of a type."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    entity: str
    """The type of the facts that it is made of, e.g. `person`. Each is a subject of its own."""
    number: FieldRule | None = None
    """How the target knows it: a field, as in `map`. Without it the identifier in the entity's key."""
    when: tuple[Condition, ...] = ()
    """The conditions that must all hold; the first that does not says why the target should hold nothing."""
    refers: dict[str, str] = Field(default_factory=dict)
    """Fields that hold the target's own id of another subject of this flow, each with the entity's field that names that one."""
    map: Annotated[dict[str, FieldRule], BeforeValidator(flattened), Field(min_length=1)]
    """The document's fields, each with what stands in it."""
