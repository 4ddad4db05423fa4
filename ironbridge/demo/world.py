"""The demonstration's world: legacy systems that are filled and changed, and the sandboxes of two cloud systems."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flows.business_central.sandbox import BusinessCentralSandbox
from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
from flows.dfe_csc.sandbox import DfeCscSandbox, DfeCscSandboxSettings
from ironbridge.demo import legacy
from ironbridge.settings import KafkaSettings, Settings, StateSettings, TelemetrySettings

LA_CODE = 893


@dataclass
class DemoWorld:
    """
    The demo's world says where everything lies, and runs the two clouds. `adapters` are the sections of the settings
    that read the legacy systems.
    """

    data: Path
    dfe: DfeCscSandbox
    central: BusinessCentralSandbox
    adapters: dict[str, dict[str, Any]]
    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    @property
    def stage(self) -> Path:
        """Tell how far the play has come: absent (not begun), `made`, `changed` or `finished`."""
        return self.data / "stage"


@asynccontextmanager
async def clouds(data: Path, adapters: legacy.Sections | None = None) -> AsyncIterator[DemoWorld]:
    """
    The sandboxes of both cloud systems, which keep what they hold in the demonstration's folder.

    What `adapters` says of a legacy system goes over the demonstration's own section of it.
    """
    sections = {name: {**section, **(adapters or {}).get(name, {})} for name, section in legacy.sections(data).items()}
    dfe = DfeCscSandbox(DfeCscSandboxSettings(data=data / "cloud-dfe.sqlite3"))
    central = BusinessCentralSandbox(BusinessCentralSandboxSettings(data=data / "cloud-business-central.sqlite3"))
    chart = legacy.chart(sections)
    central.company.seed(chart["accounts"], chart["dimensions"])
    async with dfe, central:
        yield DemoWorld(data, dfe, central, sections)


async def make(world: DemoWorld, sizes: Mapping[str, int], seed: int) -> None:
    """Fill the legacy systems, unless they are filled already."""
    if not world.stage.exists():
        await legacy.make(world.adapters, sizes, seed)
        world.stage.write_text("made")


def settings_of(world: DemoWorld, **other: Any) -> Settings:
    """Settings that join the legacy systems to the clouds; `other` goes over the embedded defaults."""
    dfe, central = world.dfe, world.central
    embedded: dict[str, Any] = {
        "kafka": KafkaSettings(broker="embedded"),
        "state": StateSettings(url=None),
        "telemetry": TelemetrySettings(traces_a_second=20),
    }
    return Settings(
        data=world.data,
        worker="demo",
        **(embedded | other),
        adapters=world.adapters,
        targets={
            "dfe_csc": {
                "la_code": LA_CODE,
                "api_endpoint": dfe.url,
                "token_url": f"{dfe.url}/token",
                "client_id": dfe.settings.client_id,
                "client_secret": dfe.settings.client_secret,
                "supplier_key": dfe.settings.supplier_key,
            },
            "business_central": {
                "base_url": central.url,
                "company": central.settings.company,
                "token_url": f"{central.url}/token",
                "client_id": central.settings.client_id,
                "client_secret": central.settings.client_secret,
                "default_account": "6010",
                "accounts": {"*": "6010"},
                "dimensions": {"COSTCENTRE": "COSTCENTRE"},
            },
        },
    )


def write_settings(world: DemoWorld, settings: Settings) -> None:
    """The demonstration's own settings file, so that every other command can look at its world afterwards."""
    lines = [f"data = {json.dumps(str(world.data))}", 'worker = "demo"']
    for group, sections in (("adapters", settings.adapters), ("targets", settings.targets), ("flows", settings.flows)):
        for name, section in sections.items():
            lines.append(f"\n[{group}.{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in section.items()]
    (world.data / "ironbridge.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)
