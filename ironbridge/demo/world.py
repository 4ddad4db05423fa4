"""The demonstration's world: legacy systems that are filled and changed, and an invented cloud system for each target."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from canonical.errors import MisconfiguredError
from flows.systems import CloudWorld
from ironbridge.demo import legacy
from ironbridge.runtime import installed
from ironbridge.settings import KafkaSettings, Settings, StateSettings, TelemetrySettings


@dataclass(frozen=True)
class DemoCloud:
    """An invented cloud system that runs: its kind, and the sandbox itself."""

    world: CloudWorld[Any]
    sandbox: Any


@dataclass
class DemoWorld:
    """
    The demo's world says where everything lies, and runs the clouds. `adapters` are the sections of the settings that read
    the legacy systems, `targets` those that reach the clouds.
    """

    data: Path
    adapters: dict[str, dict[str, Any]]
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    clouds: dict[str, DemoCloud] = field(default_factory=dict)
    spans: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)

    @property
    def stage(self) -> Path:
        """Tell how far the play has come: absent (not begun), `made`, `changed` or `finished`."""
        return self.data / "stage"


@asynccontextmanager
async def clouds(
    data: Path, adapters: legacy.Sections | None = None, targets: Iterable[str] = ()
) -> AsyncIterator[DemoWorld]:
    """
    Run the invented cloud systems of the installed kinds: those that the demonstration plays by itself, and those of `targets`.
    They keep what they hold in the demonstration's folder.

    What `adapters` says of a legacy system goes over the demonstration's own section of it; a system that the demonstration
    does not play by itself is played if it is named there.

    :raises MisconfiguredError: none of the installed kinds has an invented system of that name.
    """
    asked = adapters or {}
    wanted, invented = set(targets), _invented()
    if strange := sorted(wanted - invented.keys()):
        raise MisconfiguredError(
            f"--target {strange[0]}", "no cloud system of that kind is invented here", fix=f"there are: {', '.join(invented)}"
        )
    sections = {name: {**section, **asked.get(name, {})} for name, section in legacy.played(data, asked).items()}
    world, chart = DemoWorld(data, sections), legacy.chart(sections)
    async with AsyncExitStack() as stack:
        for name, kind in invented.items():
            if kind.in_demonstration or name in wanted:
                sandbox = await stack.enter_async_context(kind.open(data / f"cloud-{name}.sqlite3", chart))
                world.clouds[name] = DemoCloud(kind, sandbox)
                world.targets[name] = dict(kind.section(sandbox, chart))
        yield world


def _invented() -> dict[str, CloudWorld[Any]]:
    return {name: system.world() for name, system in installed.targets().items() if system.world is not None}


async def make(world: DemoWorld, sizes: Mapping[str, int], seed: int) -> None:
    """Fill the legacy systems, unless they are filled already."""
    if not world.stage.exists():
        await legacy.make(world.adapters, sizes, seed)
        world.stage.write_text("made")


def settings_of(world: DemoWorld, **other: Any) -> Settings:
    """Settings that join the legacy systems to the clouds; `other` goes over the embedded defaults."""
    embedded: dict[str, Any] = {
        "kafka": KafkaSettings(broker="embedded"),
        "state": StateSettings(url=None),
        "telemetry": TelemetrySettings(traces_a_second=20),
    }
    return Settings(
        data=world.data, worker="demo", **(embedded | other), adapters=world.adapters, targets=world.targets
    )


def write_settings(world: DemoWorld, settings: Settings) -> None:
    """
    The demonstration's own settings file, so that every other command can look at its world afterwards. No part is expected to
    run any more by then.
    """
    lines = [f"data = {json.dumps(str(world.data))}", 'worker = "demo"', "expected = []"]
    for group, sections in (("adapters", settings.adapters), ("targets", settings.targets), ("flows", settings.flows)):
        for name, section in sections.items():
            lines.append(f"\n[{group}.{name}]")
            lines += [f"{key} = {_toml(value)}" for key, value in section.items()]
    (world.data / "ironbridge.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)
