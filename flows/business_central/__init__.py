"""Microsoft Dynamics 365 Business Central: suppliers as vendors, invoices and credit notes as purchase documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.business_central.documents import BusinessCentralFlow
from flows.business_central.settings import BusinessCentralSettings, PurchaseSettings
from flows.business_central.target import BusinessCentralTarget, limits_of
from flows.kit.resources import Resources
from flows.port import Target
from flows.systems import FlowSystem, TargetSystem

__all__ = ["BusinessCentralFlow", "BusinessCentralSettings", "BusinessCentralTarget", "PurchaseSettings", "system"]


def _target(name: str, settings: BusinessCentralSettings, resources: Resources) -> Target:
    return BusinessCentralTarget(name, settings, resources.http(limits_of(settings)))


async def _codes(settings: PurchaseSettings, target: Target) -> Sequence[Finding]:
    """Check whether the company has the accounts and dimensions that the settings name."""
    if not isinstance(target, BusinessCentralTarget):
        return []
    named = {*settings.accounts.values(), settings.default_account} - {None}
    try:
        return await target.check_codes(sorted(set(settings.dimensions.values())), sorted(map(str, named)))
    except MisconfiguredError as error:
        return [Finding(error.what, False, error.fix)]


system: Final = TargetSystem(
    package=__name__,
    settings=BusinessCentralSettings,
    build=_target,
    flow=FlowSystem(target="business_central", settings=PurchaseSettings, build=BusinessCentralFlow, check=_codes),
)
"""The entry point `business_central` in `ironbridge.targets`."""
