"""The systems that the settings ask for, found through entry points and checked before anything connects."""

from __future__ import annotations

import difflib
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from adapters.engine.guard import Guard
from adapters.port import Adapter, AdapterSystem
from canonical.errors import MisconfiguredError, ours
from canonical.finding import Finding
from flows.kit.resources import Resources
from flows.port import Flow, Target
from flows.systems import FlowSystem, TargetSystem
from ironbridge.runtime import installed
from ironbridge.runtime.editions import bound, edition
from ironbridge.settings import Settings, section

log = logging.getLogger(__name__)
TABLES = "tables"
"""The name of the part that writes the open tables, among all parts and in `ironbridge run`."""
WITHIN = 900.0
"""Seconds within which a changed subject is confirmed or parked, unless `within` in a flow's section says otherwise."""


@dataclass(frozen=True)
class AdapterPlan:
    """
    An adapter that the settings ask for. Its system's code makes it when it is first asked for, as with targets and flows: so
    whatever that code raises ends at this adapter.
    """

    name: str
    guard: Guard
    made: Callable[[], tuple[Adapter, str]] = field(repr=False)
    """Makes the adapter and its edition, which names its mapping's code, see `Pump`."""

    @cached_property
    def _both(self) -> tuple[Adapter, str]:
        return self.made()

    @property
    def adapter(self) -> Adapter:
        return self._both[0]

    @property
    def edition(self) -> str:
        return self._both[1]


@dataclass(frozen=True, slots=True)
class TargetPlan:
    """
    A target that the settings ask for. `kind` is its entry point's name. `rest` is what its section says of the flow that ships
    with it; it is empty if sections `[flows.*]` say that.
    """

    name: str
    kind: str
    system: TargetSystem
    settings: Any
    rest: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def build(self, resources: Resources) -> Target:
        """The target; it sends everything through `resources`."""
        return self.system.build(self.name, self.settings, resources)


@dataclass(frozen=True, slots=True)
class FlowPlan:
    """A flow that the settings ask for, and the target that it writes to."""

    name: str
    target: TargetPlan
    system: FlowSystem
    settings: Any
    within: float = WITHIN
    others: tuple[str, ...] = ()
    """The other flows that write to the same target."""

    def build(self) -> Flow:
        """The flow. It needs nothing but its settings and its target's."""
        return self.system.build(self.name, self.settings, self.target.settings)

    async def check(self, target: Target) -> Sequence[Finding]:
        """Check whether the target has what this flow's settings name."""
        return await self.system.check(self.settings, target) if self.system.check else []


def adapter_part(name: str) -> str:
    """The name of an adapter among all parts: an adapter and a flow may share a name."""
    return f"adapter/{name}"


def flow_part(name: str) -> str:
    """The name of a flow among all parts."""
    return f"flow/{name}"


def expected(settings: Settings) -> tuple[str, ...]:
    """The parts that should run somewhere on this state: those that the settings name, or all that the settings hold."""
    if settings.expected is not None:
        return settings.expected
    writing = _writing(settings)
    alone = [name for name in settings.targets if not writing[name]]
    parts = [*map(adapter_part, settings.adapters), *map(flow_part, [*settings.flows, *alone])]
    parts += [TABLES] if settings.tables.path else []
    return tuple(dict.fromkeys(parts))


def adapters(settings: Settings) -> dict[str, AdapterPlan]:
    """
    The adapters of `[adapters.*]`; no code of a system has run but the check of its settings.

    :raises MisconfiguredError: a section asks for an unknown system, or its settings do not hold.
    """
    plans = {}
    for name, given in settings.adapters.items():
        system, checked = adapter_system(name, given)
        share = _number(f"adapters.{name}", given, "guard_share", Guard().share)
        guard = Guard(share, int(_number(f"adapters.{name}", given, "guard_few", Guard().few)))
        code = installed.code_of(installed.ADAPTERS, str(given.get("system", name)))
        plans[name] = AdapterPlan(name, guard, partial(_made, name, system, checked, code))
    return plans


def _made(name: str, system: AdapterSystem[Any], settings: Any, code: str) -> tuple[Adapter, str]:
    adapter = system.build(name, settings)
    return adapter, _edition(name, adapter, code)


def stream_names(settings: Settings) -> list[str]:
    """The streams of all adapters, as `adapter.stream`, but for an adapter whose code cannot tell them now."""
    names: list[str] = []
    for name, plan in adapters(settings).items():
        try:
            names += [f"{name}.{stream.name}" for stream in plan.adapter.streams()]
        except Exception as error:
            log.warning("%s", ours(name, error))
    return names


def _edition(name: str, adapter: Adapter, code: str) -> str:
    """The edition of an adapter's mappings: their code, and the settings that they are bound to."""
    streams = adapter.streams()
    seen = {}
    for stream in streams:
        try:
            seen[stream.name] = bound(stream.map)
        except ValueError:
            raise MisconfiguredError(
                f"adapters.{name}", f"nobody can see what the mapping of its stream `{stream.name}` depends on",
                fix="its author makes it a function of a module, and binds the settings that it needs: "
                "`partial(tenant, codes=settings.codes)`",
            ) from None  # fmt: skip
    return edition(code, {entity for stream in streams for entity in stream.entities}, seen)


