"""The systems that installed packages offer through entry points. A package that cannot be imported costs its own parts alone."""

from __future__ import annotations

import difflib
import logging
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict

from adapters.port import AdapterSystem
from canonical.errors import MisconfiguredError, named
from flows.systems import FlowSystem, TargetSystem

log = logging.getLogger(__name__)
T = TypeVar("T")
ADAPTERS = "ironbridge.adapters"
TARGETS = "ironbridge.targets"
FLOWS = "ironbridge.flows"
FORMER_NAMES = {(ADAPTERS, "ledger"): "payables"}
"""What a system was called before, to what it is called now."""


def found(group: str) -> Mapping[str, EntryPoint]:
    """Every system that an installed package offers, by name."""
    return {point.name: point for point in _entry_points(group, tuple(sys.path))}


@lru_cache(maxsize=8)
def _entry_points(group: str, _path: tuple[str, ...]) -> EntryPoints:
    """The entry points of all packages that lie on the path. Reading them takes a file for each package, so it is done once."""
    return entry_points(group=group)


def code_of(group: str, name: str) -> str:
    """Where the code of an installed system begins, as `module:attribute`."""
    point = found(group)[name]
    return f"{point.module}:{point.attr}"


# -- the one that a section asks for -----------------------------------------------------------------------------------


def adapter(where: str, wanted: str, *, named_so: bool) -> AdapterSystem[Any]:
    """
    The system `wanted` of the section `where`, which calls it so by `system = "…"` if `named_so`. If its package cannot be
    imported, the system that is returned takes any settings, and building it raises that fault.

    :raises MisconfiguredError: no package offers it, or it was made for another release.
    """
    point = _point(ADAPTERS, where, wanted, named_so=named_so)
    return _as_adapter(where, _loaded(point, where, lambda fails: AdapterSystem(_Anything, fails, "")))


def target(where: str, wanted: str) -> TargetSystem:
    """As `adapter`, for a kind of target."""
    point = _point(TARGETS, where, wanted)

    def unloaded(fails: Callable[..., NoReturn]) -> TargetSystem:
        its_own = FlowSystem(target=wanted, settings=_Nothing, build=fails)
        return TargetSystem(settings=_Anything, build=fails, flow=its_own)

    return _is(TargetSystem, where, _loaded(point, where, unloaded))


def flow(where: str, wanted: str, kind: str) -> FlowSystem:
    """As `adapter`, for a flow; `kind` is the kind of target that the section names."""
    point = _point(FLOWS, where, wanted)
    return _is(FlowSystem, where, _loaded(point, where, lambda fails: FlowSystem(target=kind, settings=_Anything, build=fails)))


class _Anything(BaseModel):
    """Settings that cannot be checked now."""

    model_config = ConfigDict(extra="allow", frozen=True)


class _Nothing(BaseModel):
    """No settings: all that a section says is its target's."""


def _loaded(point: EntryPoint, where: str, unloaded: Callable[[Callable[..., NoReturn]], object]) -> object:
    """What an entry point names; `unloaded`, with the error that its parts are to raise, if its package cannot be imported."""
    try:
        system: object = point.load()
    except Exception as error:  # a package may raise anything while it is imported
        return unloaded(partial(_fail, _unimportable(point, where, error)))
    return system


def _fail(fault: MisconfiguredError, *_: object) -> NoReturn:
    raise fault


def _unimportable(point: EntryPoint, where: str, error: Exception) -> MisconfiguredError:
    lacks = f", {error.name} is not installed" if isinstance(error, ModuleNotFoundError) and error.name else ""
    package = f" of {point.dist.name}" if point.dist else ""
    return MisconfiguredError(
        where, f"`{point.module}`{package} cannot be imported: {named(error)}{lacks}",
        fix="install what it needs, or another release of that package; the other parts go on",
    )  # fmt: skip


def _point(group: str, where: str, wanted: str, *, named_so: bool = True) -> EntryPoint:
    offered = found(group)
    if wanted not in offered:
        if now := FORMER_NAMES.get((group, wanted)):
            raise _renamed(where, wanted, now, named_so=named_so)
        near = difflib.get_close_matches(wanted, offered, n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise MisconfiguredError(
            where, f"there is no system `{wanted}`",
            fix=f"{hint}installed are: {', '.join(sorted(offered))}; name one with `system = \"…\"`",
        )  # fmt: skip
    return offered[wanted]


def _renamed(where: str, former: str, now: str, *, named_so: bool) -> MisconfiguredError:
    """Says what a section of the old form has to say now. Its own name may stay, and with it the source in all its keys."""
    fix = f'write `system = "{now}"` in it'
    if not named_so:
        fix += f"; `{former}` stays the source in every key, and other settings go on naming it (`vendor_numbers_of`). "
        fix += f"If it has never run, call it [{where.partition('.')[0]}.{now}] instead"
    return MisconfiguredError(where, f"the system `{former}` is called `{now}` now", fix=fix)


def _as_adapter(where: str, system: object) -> AdapterSystem[Any]:
    if not isinstance(system, AdapterSystem):
        raise MisconfiguredError(
            where, "its entry point names no `adapters.port.AdapterSystem`",
            fix="its package was made for another release of Ironbridge: install the one for this release",
        )  # fmt: skip
    return system


def _is(kind: type[T], where: str, system: object) -> T:
    if not isinstance(system, kind):
        raise MisconfiguredError(
            where, f"its entry point names no `{kind.__name__}`",
            fix=f"install a release of that package which knows `flows.systems.{kind.__name__}`",
        )  # fmt: skip
    return system


# -- all of them -------------------------------------------------------------------------------------------------------


def adapters() -> dict[str, AdapterSystem[Any]]:
    """
    The systems that installed packages offer to adapters, by name.

    :raises MisconfiguredError: an entry point names something else.
    """
    return {name: _as_adapter(f"adapters.{name}", system) for name, system in loaded(ADAPTERS).items()}


def targets() -> dict[str, TargetSystem]:
    """
    The kinds of cloud systems that installed packages offer, by name.

    :raises MisconfiguredError: an entry point names something else.
    """
    return {name: _is(TargetSystem, f"targets.{name}", system) for name, system in loaded(TARGETS).items()}


def loaded(group: str) -> dict[str, Any]:
    """All that installed packages offer, by name, in its order. What cannot be imported is left out, and logged."""
    there = {}
    for name, point in sorted(found(group).items()):
        try:
            there[name] = point.load()
        except Exception as error:
            log.error("%s", _unimportable(point, f"entry point `{name}` in {group}", error))  # noqa: TRY400 (it says all)
    return there
