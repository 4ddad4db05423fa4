"""Systems of third parties whose own code refuses to be built: each ends at its own part, and the others start."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from canonical.errors import MisconfiguredError
from ironbridge.cli.sample import sample
from ironbridge.operate import insight
from ironbridge.operate.checks import findings
from ironbridge.operate.health import Health, Verdict
from ironbridge.runtime import bridge
from ironbridge.settings import KafkaSettings, Settings, StateSettings
from ironbridge.store import StoredMemory
from tests.servers import Kafka
from tests.test_systems import SHELF

SHY = '''
"""An invented system that is built once its gate is there."""
from pathlib import Path
from pydantic import BaseModel
from adapters.port import AdapterSystem, Stream, Sweep
from canonical import Person
from canonical.errors import MisconfiguredError
from flows.systems import TargetSystem
from shy_parts import shelf

class Gate(BaseModel):
    gate: Path

class Room(shelf.ShelfSettings):
    gate: Path

def person(row):
    return Person(key="shy:person:1")

async def pages(after):
    return
    yield

class Shy:
    def __init__(self, name):
        self.name = name

    def streams(self):
        return [Stream("people", (Person,), person, Sweep(pages))]

    async def open(self): ...
    async def close(self): ...
    async def check(self):
        return []

def passed(name, settings):
    if not settings.gate.exists():
        raise MisconfiguredError(name, "its gate is shut", fix="open the gate")

def build(name, settings):
    passed(name, settings)
    return Shy(name)

def room(name, settings, resources):
    passed(name, settings)
    return shelf.Shelf(name, settings, resources)

system = AdapterSystem(Gate, build, __name__)
target = TargetSystem(package=__name__, settings=Room, build=room, flow=shelf.flow)
'''


@pytest.fixture
def torn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that offers all kinds of systems, and lacks what it imports."""
    site, points = tmp_path / "site", ""
    for group in ("adapters", "targets", "flows"):
        points += f"[ironbridge.{group}]\ntorn = torn_parts:it\n"
    for name, text in (
        ("torn_parts.py", "import missing_driver\n"),
        ("torn-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: torn\nVersion: 1\n"),
        ("torn-1.dist-info/entry_points.txt", points),
    ):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, "utf-8")
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("torn_parts", None)


