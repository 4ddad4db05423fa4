"""The section of a flow that needs no code, and its test: facts in, document out."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from canonical.entity import Entity, Sensitivity, classified
from canonical.errors import MisconfiguredError
from flows.kit.toml_flow import TomlFlowSettings, flow_of
from flows.kit.toml_flow.paths import path_of
from flows.port import Document
from flows.testing import facts_of
from ironbridge.scaffold.invented import filled
from ironbridge.scaffold.package import literal, rendered
from ironbridge.settings import FILE

_MORE, _OF_A_PART = 2, 2
_ENDS = ("death_date", "end_date", "closed_date", "completed_date")
_WIDTH = 124


class GuessedField(NamedTuple):
    """A field of the target, guessed by the entity's own name of it, and the path that it is read from."""

    theirs: str
    path: str
    special: bool


@dataclass(frozen=True, slots=True)
class TomlFlowFiles:
    """A section `[flows.NAME]` to be put at the end of a settings file, and a test beside the file."""

    name: str
    entity: type[Entity]
    target: str
    kind: str

    def write(self, into: Path) -> list[Path]:
        """
        Write both; the files that were written.

        :raises MisconfiguredError: there is such a section or test already, or the settings file is no TOML.
        """
        file, test = into / FILE, into / f"test_{self.name}.py"
        before = file.read_text("utf-8") if file.exists() else ""
        self._may(file, before, test)
        into.mkdir(parents=True, exist_ok=True)
        given = self._given()
        file.write_text(before + ("\n" if before else "") + rendered("flow/section.toml", given), "utf-8")
        test.write_text(rendered("flow/test_section.py", given), "utf-8")
        return [file, test]

    def _may(self, file: Path, before: str, test: Path) -> None:
        try:
            there = tomllib.loads(before)
        except tomllib.TOMLDecodeError as error:
            raise MisconfiguredError(str(file), f"is not TOML: {error}") from None
        if self.name in there.get("flows", {}):
            raise MisconfiguredError("new flow", f"{file} has a section [flows.{self.name}]", fix="choose another name")
        if test.exists():
            raise MisconfiguredError("new flow", f"{test} exists", fix="choose another name, or another folder with --into")

    def _given(self) -> dict[str, Any]:
        fields, values = list(_fields(self.entity)), _few(self.entity)
        made = self._made([each for each in fields if not each.special], values)
        ends = next((each for each in _ENDS if each in self.entity.model_fields), None)
        return {
            "name": self.name, "target": self.target, "kind": self.kind, "entity": self.entity, "fields": fields, "ends": ends,
            "ours": self.entity.__module__.startswith("canonical."), "variable": self.entity.type_name.upper().replace("-", "_"),
            "values": _packed(values, 4), "body": _packed(made.body, 8), "number": made.number,
        }  # fmt: skip

    def _made(self, fields: Sequence[GuessedField], values: Mapping[str, Any]) -> Document:
        """The document that the section makes of the invented entity."""
        rules = {field.theirs: field.path for field in fields}
        settings = TomlFlowSettings.model_validate({"entity": self.entity.type_name, "kind": self.kind, "map": rules})
        entity = self.entity.model_validate(values)
        made = flow_of(self.name, settings).desired(entity.key, facts_of(entity))
        assert isinstance(made, Document)  # noqa: S101 (it has no condition)  # nosec B101
        return made


def _few(entity: type[Entity]) -> dict[str, Any]:
    """Choose the fields of the test's entity: the required ones and a few more, none of them special and none that ends it."""
    special = {path.partition(".")[0].removesuffix("[]") for path, kind in classified(entity) if kind is Sensitivity.SPECIAL}
    needed = {name for name, its in entity.model_fields.items() if its.is_required()}
    values = filled(entity, "housing")
    more = [name for name in values if name not in needed and name not in special and not name.endswith(_ENDS)]
    few = {name: values[name] for name in values if name in needed or name in more[:_MORE]}
    return {name: [_short(each) for each in value] if isinstance(value, list) else value for name, value in few.items()}


def _short(part: Any) -> Any:
    """The first fields of a part: those that it must have come first."""
    return dict([*part.items()][:_OF_A_PART]) if isinstance(part, dict) else part


def _fields(entity: type[Entity]) -> Iterator[GuessedField]:
    """The entity's fields and those of its parts, each under a name of its own."""
    taken: set[str] = set()
    for shown, sensitivity in classified(entity):
        path = _path(entity, shown)
        if path is None:
            continue
        words = shown.replace("[]", "").split(".")
        theirs = next((name for name in (_camel(words[-1]), _camel("_".join(words))) if name not in taken), None)
        if theirs is not None:
            taken.add(theirs)
            yield GuessedField(theirs, path, sensitivity is Sensitivity.SPECIAL)


def _path(entity: type[Entity], shown: str) -> str | None:
    """A path that a rule takes, of one that the classification shows (`names[].given`); None if it is the key, or too deep."""
    if shown == "key" or shown.count("[]") > 1:
        return None
    for pick in ("[current]", "[0]"):
        try:
            path = path_of(entity, shown.replace("[]", pick))
        except ValueError:
            continue
        return None if path.is_part else path.text
    return None


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _packed(values: Mapping[str, Any], indent: int) -> str:
    """A dictionary as it stands in Python, as many entries a line as there is room for."""
    lines = [""]
    for name, value in values.items():
        entry = f"{literal(name)}: {_literal(value)},"
        room = len(lines[-1]) + len(entry) + indent < _WIDTH
        lines[-1:] = [f"{lines[-1]} {entry}".strip()] if room else [lines[-1], entry]
    return "\n".join(f"{' ' * indent}{line}" for line in lines if line)


def _literal(value: Any) -> str:
    match value:
        case list():
            return f"[{', '.join(map(_literal, value))}]"
        case dict():
            return f"{{{', '.join(f'{literal(name)}: {_literal(each)}' for name, each in value.items())}}}"
        case _:
            return literal(value)
