"""The systems that the settings ask for, found through entry points and checked before anything connects."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

from adapters.engine.guard import Guard
from adapters.port import Adapter, AdapterSystem
from canonical.errors import MisconfiguredError
from flows.port import Limits, TargetSystem
from ironbridge.settings import Settings, section

ADAPTERS = "ironbridge.adapters"
TARGETS = "ironbridge.targets"
FORMER_NAMES = {(ADAPTERS, "ledger"): "payables"}
"""What a system was called before, to what it is called now."""
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
        system, checked = adapter_system(name, given)
        share = _number(f"adapters.{name}", given, "guard_share", Guard().share)
        guard = Guard(share, int(_number(f"adapters.{name}", given, "guard_few", Guard().few)))
        plans[name] = AdapterPlan(name, system.build(name, checked), edition(system.package), guard)
    return plans


def adapter_system(name: str, given: Mapping[str, Any]) -> tuple[AdapterSystem[Any], Any]:
    """
    The system that a section of `[adapters.*]` asks for, and the section as that system's settings.

    :raises MisconfiguredError: it is unknown, or its settings do not hold.
    """
    system = _as_adapter(name, _system(ADAPTERS, "adapters", name, given))
    return system, section(f"adapters.{name}", system.settings, given)


def installed_adapters() -> dict[str, AdapterSystem[Any]]:
    """
    The systems that installed packages offer to adapters, by name.

    :raises MisconfiguredError: an entry point names something else.
    """
    return {name: _as_adapter(name, point.load()) for name, point in sorted(found(ADAPTERS).items())}


def _as_adapter(name: str, named: object) -> AdapterSystem[Any]:
    if not isinstance(named, AdapterSystem):
        raise MisconfiguredError(
            f"adapters.{name}", "its entry point names no `adapters.port.AdapterSystem`",
            fix="its package was made for another release of Ironbridge: install the one for this release",
        )  # fmt: skip
    return named


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
        if now := FORMER_NAMES.get((group, wanted)):
            raise _renamed(f"{heading}.{name}", wanted, now, named="system" in given)
        near = difflib.get_close_matches(wanted, offered, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise MisconfiguredError(
            f"{heading}.{name}", f"there is no system `{wanted}`",
            fix=f"{hint}installed are: {', '.join(sorted(offered))}; name one with `system = \"…\"`",
        )  # fmt: skip
    return offered[wanted].load()


def _renamed(where: str, former: str, now: str, *, named: bool) -> MisconfiguredError:
    """Says what a section of the old form has to say now. Its own name may stay, and with it the source in all its keys."""
    fix = f'write `system = "{now}"` in it'
    if not named:
        fix += f"; `{former}` stays the source in every key, and other settings go on naming it (`vendor_numbers_of`). "
        fix += f"If it has never run, call it [{where.partition('.')[0]}.{now}] instead"
    return MisconfiguredError(where, f"the system `{former}` is called `{now}` now", fix=fix)


def edition(package: str) -> str:
    """
    What a mapping's outcome depends on besides the row: its package's code, and the canonical language's.

    A deployment that changes either maps every row again, once, and publishes what comes out different.
    """
    digest = hashlib.blake2b(digest_size=12)
    for file in [*_sources(package), *_sources("canonical")]:
        digest.update(file.read_bytes())
    digest.update(version("pydantic").encode())
    return digest.hexdigest()


def _sources(package: str) -> list[Path]:
    """The files of a package; of a module in no package that file alone, for it stands among everybody else's."""
    module = import_module(package)
    file = Path(str(module.__file__))
    return sorted(file.parent.rglob("*.py")) if hasattr(module, "__path__") else [file]
