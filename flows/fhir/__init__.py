"""FHIR R4 with UK Core: a person's record to a shared care record."""

from __future__ import annotations

from typing import Any, Final

from flows.fhir.record import CareRecords
from flows.fhir.settings import CareRecordSettings, FhirSettings
from flows.fhir.target import FhirTarget
from flows.kit.resources import Resources
from flows.port import Target
from flows.systems import CloudWorld, FlowSystem, TargetSystem

__all__ = ["CareRecordSettings", "CareRecords", "FhirSettings", "FhirTarget", "system"]


def _target(name: str, settings: FhirSettings, resources: Resources) -> Target:
    return FhirTarget(name, settings, resources.http(settings.limits))


def _world() -> CloudWorld[Any]:
    from flows.fhir.world import WORLD  # a bridge has no use for it

    return WORLD


system: Final = TargetSystem(
    package=__name__,
    settings=FhirSettings,
    build=_target,
    flow=FlowSystem(target="fhir", settings=CareRecordSettings, build=CareRecords),
    world=_world,
)
"""The entry point `fhir` in `ironbridge.targets`."""
