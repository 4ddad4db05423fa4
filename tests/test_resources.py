"""What a target asks the runtime for: whatever carries a request, it is paid for, checked and traced in one way."""

from __future__ import annotations

import errno
import math
import os
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.engine.claims import Claim
from flows.kit.folder import Disk, SharedFolder
from flows.kit.requests import LocalBudget, OutOfHandError, Requests
from flows.kit.resources import Resources
from flows.port import Limits, NotDone, Refused, Target, Unknown, Untold
from flows.systems import FlowSystem, TargetSystem
from flows.testing import ScriptedTarget
from ironbridge.runtime import systems
from ironbridge.settings import Settings

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


@pytest.fixture
def budget() -> Ledger:
    return Ledger()


@pytest.fixture
async def resources(budget: Ledger) -> AsyncIterator[Resources]:
    async with Resources("share", lambda _limits: budget) as opened:
        yield opened


# -- any way of sending ------------------------------------------------------------------------------------------------


async def test_what_fails_inside_a_request_is_seen_in_its_span_without_a_word_of_its_text(
    resources: Resources, spans: InMemorySpanExporter
):
    with pytest.raises(ConnectionError):
        async with resources.requests(Limits()).request("PUT queue", changes=True):
            raise ConnectionError("the name of a child")
    (span,) = spans.get_finished_spans()
    about = {"ironbridge.target": "share", "error.type": "ConnectionError"}
    assert (span.name, dict(span.attributes or {}), span.status.is_ok) == ("PUT queue", about, False)
    assert not span.events
    assert not span.status.description


async def test_a_target_without_http_can_ask_for_silence(resources: Resources, budget: Ledger):
    await resources.requests(Limits()).silence(timedelta(seconds=7))
    assert budget.held == [timedelta(seconds=7)]


async def test_all_means_of_a_target_spend_one_budget_and_end_with_it():
    made: list[Ledger] = []

    def budget_of(_limits: Limits) -> Ledger:
        made.append(Ledger())
        return made[-1]

    async with Resources("share", budget_of) as resources:
        http = resources.http(Limits())
        async with resources.requests(Limits()).request("PUT queue", changes=True):
            pass
        with GONE.at_work(), pytest.raises(OutOfHandError):
            await http.post("http://127.0.0.1:9/")
    assert [budget.spent for budget in made] == [2]
    assert http.is_closed
    assert isinstance(http, httpx.AsyncClient)


# -- a folder ----------------------------------------------------------------------------------------------------------

ONE = Limits(concurrency=1)


class Share(Disk):
    """A share that fails at one step, once, with the error that the operating system gives."""

    def __init__(self, step: str, *numbers: int, done: bool = False) -> None:
        self._step, self._numbers, self._done = step, list(numbers), done

    def write(self, path: Path, content: bytes) -> None:
        self._at("write", lambda: super(Share, self).write(path, content))

    def move(self, path: Path, to: Path) -> None:
        self._at("move", lambda: super(Share, self).move(path, to))

    def remove(self, path: Path) -> None:
        self._at("remove", lambda: super(Share, self).remove(path))

    def read(self, path: Path) -> bytes:
        self._at("read", lambda: None)
        return super().read(path)

    def _at(self, step: str, work: Callable[[], None]) -> None:
        number = self._numbers.pop(0) if step == self._step and self._numbers else 0
        if self._done or not number:
            work()
        if number:
            raise OSError(number, "the name of a child")


async def test_a_folder_takes_shows_lists_and_loses_files(
    resources: Resources, budget: Ledger, spans: InMemorySpanExporter, tmp_path: Path
):
    folder = resources.folder(ONE, tmp_path)
    assert [await folder.put(name, b"1") for name in ("b.json", "a.json", "b.json")] == [None, None, None]
    assert (await folder.get("a.json"), await folder.get("c.json"), await folder.get("../c")) == (b"1", None, None)
    assert await folder.names() == ["a.json", "b.json"]
    assert [await folder.remove("a.json"), await folder.remove("a.json")] == [None, None]
    assert [file.name for file in tmp_path.iterdir()] == ["b.json"]
    assert await folder.check() == [Finding(f"share: the folder {tmp_path}", True)]
    names = ["PUT file"] * 3 + ["GET file"] * 2 + ["LIST files"] + ["DELETE file"] * 2 + ["LIST files"]
    assert [span.name for span in spans.get_finished_spans()] == names
    assert budget.spent == len(names)


TROUBLE: list[tuple[Share, NotDone | Refused | Unknown, bytes]] = [
    (Share("write", errno.ENOSPC), NotDone("not done: ENOSPC"), b"old"),
    (Share("write", errno.EINVAL), Refused("its file's name: the folder does not take it (EINVAL)"), b"old"),
    (Share("move", errno.EACCES), NotDone("not done: the file is in use there (EACCES)"), b"old"),
    (Share("move", errno.EISDIR), Refused("its file's name: a folder of that name lies there"), b"old"),
    (Share("move", errno.EIO), Unknown("not known to be done: EIO"), b"old"),
    (Share("move", errno.ETIMEDOUT, done=True), Unknown("not known to be done: ETIMEDOUT"), b"new"),
]


