"""The flow that a section of settings declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from canonical.entity import Entity
from canonical.errors import RefusedError
from canonical.key import entity_of, read_key
from flows.kit.plain import short_name
from flows.kit.toml_flow.documents import DocumentRules
from flows.kit.toml_flow.paths import path_of
from flows.kit.toml_flow.rules import ConditionReader, FieldReader, FieldRule
from flows.port import Body, Document, Facts, Grouping, Nothing, Urgency

Declared = tuple[str, type[Entity], DocumentRules]
"""A kind of documents, the entity that each is made of, and how."""


class TomlFlow:
    """One document for each entity of the types that the settings name, made by the rules that they give."""

    grouping = Grouping.KEY

    def __init__(
        self, name: str, settings: Mapping[str, Any], documents: Sequence[Declared], urgency: Urgency
    ) -> None:
        self.name = name
        self.settings = settings
        self.entities: tuple[type[Entity], ...] = tuple(entity for _, entity, _ in documents)
        self._urgency = urgency
        self._makers = {entity.type_name: _Maker(name, kind, entity, rules) for kind, entity, rules in documents}

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        entity = next(iter(facts), None)
        if entity is None:
            return None
        document = self._makers[entity.type_name].made(entity, facts)
        if isinstance(document, Document):
            self._refers_to_ours(document)
        return document

    def _refers_to_ours(self, document: Document) -> None:
        for field, subject in document.refers.items():
            if entity_of(subject) not in self._makers:
                what = "the record that it names is of a type of which this flow makes no document"
                raise RefusedError(f"flows.{self.name}.refers.{field}", what, fix="add its type under `also`")

    def recall(self, key: str, owner: str) -> Sequence[Document]:
        return self._makers[entity_of(key)].recalled(key)

    def urgency(self, entity: str) -> Urgency:
        return self._urgency


class _Maker:
    """Makes the documents of one kind."""

    def __init__(self, flow: str, kind: str, entity: type[Entity], rules: DocumentRules) -> None:
        self._where = where = f"flows.{flow}"
        self._kind = kind
        self._number = FieldReader(f"{where}.number", rules.number, entity) if rules.number else None
        self._of_key = _of_key(rules.number)
        self._when = [ConditionReader(condition, entity) for condition in rules.when]
        self._fields = [(name, FieldReader(f"{where}.map.{name}", rule, entity)) for name, rule in rules.map.items()]
        self._refers = {field: path_of(entity, text) for field, text in rules.refers.items()}

    def made(self, entity: Entity, facts: Facts) -> Document | Nothing:
        for condition in self._when:
            if not condition.holds(entity, facts):
                return Nothing(condition.reason)
        body: Body = {}
        for name, field in self._fields:
            value = field.value(entity, facts)
            if value is not None:
                _put(body, name, value)
        named = ((field, path.value(entity, facts)) for field, path in self._refers.items())
        return Document(self._kind, self._numbered(entity, facts), body, {field: key for field, key in named if key})

    def _numbered(self, entity: Entity, facts: Facts) -> str:
        if self._number is None:
            return read_key(entity.key).identifier
        number = self._number.value(entity, facts)
        if number is None:
            fix = "let `number` be another field, or say in `when` that it must be set"
            raise RefusedError(f"{self._where}.number", "the record has none", fix=fix)
        return str(number)

    def recalled(self, key: str) -> Sequence[Document]:
        """Its document where the key alone tells its name."""
        return [] if self._of_key is None or self._refers else [Document(self._kind, self._of_key(key), {})]


def _of_key(number: FieldRule | None) -> Callable[[str], str] | None:
    """How a key alone tells its document's number; None if it does not."""
    if number is None:
        return lambda key: read_key(key).identifier
    return short_name if number == FieldRule(field="key", short_name=True) else None


def _put(body: Body, name: str, value: Any) -> None:
    """Put a value into a body. A dot leads into a nested field; a name with an @ is an annotation and is taken as it is."""
    *outer, last = [name] if "@" in name else name.split(".")
    for each in outer:
        body = body.setdefault(each, {})
    body[last] = value
