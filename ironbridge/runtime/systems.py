"""The systems that the settings ask for, found through entry points and checked before anything connects."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from adapters.engine.guard import Guard
from adapters.port import Adapter, AdapterSystem
from canonical.errors import MisconfiguredError
from flows.port import Limits, TargetSystem
from ironbridge.runtime.editions import edition
from ironbridge.settings import Settings, section

ADAPTERS = "ironbridge.adapters"
TARGETS = "ironbridge.targets"
WITHIN = 900.0
"""Seconds within which a changed subject is confirmed or parked, unless `within` in a target's section says otherwise."""


@dataclass(frozen=True, slots=True)
class AdapterPlan:
    """An adapter that the settings ask for. `edition` names its mapping's code, see `Pump`."""

    name: str
    adapter: Adapter
    edition: str
    guard: Guard


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """A target that the settings ask for; it is built once there is a client for it."""

    name: str
    system: TargetSystem
    settings: Any
    limits: Limits
    within: float = WITHIN


def found(group: str) -> Mapping[str, Any]:
    """Every system that an installed package offers, by name."""
    return {point.name: point for point in entry_points(group=group)}


def adapters(settings: Settings) -> dict[str, AdapterPlan]:
    """
    The adapters of `[adapters.*]`.

    :raises MisconfiguredError: a section asks for an unknown system, or its settings do not hold.
    """
    plans = {}
    for name, given in settings.adapters.items():
        system: AdapterSystem = _system(ADAPTERS, "adapters", name, given)
        checked = section(f"adapters.{name}", system.settings, given)
        share = _number(f"adapters.{name}", given, "guard_share", Guard().share)
        guard = Guard(share, int(_number(f"adapters.{name}", given, "guard_few", Guard().few)))
        adapter, point = system.build(name, checked), found(ADAPTERS)[str(given.get("system", name))]
        entities = {entity for stream in adapter.streams() for entity in stream.entities}
        plans[name] = AdapterPlan(name, adapter, edition(f"{point.module}:{point.attr}", entities), guard)
    return plans


def targets(settings: Settings) -> dict[str, TargetPlan]:
    """
    The targets of `[targets.*]`.

    :raises MisconfiguredError: a section asks for an unknown system, or its settings do not hold.
    """
    plans = {}
    for name, given in settings.targets.items():
        system: TargetSystem = _system(TARGETS, "targets", name, given)
        checked = section(f"targets.{name}", system.settings, given)
        within = _number(f"targets.{name}", given, "within", WITHIN)
        plans[name] = TargetPlan(name, system, checked, system.limits(checked), within)
    return plans


def _number(where: str, given: Mapping[str, Any], setting: str, default: float) -> float:
    """A number that any section of its kind may have."""
    try:
        number = float(given.get(setting, default))
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < float("inf"):
        raise MisconfiguredError(
            where, f"`{setting}` is no number above 0", fix=f"for instance {setting} = {default:g}"
        )
    return number


def _system(group: str, heading: str, name: str, given: Mapping[str, Any]) -> Any:
    offered, wanted = found(group), str(given.get("system", name))
    if wanted not in offered:
        near = difflib.get_close_matches(wanted, offered, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise MisconfiguredError(
            f"{heading}.{name}", f"there is no system `{wanted}`",
            fix=f"{hint}installed are: {', '.join(sorted(offered))}; name one with `system = \"…\"`",
        )  # fmt: skip
    return offered[wanted].load()
