"""
A repairs contractor who speaks no HTTP: the contractor imports a file for each let garage from a folder, where it stays until
the letting has ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from canonical import Entity
from canonical.finding import Finding
from canonical.key import read_key
from council_housing.entities import GarageLetting
from flows.kit.resources import Resources
from flows.port import (
    Absent,
    Confirmed,
    Document,
    Facts,
    Grouping,
    Held,
    Limits,
    Nothing,
    Outcome,
    ReadBack,
    Untold,
    Urgency,
    Write,
)
from flows.systems import FlowSystem, TargetSystem


class RepairsSettings(BaseModel):
    """The section `[targets.repairs]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path


class LetSettings(BaseModel):
    """The flow that ships with the target has no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LetGarages:
    """The garages that are let. Each letting is a subject of its own."""

    entities: tuple[type[Entity], ...] = (GarageLetting,)
    grouping = Grouping.KEY

    def __init__(self, name: str, _settings: LetSettings, _there: RepairsSettings) -> None:
        self.name = name
        self.settings: Mapping[str, Any] = {}

    def desired(self, subject: str, facts: Facts) -> Document | Nothing | None:
        letting = facts.one(GarageLetting)
        if letting is None:
            return None
        if letting.end_date and facts.has_come(letting.end_date):
            return Nothing("the letting has ended")
        body = {"agreement": letting.agreement, "since": letting.start_date.isoformat()}
        address = {"address": ", ".join(letting.garage.lines), "postcode": letting.garage.postcode or ""}
        return Document("garage", read_key(subject).identifier, body | address)

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL


class Repairs:
    """A file a document, named by its number. The number comes from the key, so a subject's file never has another name."""

    limits = Limits(batch=20, concurrency=2, requests=1000, window=10.0)

    def __init__(self, name: str, settings: RepairsSettings, resources: Resources) -> None:
        self.name = name
        self.folder = resources.folder(self.limits, settings.folder)

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return [await self._one(write) for write in batch]

    async def _one(self, write: Write) -> Outcome:
        file = _file(write)
        if write.document:
            trouble = await self.folder.put(file, json.dumps(write.document.body, indent=2).encode())
        else:
            trouble = await self.folder.remove(file)
        return trouble or Confirmed(file)

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        return [await self._held(_file(write)) for write in batch]

    async def _held(self, file: str) -> ReadBack:
        found = await self.folder.get(file)
        if found is None or isinstance(found, Untold):
            return found or Absent()
        try:
            return Held(json.loads(found), file)
        except ValueError:
            return Untold("the file holds no JSON")

    async def check(self) -> Sequence[Finding]:
        return await self.folder.check()


def _file(write: Write) -> str:
    number = next((d.number for d in (write.document, write.confirmed, *write.doubtful) if d), "")
    return f"{number}.json"


system = TargetSystem(
    settings=RepairsSettings,
    build=Repairs,
    flow=FlowSystem(target="repairs", settings=LetSettings, build=LetGarages),
    package=__name__,
)
"""The entry point `repairs` in `ironbridge.targets`."""
