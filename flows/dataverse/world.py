"""Dataverse's side of the demonstration: the sandbox of one environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.dataverse.sandbox import ROOT, DataverseSandbox, DataverseSandboxSettings
from flows.dataverse.sandbox_tables import KEY
from flows.systems import Chart, CloudWorld


def _opened(file: Path, _: Chart) -> DataverseSandbox:
    return DataverseSandbox(DataverseSandboxSettings(data=file))


def section(sandbox: DataverseSandbox, _: Chart) -> dict[str, Any]:
    """The section of a target that reaches a sandbox."""
    return {
        "base_url": f"{sandbox.url}{ROOT}".rstrip("/"),
        "token_url": f"{sandbox.url}/token",
        "scope": f"{sandbox.url}/.default",
        "client_id": sandbox.settings.client_id,
        "client_secret": sandbox.settings.client_secret,
        "key_column": KEY,
    }


def _counts(sandbox: DataverseSandbox) -> Mapping[str, int]:
    """Contacts, which the demonstration's flow writes, and what else there is."""
    return {kind: sandbox.held.counts[kind] for kind in sandbox.kinds if kind == "contact" or sandbox.held.counts[kind]}


WORLD = CloudWorld(_opened, section, _counts, in_demonstration=False)
