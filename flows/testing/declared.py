"""For the test of a flow, in whatever way it is written: facts in, document out."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

from canonical.entity import Entity
from flows.kit.toml_flow import TomlFlow, TomlFlowSettings
from flows.port import Fact, Facts


def facts_of(*entities: Entity, today: date) -> Facts:
    """The facts about a subject, as a flow gets them on that day."""
    return Facts([Fact(each.type_name, each.key, each.owner, 1, each.to_bytes()) for each in entities], today)


def toml_flow(file: Path, name: str) -> TomlFlow:
    """
    The flow that the section `[flows.NAME]` of a settings file declares.

    :raises pydantic.ValidationError: the section does not hold; says each fault.
    """
    section = tomllib.loads(file.read_text("utf-8"))["flows"][name]
    given = {setting: value for setting, value in section.items() if setting not in ("target", "within")}
    return TomlFlow(name, TomlFlowSettings.model_validate(given))
