"""The files of a flow's package: code, a sample of its settings, a test and a README."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from canonical.entity import Entity, Sensitivity, classified
from canonical.key import key_of, read_key
from ironbridge.scaffold.invented import invented
from ironbridge.scaffold.package import Files, literal, rendered

_SCALARS = (str, int, bool)


@dataclass(frozen=True, slots=True)
class FlowPackage:
    """A flow's package to be written: what it looks at, the kind of target that it is for, and the kind of its documents."""

    name: str
    entities: Sequence[type[Entity]]
    target: str
    kind: str

    def files(self) -> Files:
        given = self._given()
        for path in ("pyproject.toml", "README.md"):
            yield path, rendered(f"flow/{path}", given)
        yield f"{self.name}/__init__.py", rendered("flow/flow.py", given)
        yield f"{self.name}/settings.sample.toml", rendered("flow/settings.sample.toml", given)
        yield f"tests/test_{self.name}.py", rendered("flow/test_flow.py", given)

    def _given(self) -> dict[str, Any]:
        first = self.entities[0]
        values = invented(first, "housing")
        special = {path for path, kind in classified(first) if kind is Sensitivity.SPECIAL}
        scalars = {each: value for each, value in values.items() if each != "key" and isinstance(value, _SCALARS)}
        shown = {each: value for each, value in scalars.items() if each not in special}
        needed = {name for name, its in first.model_fields.items() if its.is_required()}
        given = [(each, value) for each, value in values.items() if each in needed or each in shown]
        key = key_of("housing", first.type_name, "1")
        return {
            "name": self.name, "title": _title(self.name), "target": self.target, "kind": self.kind, "entities": self.entities,
            "entity": first, "variable": first.type_name.replace("-", "_"), "key": key, "number": read_key(key).identifier,
            "shown": [(_camel(each), each, each in special) for each in scalars], "literal": literal,
            "classes": ", ".join(_classes(self.entities)),
            "body": [(_camel(each), value) for each, value in shown.items()], "invented": given,
            "modules": _modules(self.entities),
        }  # fmt: skip


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _classes(entities: Sequence[type[Entity]]) -> list[str]:
    return sorted(entity.__name__ for entity in entities)


def _modules(entities: Sequence[type[Entity]]) -> list[tuple[str, str]]:
    """The imports of the entities: ours come from `canonical` itself, others from their own module."""
    found: dict[str, list[type[Entity]]] = {}
    for entity in entities:
        module = "canonical" if entity.__module__.startswith("canonical.") else entity.__module__
        found.setdefault(module, []).append(entity)
    return [(module, ", ".join(_classes(some))) for module, some in sorted(found.items())]
