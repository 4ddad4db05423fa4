"""A target that speaks no HTTP: it keeps each document as a file in a folder, as systems do that import files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from canonical.finding import Finding
from flows.kit.requests import OutOfHandError, Requests
from flows.kit.resources import Resources
from flows.port import Absent, Confirmed, Held, Limits, NotDone, Outcome, ReadBack, Refused, Unknown, Write
from flows.systems import TargetSystem

BUSY = timedelta(seconds=7)


class FolderSettings(BaseModel):
    """The section of a folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path


class BusyError(OSError):
    """Whoever empties the folder holds it just now."""


class Folder:
    """The folder as others see it. `faults` are raised one after another, each before a write or after it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.effects = 0
        self.faults: list[tuple[str, Exception]] = []

    def put(self, number: str, text: str | None) -> None:
        when, fault = self.faults.pop(0) if self.faults else ("", None)
        if fault and when == "before":
            raise fault
        file = self.path / f"{number}.json"
        if text is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(text, "utf-8")
        self.effects += 1
        if fault:
            raise fault

    def get(self, number: str) -> Any:
        file = self.path / f"{number}.json"
        return json.loads(file.read_text("utf-8")) if file.exists() else None


class FolderTarget:
    """One file a document, named by its number."""

    limits = Limits(batch=10, concurrency=1, requests=1000, window=10.0)

    def __init__(self, name: str, settings: FolderSettings, resources: Resources) -> None:
        self.name = name
        self.folder = Folder(settings.folder)
        self._requests: Requests = resources.requests(self.limits)

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return [await self._one(write) for write in batch]

    async def _one(self, write: Write) -> Outcome:
        document = write.document
        if document and "/" in document.number:
            return Refused("number: holds a slash")
        former = write.confirmed.number if write.confirmed else ""
        number = document.number if document else former
        try:
            async with self._requests.request("PUT file", changes=True):
                self.folder.put(number, json.dumps(document.body) if document else None)
        except OutOfHandError as error:
            return NotDone(error.what)
        except BusyError:
            await self._requests.silence(BUSY)
            return NotDone("the folder is held", BUSY)
        except OSError as error:
            return Unknown(f"not known to be written: {type(error).__name__}")
        return Confirmed(number)

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        return [await self._held(write) for write in batch]

    async def _held(self, write: Write) -> ReadBack:
        number = next((d.number for d in (write.document, write.confirmed, *write.doubtful) if d), "")
        async with self._requests.request("GET file", changes=False):
            body = self.folder.get(number)
        return Absent() if body is None else Held(body, number)

    async def check(self) -> Sequence[Finding]:
        there = self.folder.path.is_dir()
        return [Finding("the folder is there", there, "" if there else "make the folder, or mend `folder`")]


system = TargetSystem(settings=FolderSettings, build=FolderTarget)
