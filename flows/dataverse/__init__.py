"""Microsoft Dataverse (Dynamics 365, Power Platform): people as contacts, and any table by alternate key."""

from __future__ import annotations

from typing import Any, Final

from flows.dataverse.contacts import Contacts, ContactSettings, check
from flows.dataverse.settings import DataverseSettings
from flows.dataverse.target import DataverseTarget
from flows.kit.resources import Resources
from flows.port import Target
from flows.systems import CloudWorld, FlowSystem, TargetSystem

__all__ = ["ContactSettings", "Contacts", "DataverseSettings", "DataverseTarget", "system"]


def _target(name: str, settings: DataverseSettings, resources: Resources) -> Target:
    return DataverseTarget(name, settings, resources.http(settings.limits))


def _world() -> CloudWorld[Any]:
    from flows.dataverse.world import WORLD  # a bridge has no use for it

    return WORLD


system: Final = TargetSystem(
    package=__name__,
    settings=DataverseSettings,
    build=_target,
    flow=FlowSystem(target="dataverse", settings=ContactSettings, build=Contacts, check=check),
    world=_world,
)
"""The entry point `dataverse` in `ironbridge.targets`."""
