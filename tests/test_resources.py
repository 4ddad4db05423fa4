"""What a target asks the runtime for: whatever carries a request, it is paid for, checked and traced in one way."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from canonical.errors import MisconfiguredError
from flows.engine.claims import Claim
from flows.kit.requests import LocalBudget, OutOfHandError
from flows.kit.resources import Resources
from flows.port import Body, Document, Limits, NotDone, Write
from flows.systems import FlowSystem, TargetSystem
from flows.testing import TargetSuite, Trouble
from ironbridge.runtime import systems
from ironbridge.settings import Settings
from tests.folder_target import BUSY, BusyError, FolderSettings, FolderTarget

GONE = Claim([], -math.inf, lambda: 0.0)


@dataclass
class Ledger:
    """A budget that remembers what was asked of it."""

    spent: int = 0
    held: list[timedelta] = field(default_factory=list)

    async def spend(self, requests: int) -> None:
        self.spent += requests

    async def hold(self, after: timedelta) -> None:
        self.held.append(after)


class FolderSide:
    def __init__(self, target: FolderTarget) -> None:
        self.target = target

    def document(self, number: int, version: int) -> tuple[str, Document]:
        return f"x:thing:{number}", Document("thing", str(number), {"version": version})

    def refusable(self, number: int) -> tuple[str, Document]:
        return f"x:thing:{number}", Document("thing", f"{number}/", {})

    def held(self, number: int) -> Body | None:
        found: Body | None = self.target.folder.get(str(number))
        return found

    def effects(self) -> int:
        return self.target.folder.effects

    def trouble(self, trouble: Trouble) -> None:
        fault = ("before", BusyError()) if trouble is Trouble.THROTTLED else ("after", TimeoutError())
        self.target.folder.faults.append(fault)


class TestFolder(TargetSuite):
    @pytest.fixture
    async def side(self, tmp_path: Path) -> AsyncIterator[FolderSide]:
        async with Resources("share", LocalBudget.of) as resources:
            yield FolderSide(FolderTarget("share", FolderSettings(folder=tmp_path), resources))


@pytest.fixture
def budget() -> Ledger:
    return Ledger()


@pytest.fixture
async def target(tmp_path: Path, budget: Ledger) -> AsyncIterator[FolderTarget]:
    async with Resources("share", lambda _limits: budget) as resources:
        yield FolderTarget("share", FolderSettings(folder=tmp_path), resources)


def thing() -> Write:
    return Write("x:thing:1", Document("thing", "1", {"version": 1}))


async def test_a_target_without_http_pays_for_every_request_and_each_has_its_span(
    target: FolderTarget, budget: Ledger, spans: InMemorySpanExporter
):
    await target.write([thing()])
    await target.read_back([thing()])
    target.folder.faults.append(("after", TimeoutError("the name of a child")))
    await target.write([thing()])
    assert budget.spent == 3
    seen = [(span.name, dict(span.attributes or {}), span.status.is_ok) for span in spans.get_finished_spans()]
    about = {"ironbridge.target": "share"}
    assert seen == [
        ("PUT file", about, True), ("GET file", about, True), ("PUT file", about | {"error.type": "TimeoutError"}, False)
    ]  # fmt: skip
    assert all(not span.events and not span.status.description for span in spans.get_finished_spans())


async def test_without_the_claim_nothing_that_changes_something_is_sent(target: FolderTarget, budget: Ledger):
    with GONE.at_work() as work:
        (outcome,) = await target.write([thing()])
        await target.read_back([thing()])
    assert outcome == NotDone("not sent: this worker's claim on its subjects ran out")
    assert (target.folder.effects, work.refused, budget.spent) == (0, True, 2)


async def test_a_target_without_http_can_ask_for_silence(target: FolderTarget, budget: Ledger):
    target.folder.faults.append(("before", BusyError()))
    assert await target.write([thing()]) == [NotDone("the folder is held", BUSY)]
    assert budget.held == [BUSY]


async def test_all_means_of_a_target_spend_one_budget_and_end_with_it():
    made: list[Ledger] = []

    def budget_of(_limits: Limits) -> Ledger:
        made.append(Ledger())
        return made[-1]

    async with Resources("share", budget_of) as resources:
        http = resources.http(Limits())
        async with resources.requests(Limits()).request("PUT file", changes=True):
            pass
        with GONE.at_work(), pytest.raises(OutOfHandError):
            await http.post("http://127.0.0.1:9/")
    assert [budget.spent for budget in made] == [2]
    assert http.is_closed
    assert isinstance(http, httpx.AsyncClient)


def test_a_target_that_ships_no_flow_needs_a_section_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    info = tmp_path / "share-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: share\nVersion: 1\n")
    points = "[ironbridge.targets]\nshare = tests.folder_target:system\nold = tests.folder_target:FolderTarget\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = Settings(targets={"share": {"folder": str(tmp_path)}})
    assert isinstance(systems.targets(settings)["share"].build(Resources("share", LocalBudget.of)), FolderTarget)
    with pytest.raises(MisconfiguredError) as refused:
        systems.flows(settings)
    assert str(refused.value) == (
        "targets.share: no flow ships with `share`. To do: say what it should hold in a section [flows.NAME] with "
        'target = "share" and system = "…"'
    )
    with pytest.raises(MisconfiguredError, match=r"targets\.old: its entry point names no `TargetSystem`"):
        systems.targets(Settings(targets={"old": {}}))


class Aimed(BaseModel):
    target: str


class Foldered(BaseModel):
    folder: Path


def test_settings_that_one_section_could_not_tell_apart_are_a_mistake_of_the_package():
    with pytest.raises(ValueError, match="target is a setting of every section"):
        FlowSystem(target="share", settings=Aimed, build=lambda *_: None)  # type: ignore[arg-type, return-value]
    flow = FlowSystem(target="share", settings=Foldered, build=lambda *_: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match="target and flow both have a setting folder"):
        TargetSystem(settings=FolderSettings, build=FolderTarget, flow=flow)
