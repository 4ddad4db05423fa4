"""The demonstration's world: two legacy systems that are filled and changed, and the sandboxes of two cloud systems."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.liquidlogic import world as liquidlogic_world
from adapters.payables import world as ledger_world
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
from flows.dfe_csc.sandbox import DfeCscSandbox, DfeCscSandboxSettings
from ironbridge.settings import KafkaSettings, Settings, StateSettings, TelemetrySettings

LA_CODE = 893


@dataclass
class World:
    """Where everything lies, and the two clouds. `warehouse` is the SQLAlchemy URL of the Liquidlogic-shaped database."""

    data: Path
    dfe: DfeCscSandbox
    central: BusinessCentralSandbox
    warehouse: str
    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    @property
    def drop(self) -> Path:
        return self.data / "drop"

    @property
    def stage(self) -> Path:
        """How far the play has come: absent (not begun), `made`, `changed` or `finished`."""
        return self.data / "stage"


@asynccontextmanager
async def clouds(data: Path, warehouse: str | None = None) -> AsyncIterator[World]:
    """The sandboxes of both cloud systems, which keep what they hold in the demonstration's folder."""
    dfe = DfeCscSandbox(DfeCscSandboxSettings(data=data / "cloud-dfe.sqlite3"))
    central = BusinessCentralSandbox(BusinessCentralSandboxSettings(data=data / "cloud-business-central.sqlite3"))
    chart: dict[str, Any] = ledger_world.chart()
    central.company.seed(chart["accounts"], chart["dimensions"])
    async with dfe, central:
        yield World(data, dfe, central, warehouse or f"sqlite+aiosqlite:///{data / 'liquidlogic.sqlite3'}")


async def make(world: World, children: int, invoices: int, seed: int) -> None:
    """Fill both legacy systems, unless they are filled already."""
    if world.stage.exists():
        return
    await liquidlogic_world.create(world.warehouse, children, seed)
    if world.drop.exists():
        shutil.rmtree(world.drop)  # a start that was killed half-way
    await asyncio.to_thread(ledger_world.write, world.drop, seed, invoices=invoices)
    world.stage.write_text("made")


def settings_of(world: World, **other: Any) -> Settings:
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
        adapters={
            "liquidlogic": {"url": world.warehouse, "every": 1},
            "ledger": {"folders": [str(world.drop)], "layouts": list(ledger_world.LAYOUTS), "settle": 1, "every": 1},
        },
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


def write_settings(world: World, settings: Settings) -> None:
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


async def change(world: World, seed: int) -> list[str]:
    """Somebody works in both legacy systems; what they did, in sentences."""
    engine = create_async_engine(world.warehouse)
    try:
        async with engine.begin() as connection:
            said = await liquidlogic_world.change(connection, seed)
    finally:
        await engine.dispose()
    return said + await asyncio.to_thread(ledger_world.correct, world.drop, seed)
