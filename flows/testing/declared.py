"""For the test of a flow, in whatever way it is written: facts in, document out."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path

from canonical.entity import Entity
from flows.kit.toml_flow import TomlFlow, TomlFlowSettings, flow_of
from flows.port import Fact, Facts


def facts_of(*entities: Entity, today: date = date(2026, 4, 1)) -> Facts:
    """The facts about a subject, as a flow gets them on that day."""
    return Facts([Fact(each.type_name, each.key, each.owner, 1, each.to_bytes()) for each in entities], today)


def toml_flow(name: str, *, beside: str) -> TomlFlow:
    """
    The flow that the section `[flows.NAME]` of the settings file declares which lies beside a test: `beside=__file__`.

    :raises pydantic.ValidationError: the section does not hold; says each fault.
    """
    section = tomllib.loads(Path(beside).with_name("ironbridge.toml").read_text("utf-8"))["flows"][name]
    given = {setting: value for setting, value in section.items() if setting not in ("target", "within")}
    return flow_of(name, TomlFlowSettings.model_validate(given))
