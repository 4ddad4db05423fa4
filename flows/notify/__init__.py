"""Messages by GOV.UK Notify: e-mails, texts and letters that tell somebody of a fact, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from canonical.finding import Finding
from flows.kit.resources import Resources
from flows.notify.remittance import RemittanceAdvice
from flows.notify.settings import NotifySettings, RemittanceSettings
from flows.notify.target import NotifyTarget
from flows.port import Flow, Target
from flows.systems import FlowSystem, TargetSystem

__all__ = ["NotifySettings", "NotifyTarget", "RemittanceAdvice", "RemittanceSettings", "system"]


def _flow(name: str, settings: RemittanceSettings, _there: NotifySettings) -> Flow:
    return RemittanceAdvice(name, settings)


def _target(name: str, settings: NotifySettings, resources: Resources) -> Target:
    return NotifyTarget(name, settings, resources.http(settings.limits))


async def _template(settings: RemittanceSettings, target: Target) -> Sequence[Finding]:
    assert isinstance(target, NotifyTarget)  # noqa: S101 - the runtime gives the target that `system` built
    return [await target.fits("email", str(settings.template), settings.fields)]


system: Final = TargetSystem(
    package=__name__,
    settings=NotifySettings,
    build=_target,
    flow=FlowSystem(target="notify", settings=RemittanceSettings, build=_flow, check=_template),
)
"""The entry point `notify` in `ironbridge.targets`."""