@pytest.mark.parametrize(("share", "outcome", "holds"), TROUBLE, ids=[str(outcome) for _, outcome, _ in TROUBLE])
async def test_what_a_folder_did_not_do_is_told_from_what_it_may_have_done(
    resources: Resources, tmp_path: Path, share: Share, outcome: object, holds: bytes
):
    folder = resources.folder(ONE, tmp_path)
    await folder.put("1.json", b"old")
    folder.disk = share
    assert await folder.put("1.json", b"new") == outcome
    assert await folder.get("1.json") == holds
    assert await folder.names() == ["1.json"]
    assert await folder.put("1.json", b"newer") is None


async def test_a_removal_may_be_in_doubt_too_and_what_cannot_be_read_is_not_absent(resources: Resources, tmp_path: Path):
    folder = resources.folder(ONE, tmp_path)
    await folder.put("1.json", b"old")
    folder.disk = Share("remove", errno.EIO, errno.EBUSY)
    assert await folder.remove("1.json") == Unknown("not known to be done: EIO")
    assert await folder.remove("1.json") == NotDone("not done: the file is in use there (EBUSY)")
    folder.disk = Share("read", errno.EIO)
    assert await folder.get("1.json") == Untold("the file cannot be read: EIO")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "1.json")
    assert await folder.get("elsewhere") == Untold("the file cannot be read: ELOOP")
    assert await folder.names() == ["1.json"]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b.json", "..", "a:b", "a\x00", "nul?", "a.", "a ", "é" * 150])
async def test_a_name_that_a_share_forbids_is_refused_and_no_file_is_touched(resources: Resources, tmp_path: Path, name: str):
    folder = resources.folder(ONE, tmp_path)
    refused = Refused("its file's name: has a sign that a share forbids, or is too long")
    assert [await folder.put(name, b"1"), await folder.remove(name)] == [refused, refused]
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_is_not_there_stops_everything_and_its_check_says_why(resources: Resources, tmp_path: Path):
    folder = resources.folder(ONE, tmp_path / "share")
    fix = "make the folder, mount its share, or mend its path"
    for step in (folder.put("1.json", b"1"), folder.remove("1.json"), folder.get("1.json"), folder.names()):
        with pytest.raises(MisconfiguredError) as told:
            await step
        assert str(told.value) == f"share: the folder is not there. To do: {fix}"
    assert await folder.check() == [Finding(f"share: the folder {tmp_path / 'share'}", False, fix)]


async def test_without_the_claim_nothing_in_a_folder_changes(resources: Resources, tmp_path: Path):
    folder = resources.folder(ONE, tmp_path)
    with GONE.at_work() as work:
        assert await folder.put("1.json", b"1") == NotDone("not sent: this worker's claim on its subjects ran out")
        assert await folder.get("1.json") is None
    assert (list(tmp_path.iterdir()), work.refused) == ([], True)


async def test_a_claim_that_runs_out_while_a_slow_share_takes_the_file_moves_nothing(resources: Resources, tmp_path: Path):
    folder, times = resources.folder(ONE, tmp_path), [0.0, 1000.0]
    with Claim([], 0.0, lambda: times.pop(0)).at_work():
        assert await folder.put("1.json", b"1") == NotDone("not done: this worker's claim on its subjects ran out")
    assert list(tmp_path.iterdir()) == []


async def test_a_share_that_hangs_is_given_up_and_holds_up_nothing_else(budget: Ledger, tmp_path: Path):
    hanging = threading.Event()

    class Hanging(Disk):
        def move(self, path: Path, to: Path) -> None:
            hanging.wait()

        def read(self, path: Path) -> bytes:
            hanging.wait()
            return b""

    folder = SharedFolder("share", tmp_path, Requests("share", budget), 2, patience=0.01)
    folder.disk = Hanging()
    try:
        assert await folder.put("1.json", b"1") == Unknown("not known to be done: TimeoutError")
        assert await folder.get("1.json") == Untold("the folder did not answer in 0.01 s")
    finally:
        hanging.set()
        folder.close()


async def test_an_unfinished_file_of_a_killed_worker_is_removed_and_a_young_one_is_not(resources: Resources, tmp_path: Path):
    old, young = tmp_path / ".1.json.0a0a0a0a.part", tmp_path / ".2.json.0b0b0b0b.part"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (0, 0))
    folder = resources.folder(ONE, tmp_path)
    assert await folder.names() == []
    await folder.put("3.json", b"1")
    assert sorted(file.name for file in tmp_path.iterdir()) == [young.name, "3.json"]


# -- a target's system -------------------------------------------------------------------------------------------------


class ShareSettings(BaseModel):
    folder: Path


def built(name: str, settings: ShareSettings, resources: Resources) -> Target:
    target = ScriptedTarget(name)
    assert resources.folder(target.limits, settings.folder).path == settings.folder
    return target


share = TargetSystem(settings=ShareSettings, build=built)


def test_a_target_that_ships_no_flow_needs_a_section_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    info = tmp_path / "share-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: share\nVersion: 1\n")
    points = "[ironbridge.targets]\nshare = tests.test_resources:share\nold = tests.test_resources:built\n"
    (info / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = Settings(targets={"share": {"folder": str(tmp_path)}})
    assert systems.targets(settings)["share"].build(Resources("share", LocalBudget.of)).name == "share"
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
        TargetSystem(settings=ShareSettings, build=built, flow=flow)
