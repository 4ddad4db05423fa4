"""Business Central's side of the demonstration: the sandbox of one company, with the accounts that the legacy systems name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.business_central.sandbox import BusinessCentralSandbox
from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
from flows.business_central.wire import SET_OF
from flows.systems import Chart, CloudWorld


def _opened(file: Path, chart: Chart) -> BusinessCentralSandbox:
    sandbox = BusinessCentralSandbox(BusinessCentralSandboxSettings(data=file))
    sandbox.company.seed(chart.get("accounts", {}), chart.get("dimensions", {}))
    return sandbox


def _section(sandbox: BusinessCentralSandbox, chart: Chart) -> dict[str, Any]:
    """The last account of the chart stands for all that an extract names; each dimension keeps its name."""
    account = next(reversed(list(chart.get("accounts", {}))), None)
    return {
        "base_url": sandbox.url,
        "company": sandbox.settings.company,
        "token_url": f"{sandbox.url}/token",
        "client_id": sandbox.settings.client_id,
        "client_secret": sandbox.settings.client_secret,
        "dimensions": {name: name for name in chart.get("dimensions", {})},
        **({"default_account": account, "accounts": {"*": account}} if account else {}),
    }


def _counts(sandbox: BusinessCentralSandbox) -> Mapping[str, int]:
    held = sandbox.summary()["documents"]
    return {kind: held.get(entity_set, 0) for kind, entity_set in SET_OF.items()}


WORLD = CloudWorld(_opened, _section, _counts)
