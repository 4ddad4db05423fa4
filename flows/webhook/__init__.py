"""Canonical entities to any HTTPS address, one signed webhook for each change (Standard Webhooks)."""

from __future__ import annotations

from typing import Final

import httpx

from flows.kit.resources import Resources
from flows.port import Flow, Target
from flows.systems import FlowSystem, TargetSystem
from flows.webhook.events import EntityEvents
from flows.webhook.settings import EntityEventsSettings, ReceiverSettings
from flows.webhook.target import TIMEOUT, WebhookTarget

__all__ = ["EntityEvents", "EntityEventsSettings", "ReceiverSettings", "WebhookTarget", "system"]


def _flow(name: str, settings: EntityEventsSettings, _there: ReceiverSettings) -> Flow:
    return EntityEvents(name, settings)


def _target(name: str, settings: ReceiverSettings, resources: Resources) -> Target:
    return WebhookTarget(name, settings, resources.http(settings.limits, timeout=httpx.Timeout(TIMEOUT)))


system: Final = TargetSystem(
    package=__name__,
    settings=ReceiverSettings,
    build=_target,
    flow=FlowSystem(target="webhook", settings=EntityEventsSettings, build=_flow),
)
"""The entry point `webhook` in `ironbridge.targets`."""
