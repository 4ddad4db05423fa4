"""A part that should run somewhere and runs nowhere is told by everyone who looks at the state, each part by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from adapters.engine.pump import Pump
from adapters.testing import Log, MemoryJournal
from adapters.testing.table import Line, TableAdapter
from canonical.errors import MisconfiguredError, UnavailableError
from ironbridge.cli import render
from ironbridge.cli.app import app
from ironbridge.console import serve
from ironbridge.kafka.process import free_port
from ironbridge.operate import steer
from ironbridge.operate.absence import AbsentPart, RollCall, absent
from ironbridge.operate.audit import Actor
from ironbridge.operate.health import Health
from ironbridge.runtime import bridge, systems
from ironbridge.runtime.alive import signs_of_life
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import HttpSettings, Settings, load
from ironbridge.store import Store, StoredMemory, open_store, signs
from tests.servers import Postgres
from tests.test_bridge import forwarding

NORTH, SOUTH = "adapter/north", "adapter/south"


@dataclass
class Clock:
    """The state's clock and a process's own, which a test sets."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(each_store: Store) -> Clock:
    each_store.clock = made = Clock()
    return made


async def missing(store: Store, *expected: str) -> list[str]:
    return [each.part for each in await absent(store, expected)]


async def test_each_part_without_a_sign_of_life_for_a_while_is_absent_until_it_gives_one_again(each_store: Store, clock: Clock):
    assert await absent(each_store, [NORTH]) == [AbsentPart(NORTH)]
    await signs.give(each_store, [SOUTH, NORTH])
    clock.now += signs.LIFE
    assert await missing(each_store, NORTH, SOUTH) == []
    await signs.give(each_store, [NORTH])
    clock.now += 1
    (found,) = await absent(each_store, [NORTH, SOUTH])
    assert found == AbsentPart(SOUTH, since=1_800_000_000.0, seconds=91.0)
    said = "runs nowhere: its last sign of life was at 2027-01-15 08:00:00 UTC, 0:01:31 ago. To do: start the process"
    assert found.why.startswith(said)
    await signs.give(each_store, [SOUTH])
    assert await missing(each_store, NORTH, SOUTH) == []


async def test_a_sign_from_before_the_clock_was_set_back_does_not_mislead(each_store: Store, clock: Clock):
    await signs.give(each_store, [NORTH, SOUTH])
    clock.now -= 86400
    await signs.give(each_store, [NORTH])
    (found,) = await absent(each_store, [NORTH, SOUTH])
    assert found == AbsentPart(SOUTH, since=1_800_000_000.0)
    assert "its last sign of life is of 2027-01-15 08:00:00 UTC, before the database's clock was set back" in found.why
    clock.now += 86400  # and forward again
    await signs.give(each_store, [NORTH])
    assert await missing(each_store, NORTH) == []


async def test_the_signs_of_an_old_state_that_was_restored_do_not_count(each_store: Store, clock: Clock):
    await signs.give(each_store, [NORTH, SOUTH])
    clock.now += 86400
    assert await missing(each_store, NORTH, SOUTH) == [NORTH, SOUTH]
    await signs.give(each_store, [SOUTH])
    assert await missing(each_store, NORTH, SOUTH) == [NORTH]


async def test_workers_of_one_part_give_its_sign_side_by_side(each_store: Store):
    parts = [f"flow/{number}" for number in range(30)]
    await asyncio.gather(*(signs.give(each_store, parts[:: 1 - 2 * (worker % 2)]) for worker in range(8)))
    assert [sign.part for sign in await signs.given(each_store)] == sorted(parts)


# -- processes that run parts ---------------------------------------------------------------------------------------------


def settings_of(data: Path, *names: str, **more: object) -> Settings:
    return Settings.model_validate({"data": data, "adapters": {name: {} for name in names or ("north", "south")}, **more})


def process(settings: Settings, store: Store, *names: str, log: Log | None = None, **read: TableAdapter) -> Platform:
    """A process that runs these adapters of the settings; `read` has those that a test works in."""
    built = Platform(settings, store)
    for name in [*names, *read]:
        adapter = read.get(name) or TableAdapter(name=name)
        pump = Pump(adapter, MemoryJournal(log or Log(), name), StoredMemory(store, name), edition="1")
        built.pumps[name] = (pump, list(adapter.streams()))
    return built