@pytest.fixture
def shy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The gate of an installed package, which is not there yet."""
    site = tmp_path / "site"
    for folder, files in (
        ("shy_parts", {"__init__.py": "", "shelf.py": SHELF.replace('target="shelf"', 'target="shy"'), "shy.py": SHY}),
        ("shy-1.dist-info", {
            "METADATA": "Metadata-Version: 2.1\nName: shy\nVersion: 1\n",
            "entry_points.txt": "[ironbridge.adapters]\nshy = shy_parts.shy:system\n"
            "[ironbridge.targets]\nshy = shy_parts.shy:target\n",
        }),
    ):  # fmt: skip
        (site / folder).mkdir(parents=True)
        for name, text in files.items():
            (site / folder / name).write_text(text, "utf-8")
    monkeypatch.syspath_prepend(site)
    yield tmp_path / "gate"
    for name in [name for name in sys.modules if name.startswith("shy_parts")]:
        del sys.modules[name]


def settings_of(folder: Path, kafka: KafkaSettings, gate: Path, *, sound: bool = True) -> Settings:
    state = StateSettings.model_validate({"url": f"sqlite+aiosqlite:///{folder / 'state.sqlite3'}"})
    drop = folder / "drop"
    drop.mkdir(exist_ok=True)
    adapters = {"shy": {"gate": str(gate)}} | (
        {"payables": {"folders": [str(drop)], "layouts": ["payments-list"]}} if sound else {}
    )
    targets = {"room": {"system": "shy", "gate": str(gate), "folder": str(folder)}} if sound else {}
    return Settings(data=folder, kafka=kafka, state=state, adapters=adapters, targets=targets)


async def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def test_parts_whose_code_refuses_to_be_built_start_later_and_the_others_start_at_once(
    apache_kafka: Kafka, tmp_path: Path, shy: Path
) -> None:
    kafka = KafkaSettings(
        broker="none", bootstrap_servers=apache_kafka.bootstrap, topic_prefix=apache_kafka.prefix() + "u", partitions=1
    )
    settings = settings_of(tmp_path, kafka, shy)
    stop = asyncio.Event()
    async with bridge.platform(settings) as built:
        assert [*built.pumps] == ["payables"]
        assert [*built.unbuilt] == ["adapter/shy", "flow/room"]
        running = asyncio.create_task(bridge.run(built, stop))
        verdicts = {each.what: each for each in await Health(built).look()}
        for name in ("shy", "room"):
            part = verdicts[name]
            assert (part.state, part.why) == ("failing", f"{name}: its gate is shut. To do: open the gate")
        await StoredMemory(built.store, "shy").looked("people")  # it ran once, before its package was replaced
        async with asyncio.timeout(60):
            while (shown := [each.error for each in await insight.streams(built.store) if each.adapter == "shy"]) == [None]:
                await asyncio.sleep(0.05)
        assert shown == ["shy: its gate is shut. To do: open the gate"], "`status` shows it, too"
        shy.touch()
        await until(lambda: "shy" in built.pumps and "room" in built.deliveries, "they are built again")
        await until(lambda: not built.unbuilt, "they are no trouble any more")
        assert not running.done()
        stop.set()
        await running
    assert {each.what for each in await _looked(settings)} >= {"shy.people", "room"}


async def _looked(settings: Settings) -> list[Verdict]:
    async with bridge.looking(settings) as built:
        return list(await Health(built).look())


async def test_a_start_is_refused_if_its_only_part_refuses_to_be_built(tmp_path: Path, shy: Path) -> None:
    settings = settings_of(tmp_path, KafkaSettings(), shy, sound=False)
    with pytest.raises(MisconfiguredError) as refused:
        async with bridge.platform(settings, broker=False, topics=False):
            raise AssertionError
    assert str(refused.value) == "shy: its gate is shut. To do: open the gate"


async def test_check_says_what_a_part_refuses_and_looks_at_the_others(tmp_path: Path, shy: Path) -> None:
    found = [each async for each in findings(settings_of(tmp_path, KafkaSettings(), shy))]
    said = {each.what: each for each in found}
    assert (said["shy: its gate is shut"].well, said["shy: its gate is shut"].fix) == (False, "open the gate")
    assert (said["room: its gate is shut"].well, said["room: its gate is shut"].fix) == (False, "open the gate")
    assert any(each.startswith("payables: ") for each in said)


TORN = "`torn_parts` of torn cannot be imported: ModuleNotFoundError at torn_parts.py:1, missing_driver is not installed"


@pytest.mark.usefixtures("torn")
async def test_a_package_that_cannot_be_imported_costs_its_own_parts_alone(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, KafkaSettings(), tmp_path / "gate").model_copy(
        update={
            "adapters": {"torn": {"table": "t"}, "payables": {"folders": [str(tmp_path)], "layouts": ["payments-list"]}},
            "targets": {"torn": {"url": "u"}, "finance": {"system": "torn"}},
            "flows": {"boxes": {"target": "finance", "system": "torn", "account": "1"}},
        }
    )
    async with bridge.platform(settings, broker=False, topics=False) as built:
        assert [*built.pumps] == ["payables"]
        assert built.unbuilt.keys() == {"adapter/torn", "flow/torn", "flow/boxes"}
        assert built.troubles["adapter/torn"].startswith(f"adapters.torn: {TORN}. To do: install what it needs")
    said = [each.what async for each in findings(settings) if "torn_parts" in each.what and not each.well]
    assert {each.partition(":")[0] for each in said} == {"torn", "finance", "boxes"}
    assert "[adapters.payables]" in sample()
