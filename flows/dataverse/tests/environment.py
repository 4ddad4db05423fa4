"""An invented environment and a target that writes to it, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import httpx

from canonical.entity import Entity
from flows.dataverse.sandbox import DataverseSandbox
from flows.dataverse.settings import DataverseSettings
from flows.dataverse.target import DataverseTarget
from flows.dataverse.world import section
from flows.kit.http import TIMEOUT, client
from flows.kit.requests import Budget, LocalBudget
from flows.port import Document, Fact, Facts, Flow

TODAY = date(2026, 1, 5)


def settings_of(sandbox: DataverseSandbox, **more: Any) -> DataverseSettings:
    return DataverseSettings.model_validate({**section(sandbox, {}), **more})


@asynccontextmanager
async def environment(
    sandbox: DataverseSandbox | None = None, budget: Budget | None = None, timeout: httpx.Timeout = TIMEOUT, **more: Any
) -> AsyncIterator[tuple[DataverseTarget, DataverseSandbox]]:
    async with sandbox or DataverseSandbox() as there:
        settings = settings_of(there, **more)
        async with client(settings.limits, budget or LocalBudget(100_000, 1.0), timeout=timeout) as http:
            yield DataverseTarget("dataverse", settings, http), there


def facts_of(*entities: Entity) -> Facts:
    return Facts([Fact(each.type_name, each.key, each.owner, 1, each.to_bytes()) for each in entities], TODAY)


def document_of(flow: Flow, entity: Entity) -> Document:
    document = flow.desired(entity.key, facts_of(entity))
    assert isinstance(document, Document)
    return document