def adapter_system(name: str, given: Mapping[str, Any]) -> tuple[AdapterSystem[Any], Any]:
    """
    The system that a section of `[adapters.*]` asks for, and the section as that system's settings.

    :raises MisconfiguredError: it is unknown, or its settings do not hold.
    """
    system = installed.adapter(f"adapters.{name}", str(given.get("system", name)), named_so="system" in given)
    return system, section(f"adapters.{name}", system.settings, given)


def targets(settings: Settings) -> dict[str, TargetPlan]:
    """
    The targets of `[targets.*]`.

    :raises MisconfiguredError: a section asks for an unknown system, its settings do not hold, or it says what a flow writes
        while sections `[flows.*]` write to it.
    """
    writing = _writing(settings)
    return {name: _target(name, given, writing[name]) for name, given in settings.targets.items()}


def _target(name: str, given: Mapping[str, Any], flows: Sequence[str]) -> TargetPlan:
    where, kind = f"targets.{name}", str(given.get("system", name))
    system = installed.target(where, kind)
    own, rest = system.divided({setting: value for setting, value in given.items() if setting != "within"})
    rest |= {"within": given["within"]} if "within" in given else {}
    if rest and flows:
        raise MisconfiguredError(
            where, f"`{'`, `'.join(rest)}` says what a flow does, and this target has sections of flows",
            fix=f"put it into {_sections(flows)}",
        )  # fmt: skip
    besides = [system.flow.settings] if system.flow and not flows else []
    return TargetPlan(name, kind, system, section(where, system.settings, own, besides), rest)


def flows(settings: Settings) -> dict[str, FlowPlan]:
    """
    The flows of `[flows.*]`; and for each target to which none of them writes, the flow that ships with it, under its name.

    :raises MisconfiguredError: a section names no target, an unknown target, a flow that there is not or that is for another
        kind of target; two flows have one name; or settings do not hold.
    """
    there, writing = targets(settings), _writing(settings)
    plans = {name: _flow(name, given, there, writing) for name, given in settings.flows.items()}
    for name, target in there.items():
        if name in plans and plans[name].target is not target:
            raise MisconfiguredError(
                f"flows.{name}", f"has the name of a target, and writes to another one, `{plans[name].target.name}`",
                fix="call the flow otherwise: where a target is alone, its own flow has its name",
            )  # fmt: skip
        if not writing[name]:
            plans[name] = _alone(target)
    return plans


def _writing(settings: Settings) -> Mapping[str, list[str]]:
    """By target, the names of the sections `[flows.*]` that write to it."""
    writing: dict[str, list[str]] = defaultdict(list)
    for name, given in settings.flows.items():
        writing[str(given.get("target"))].append(name)
    return writing


def _alone(target: TargetPlan) -> FlowPlan:
    """The flow that ships with a target, set up in the target's own section."""
    where = f"targets.{target.name}"
    if target.system.flow is None:
        raise MisconfiguredError(
            where, f"no flow ships with `{target.kind}`",
            fix=f'say what it should hold in a section [flows.NAME] with target = "{target.name}" and system = "…"',
        )  # fmt: skip
    return _planned(target.name, where, target.rest, target, target.system.flow)


def _flow(
    name: str, given: Mapping[str, Any], there: Mapping[str, TargetPlan], writing: Mapping[str, Sequence[str]]
) -> FlowPlan:
    where = f"flows.{name}"
    if "target" not in given:
        raise MisconfiguredError(
            where, "names no target", fix=f'write target = "…", one of: {", ".join(sorted(there)) or "none yet"}'
        )
    wanted = str(given["target"])
    if wanted not in there:
        near = difflib.get_close_matches(wanted, there, n=1)
        raise MisconfiguredError(
            where, f"there is no section [targets.{wanted}]",
            fix=f"{f'did you mean `{near[0]}`? ' if near else ''}there are: {', '.join(sorted(there)) or 'none'}",
        )  # fmt: skip
    own = {setting: value for setting, value in given.items() if setting not in ("target", "system")}
    others = tuple(other for other in writing[wanted] if other != name)
    return replace(_planned(name, where, own, there[wanted], _flow_system(name, given, there[wanted])), others=others)


def _flow_system(name: str, given: Mapping[str, Any], target: TargetPlan) -> FlowSystem:
    """The one that `system` names; without it the one of the section's name, if there is one, or the one that ships."""
    shipped = target.system.flow
    wanted = str(given.get("system", name if name in installed.found(installed.FLOWS) or shipped is None else target.kind))
    if wanted == target.kind and shipped is not None:
        return shipped
    system = installed.flow(f"flows.{name}", wanted, target.kind)
    if system.target != target.kind:
        raise MisconfiguredError(
            f"flows.{name}", f"`{wanted}` is a flow for `{system.target}`, and target `{target.name}` is `{target.kind}`",
            fix=f"name a target of the kind `{system.target}`, or another flow with `system = \"…\"`",
        )  # fmt: skip
    return system


def _planned(name: str, where: str, given: Mapping[str, Any], target: TargetPlan, system: FlowSystem) -> FlowPlan:
    checked = section(where, system.settings, dict(given))
    return FlowPlan(name, target, system, checked, _number(where, given, "within", WITHIN))


def _sections(flows: Sequence[str]) -> str:
    return " or ".join(f"[flows.{name}]" for name in flows)


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
