"""Microsoft Dynamics 365 Business Central: suppliers as vendors, invoices and credit notes as purchase documents."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import BaseModel

from flows.business_central.documents import BusinessCentralFlow
from flows.business_central.settings import SAMPLE, BusinessCentralSettings
from flows.business_central.target import BusinessCentralTarget, limits_of
from flows.port import Flow, Limits, Target, TargetSystem

__all__ = ["BusinessCentralFlow", "BusinessCentralSettings", "BusinessCentralTarget", "system"]


class BusinessCentralSystem:
    """The entry point `business_central` in `ironbridge.targets`."""

    settings: type[BaseModel] = BusinessCentralSettings
    sample = SAMPLE

    def limits(self, settings: Any) -> Limits:
        return limits_of(settings)

    def build(self, name: str, settings: Any, http: httpx.AsyncClient) -> tuple[Flow, Target]:
        return BusinessCentralFlow(name, settings), BusinessCentralTarget(name, settings, http)


system: TargetSystem = BusinessCentralSystem()
