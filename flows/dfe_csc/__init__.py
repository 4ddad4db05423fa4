"""Children's records to the Department for Education's children's social care data API."""

from __future__ import annotations

from typing import Any, Final

from flows.dfe_csc.records import ChildRecords
from flows.dfe_csc.settings import ChildRecordsSettings, DfeCscSettings
from flows.dfe_csc.target import DfeCsc
from flows.kit.resources import Resources
from flows.port import Flow, Target
from flows.systems import CloudWorld, FlowSystem, TargetSystem

__all__ = ["ChildRecords", "DfeCsc", "DfeCscSettings", "system"]


def _flow(name: str, _settings: ChildRecordsSettings, there: DfeCscSettings) -> Flow:
    return ChildRecords(name, there.ids)


def _target(name: str, settings: DfeCscSettings, resources: Resources) -> Target:
    return DfeCsc(name, settings, resources.http(settings.limits))


def _world() -> CloudWorld[Any]:
    from flows.dfe_csc.world import WORLD  # a bridge has no use for it

    return WORLD


system: Final = TargetSystem(
    package=__name__,
    settings=DfeCscSettings,
    build=_target,
    flow=FlowSystem(target="dfe_csc", settings=ChildRecordsSettings, build=_flow),
    world=_world,
)
"""The entry point `dfe_csc` in `ironbridge.targets`."""