@asynccontextmanager
async def running(built: Platform) -> AsyncIterator[asyncio.Task[None]]:
    """The parts at work, and their first sign given."""
    stop = asyncio.Event()
    task = asyncio.create_task(bridge.run(built, stop))
    try:
        async with asyncio.timeout(20):
            while await missing(built.store, *built.parts):
                await asyncio.sleep(0.01)
        yield task
    finally:
        stop.set()
        await task


async def told(built: Platform) -> dict[str, str]:
    """Returns what a process says of absent parts once it has run for long."""
    own = Clock()
    health = Health(built, clock=own)
    own.now += signs.LIFE + 1
    return {verdict.what: verdict.state for verdict in await health.absent() if not verdict.well}


async def test_of_two_processes_the_one_that_lives_says_that_the_other_stopped_and_that_it_is_back(
    each_store: Store, clock: Clock, tmp_path: Path
):
    settings = settings_of(tmp_path)
    north, south = process(settings, each_store, "north"), process(settings, each_store, "south")
    async with running(south):
        async with running(north):
            assert await told(north) == {}
        clock.now += signs.LIFE - 1
        assert await told(south) == {}
    clock.now += 2
    async with running(process(settings, each_store, "south")):
        assert await told(south) == {NORTH: "absent"}
        async with running(process(settings, each_store, "north")):
            assert await told(south) == {}


async def test_a_process_gives_the_others_time_after_its_own_start_and_after_an_outage(postgres: Postgres):
    port, own = free_port(), Clock()
    async with postgres.database() as url:
        host, database = url.rpartition("/")[0].rpartition(":")[0], url.rpartition("/")[2]
        async with forwarding(port, postgres.port):
            store = await open_store(f"{host}:{port}/{database}")
            roll = RollCall(store, [NORTH], own)
            own.now += signs.LIFE
            assert await roll.absent() == []
            own.now += 1
            assert await roll.absent() == [AbsentPart(NORTH)]
        with pytest.raises(UnavailableError):
            await roll.absent()
        async with forwarding(port, postgres.port):
            own.now += signs.LIFE
            assert await roll.absent() == []
            own.now += 1
            assert await roll.absent() == [AbsentPart(NORTH)]
            await store.close()


async def test_signs_go_on_after_an_outage_of_the_state(postgres: Postgres, caplog: pytest.LogCaptureFixture):
    port, stop = free_port(), asyncio.Event()
    async with postgres.database() as url:
        host, database = url.rpartition("/")[0].rpartition(":")[0], url.rpartition("/")[2]
        async with forwarding(port, postgres.port):
            store = await open_store(f"{host}:{port}/{database}")
        async with signs_of_life(store, lambda: [NORTH], stop, every=0.05):
            async with asyncio.timeout(20):
                while "next attempt in" not in caplog.text:  # a sign could not be given
                    await asyncio.sleep(0.01)
            async with forwarding(port, postgres.port), asyncio.timeout(20):
                while True:
                    with suppress(UnavailableError):
                        if not await missing(store, NORTH):
                            break
                    await asyncio.sleep(0.05)
        await store.close()


async def test_a_part_whose_code_fails_at_the_start_gives_no_sign(store: Store, tmp_path: Path):
    async def broken() -> None:
        raise RuntimeError("its code is at fault")

    built = process(settings_of(tmp_path), store, "north")
    built.unbuilt[SOUTH] = broken
    async with running(built):
        assert [sign.part for sign in await signs.given(store)] == [NORTH]


async def test_a_process_whose_last_part_was_fenced_off_gives_no_more_signs_and_ends(store: Store, tmp_path: Path):
    log, adapter = Log(), TableAdapter(name="north")
    built = process(settings_of(tmp_path), store, log=log, north=adapter)
    async with running(built) as task:
        async with asyncio.timeout(20):
            while not await StoredMemory(store, "north").claimed():  # before that, this copy would be the newer one
                await asyncio.sleep(0.01)
        adapter.lines[1] = Line(1, "N1")
        newer, _ = process(settings_of(tmp_path), store, log=log, north=adapter).pumps["north"]
        await newer.ready()
        async with asyncio.timeout(20):
            await task  # nobody told it to stop


async def test_a_paused_part_is_not_absent(each_store: Store, clock: Clock, tmp_path: Path):
    built = process(settings_of(tmp_path, "north"), each_store, "north")
    async with running(built):
        (stream,) = built.pumps["north"][1]
        await steer.pause(each_store, Actor("somebody", "a test"), f"north.{stream.name}")
        assert await told(built) == {}


# -- what is expected -----------------------------------------------------------------------------------------------------


def test_without_a_setting_all_parts_of_the_settings_are_expected():
    flows = {"suppliers": {"target": "finance"}, "refunds": {"target": "finance"}}
    given = Settings(adapters={"north": {}}, targets={"finance": {}, "dfe_csc": {}}, flows=flows)
    assert systems.expected(given) == (NORTH, "flow/suppliers", "flow/refunds", "flow/dfe_csc")
    assert systems.expected(given.model_copy(update={"expected": ("flow/elsewhere",)})) == ("flow/elsewhere",)
    assert systems.expected(Settings(adapters={"north": {}}, expected=())) == ()


def test_expected_parts_come_from_the_file_or_with_commas_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "ironbridge.toml"
    file.write_text('expected = ["adapter/north"]\n', "utf-8")
    assert load(file).expected == (NORTH,)
    monkeypatch.setenv("IRONBRIDGE_EXPECTED", "adapter/south, flow/dfe_csc")
    assert load(file).expected == (SOUTH, "flow/dfe_csc")


@pytest.mark.parametrize("wrong", ["north", "adapter/", "target/dfe_csc", "adapter/north south"])
def test_an_expected_part_that_is_none_is_refused_and_the_setting_says_how_it_is_written(tmp_path: Path, wrong: str):
    file = tmp_path / "ironbridge.toml"
    file.write_text(f"expected = {json.dumps([wrong])}\n", "utf-8")
    with pytest.raises(MisconfiguredError, match=r"expected\.0: is no part: write `adapter/NAME`, `flow/NAME` or `tables`"):
        load(file)


# -- where it is shown ----------------------------------------------------------------------------------------------------


async def test_progress_tells_it_and_the_probes_do_not_mind(store: Store, tmp_path: Path):
    """A worker must not be restarted because another one is away."""
    own = Clock()
    built = process(settings_of(tmp_path, "north", expected=["flow/elsewhere"]), store)
    health = Health(built, clock=own)
    own.now += 100
    (verdict,) = await health.progress()
    assert (verdict.what, verdict.state, verdict.well) == ("flow/elsewhere", "absent", False)
    assert verdict.why.startswith("runs nowhere: no sign of life of it is known. To do: start the process that runs it")
    application = serve.application(built)
    async with (
        serve.serving(application, HttpSettings(listen="127.0.0.1:0")) as url,
        httpx.AsyncClient(trust_env=False, base_url=str(url)) as client,
    ):
        assert (await client.get("/healthz")).status_code == 200


async def test_status_says_first_what_runs_nowhere(store: Store):
    (found,) = await absent(store, [NORTH])
    out = Console(record=True, width=400)
    out.print(render.Status([], [], [found]))
    assert out.export_text().startswith(f"{NORTH} runs nowhere: no sign of life of it is known. To do: start the process")
    shown = json.loads(render.Status([], [], [found]).as_json())
    assert shown["absent"] == [{"part": NORTH, "since": None, "seconds": None}]


def test_the_command_status_looks_for_the_parts_of_its_settings(tmp_path: Path):
    file, run = tmp_path / "ironbridge.toml", CliRunner()
    file.write_text(f'data = "{tmp_path}"\nexpected = ["flow/elsewhere"]\n', "utf-8")
    assert run.invoke(app, ["migrate", "--file", str(file)]).exit_code == 0
    done = run.invoke(app, ["status", "--file", str(file), "--json"])
    assert done.exit_code == 1
    assert [each["part"] for each in json.loads(done.stdout)["absent"]] == ["flow/elsewhere"]
