"""Health as a machine asks for it: over HTTP, of a process with real parts."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from rich.console import Console
from sqlalchemy import text
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from adapters.engine.pump import Pump
from adapters.port import Stream
from adapters.testing import Log, MemoryJournal
from adapters.testing.table import TableAdapter
from canonical.errors import MisconfiguredError
from ironbridge.cli import render
from ironbridge.console import serve
from ironbridge.kafka.process import free_port
from ironbridge.operate import health, insight, steer
from ironbridge.operate.audit import Actor
from ironbridge.operate.health import Health
from ironbridge.runtime import bridge, systems
from ironbridge.runtime.bridge import Platform
from ironbridge.runtime.deliveries import Delivery
from ironbridge.settings import HttpSettings, KafkaSettings, Settings, StateSettings
from ironbridge.store import Store, StoredLedger, StoredMemory
from tests.servers import Kafka, Postgres
from tests.test_bridge import forwarding


@pytest.fixture
def built(store: Store, tmp_path: Path) -> Platform:
    """One adapter with one stream, looked at every 5 minutes; nobody answers as Kafka."""
    settings = Settings(data=tmp_path, kafka=KafkaSettings(broker="none", bootstrap_servers="127.0.0.1:1"))
    adapter = TableAdapter()
    pump = Pump(adapter, MemoryJournal(Log(), "legacy"), StoredMemory(store, "legacy"), edition="1")
    streams: Sequence[Stream] = [replace(each, every=timedelta(minutes=5)) for each in adapter.streams()]
    return Platform(settings, store, pumps={"legacy": (pump, list(streams))})


async def read(built: Platform) -> None:
    pump, streams = built.pumps["legacy"]
    await pump.ready()
    for stream in streams:
        await pump.read(stream)
        await StoredMemory(built.store, "legacy").looked(stream.name)


async def asked(built: Platform, path: str) -> tuple[int, Any]:
    application = serve.application(built)
    async with (
        serve.serving(application, HttpSettings(listen="127.0.0.1:0")) as url,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        answer = await client.get(f"{url}{path}")
        return answer.status_code, answer.json()


async def test_the_process_is_well_as_long_as_it_answers(built: Platform):
    code, told = await asked(built, "/healthz")
    assert (code, told["state"]) == (200, "well")


async def test_ready_names_what_does_not_answer(built: Platform):
    code, told = await asked(built, "/readyz")
    assert code == 503
    found = {each["what"]: each for each in told["found"]}
    assert found["state"] == {"what": "state", "state": "well"}
    assert found["kafka"]["state"] == "failing"
    assert "Kafka does not answer" in found["kafka"]["why"]


async def test_ready_where_kafka_and_the_state_answer(built: Platform, embedded_broker: Kafka):
    there = built.settings.model_copy(
        update={"kafka": KafkaSettings(broker="none", bootstrap_servers=embedded_broker.bootstrap)}
    )
    built.settings = there
    code, told = await asked(built, "/readyz")
    assert (code, told["state"]) == (200, "well"), told


async def test_a_dependency_is_asked_once_for_all_who_ask():
    asked_for = 0

    async def ask() -> list[health.Verdict]:
        nonlocal asked_for
        asked_for += 1
        return [health.Verdict("it", "well")]

    kept = health.Kept(ask, "it", kept=60)
    for _ in range(20):
        await kept.answer()
    assert asked_for == 1


async def test_a_stream_that_is_read_in_time_is_well_and_one_that_is_not_is_late(built: Platform):
    await read(built)
    now = time.time()
    watch = Health(built)
    [verdict] = await watch.look()
    assert (verdict.state, verdict.expected) == ("well", 900.0)
    async with built.store.write() as connection:
        await connection.execute(text("UPDATE streams SET looked = :then"), {"then": now - 3600})
    [verdict] = await watch.look()
    assert (verdict.state, verdict.well) == ("late", False)
    assert verdict.why == "not read to its end for 1:00:00"
    code, told = await asked(built, "/progress")
    assert (code, told["state"]) == (503, "unwell")


async def test_a_first_reading_may_take_long_but_must_not_stand_still(built: Platform):
    now = time.time()
    watch = Health(built, clock=lambda: now)
    await StoredMemory(built.store, "legacy").paused(built.pumps["legacy"][1][0].name)  # as the bridge begins
    assert [v.state for v in await watch.look()] == ["loading"]
    for read_so_far in (1000, 2000, 3000):
        now += 800
        async with built.store.write() as connection:
            await connection.execute(text("UPDATE streams SET read = :read"), {"read": read_so_far})
        assert [v.state for v in await watch.look()] == ["loading"]
    now += 901
    [verdict] = await watch.look()
    assert (verdict.state, verdict.why) == ("late", "its first reading has stood still at 3,000 records for 0:15:01")


async def test_a_stream_in_trouble_says_why_and_a_paused_one_is_nobodys_alarm(built: Platform):
    await read(built)
    memory, watch = StoredMemory(built.store, "legacy"), Health(built)
    await memory.trouble(built.pumps["legacy"][1][0].name, "legacy: does not answer")
    assert [(v.state, v.why) for v in await watch.look()] == [("failing", "legacy: does not answer")]
    await memory.looked(built.pumps["legacy"][1][0].name)
    assert [v.state for v in await watch.look()] == ["well"]
    await steer.pause(built.store, Actor("somebody", "a test"), f"legacy.{built.pumps['legacy'][1][0].name}")
    [verdict] = await watch.look()
    assert (verdict.state, verdict.well) == ("paused", True)


async def test_a_flow_is_late_by_its_oldest_subject_and_failing_by_its_error(built: Platform):
    built.pumps.clear()
    built.deliveries["cloud"] = Delivery(None, None, None, None, within=600)  # type: ignore[arg-type]
    watch = Health(built)
    async with built.store.write() as connection:
        await connection.execute(text("INSERT INTO flows (name) VALUES ('cloud')"))
    assert [v.state for v in await watch.look()] == ["well"]
    async with built.store.write() as connection:
        for subject, ago in (("a", 30), ("b", 601), ("c", 9000)):
            state = "parked" if subject == "c" else "dirty"
            await connection.execute(
                text("INSERT INTO subjects (flow, subject, state, since) VALUES ('cloud', :subject, :state, :since)"),
                {"subject": subject, "state": state, "since": time.time() - ago},
            )
    [verdict] = await watch.look()
    assert (verdict.state, verdict.expected) == ("late", 600)
    assert verdict.why.startswith("the oldest of 2 subjects to do has waited for 0:10:0")
    async with built.store.write() as connection:
        await connection.execute(text("UPDATE flows SET error = 'cloud: refused our token (401)'"))
    assert [(v.state, v.why) for v in await watch.look()] == [("failing", "cloud: refused our token (401)")]


async def test_a_flow_that_reads_again_what_a_lost_state_had_read_says_so(built: Platform):
    built.pumps.clear()
    built.deliveries["cloud"] = Delivery(None, None, None, None, within=600)  # type: ignore[arg-type]
    await StoredLedger(built.store, "cloud").reopen("1")
    await StoredLedger(built.store, "cloud").forgotten({("canonical.supplier", 0): 7})
    [verdict] = await Health(built).look()
    assert (verdict.state, verdict.why) == ("loading", insight.REREADING)
    out = Console(record=True, width=200)
    out.print(render.flows(await insight.flows(built.store)))
    assert insight.REREADING in out.export_text()


async def test_what_is_expected_of_a_target_is_a_setting_of_its_section():
    given = {
        "la_code": 893,
        "api_endpoint": "https://x",
        "token_url": "https://x/t",
        "client_id": "a",
        "client_secret": "b",
    }
    given |= {"supplier_key": "c"}
    told = Settings(targets={"dfe_csc": {**given, "within": 60}, "other": {**given, "system": "dfe_csc"}})
    assert {name: plan.within for name, plan in systems.flows(told).items()} == {"dfe_csc": 60.0, "other": 900.0}
    with pytest.raises(MisconfiguredError, match="`within` is no number above 0"):
        systems.flows(Settings(targets={"dfe_csc": {**given, "within": "soon"}}))


async def test_other_pages_are_served_beside_health(built: Platform):
    async def page(_: Request) -> PlainTextResponse:
        return PlainTextResponse("a page")

    application = serve.application(built, [Route("/", page)])
    async with serve.serving(application, HttpSettings(listen="[::1]:0")) as url:
        assert url is not None
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(url)).text == "a page"
            assert (await client.get(f"{url}/healthz")).status_code == 200


async def test_nothing_listens_unless_it_is_asked_to(built: Platform):
    async with serve.serving(serve.application(built), HttpSettings()) as url:
        assert url is None


async def test_an_address_that_is_taken_is_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        with pytest.raises(MisconfiguredError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with serve.serving(None, HttpSettings(listen=f"127.0.0.1:{port}")):  # type: ignore[arg-type]
                pass


async def test_pages_do_not_wait_for_the_work_and_the_process_is_well_once_the_work_goes_on(store: Store, tmp_path: Path):
    settings = Settings(data=tmp_path, http=HttpSettings(listen="127.0.0.1:0"))
    answers: list[str] = []

    def ask(url: str, path: str) -> None:
        assert httpx.get(f"{url}{path}", trust_env=False, timeout=20).status_code == 200
        answers.append(path)

    async with serve.served_beside(Platform(settings, store)) as url:
        assert url
        asking = [asyncio.create_task(asyncio.to_thread(ask, url, path)) for path in ("/healthz", "/progress", "/")]
        await asyncio.sleep(0)
        until = time.monotonic() + 60
        while len(answers) < 2 and time.monotonic() < until:  # the work keeps its event loop busy
            sum(range(1000))
        while_busy = set(answers)
        await asyncio.gather(*asking)
    assert while_busy == {"/progress", "/"}
    assert set(answers) == {"/healthz", "/progress", "/"}


async def test_what_cannot_be_served_beside_the_work_is_said(store: Store, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as there:
        taken = f"127.0.0.1:{there.getsockname()[1]}"
        settings = Settings(data=tmp_path, http=HttpSettings(listen=taken))
        with pytest.raises(MisconfiguredError, match=f"cannot listen on {taken}"):
            async with serve.served_beside(Platform(settings, store)):
                pass


@pytest.mark.parametrize("wrong", ["8080", "http://x:80", ":80", "x:y"])
def test_an_address_that_is_none_is_refused(wrong: str):
    with pytest.raises(ValidationError):
        HttpSettings(listen=wrong)


async def test_run_answers_where_the_settings_say_until_it_is_told_to_stop(tmp_path: Path, embedded_broker: Kafka):
    file, drop = tmp_path / "ironbridge.toml", tmp_path / "drop"
    drop.mkdir()
    file.write_text(
        f'data = "{tmp_path}"\n[kafka]\nbroker = "none"\nbootstrap_servers = "{embedded_broker.bootstrap}"\n'
        f'topic_prefix = "{embedded_broker.prefix()}c"\n[http]\nlisten = "127.0.0.1:0"\n[telemetry]\nlogs = "json"\n'
        f'[adapters.payables]\nfolders = ["{drop}"]\nlayouts = ["erp-invoices"]\nevery = 1\n'
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ironbridge", "run", "--file", str(file), stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(120):
            url = await listening(process)
            async with httpx.AsyncClient(trust_env=False) as client:
                codes = [(await client.get(f"{url}/{path}")).status_code for path in ("healthz", "readyz")]
                assert codes == [200, 200]
                while (await client.get(f"{url}/progress")).status_code != 200:  # it answers before it has made its tables
                    await asyncio.sleep(0.2)
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def listening(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async for line in process.stderr:
        said: str = json.loads(line)["message"]
        if said.startswith("listening on "):
            return said.removeprefix("listening on ")
    raise AssertionError("it ended before it listened")


async def test_while_kafka_and_the_state_are_away_the_process_lives_and_says_what_is_away_and_then_begins(
    postgres: Postgres, tmp_path: Path
):
    """No probe may kill a process that waits; and the console that is served beside it goes on by itself."""
    port, stop = free_port(), asyncio.Event()
    async with postgres.database() as url, AsyncExitStack() as stack:
        host, database = url.rpartition("/")[0].rpartition(":")[0], url.rpartition("/")[2]
        settings = Settings(
            data=tmp_path, kafka=KafkaSettings(broker="none", bootstrap_servers="127.0.0.1:1"),
            state=StateSettings.model_validate({"url": f"{host}:{port}/{database}"}), http=HttpSettings(listen="127.0.0.1:0"),
        )  # fmt: skip
        built = await stack.enter_async_context(bridge.platform(settings, patient=stop))
        at = await stack.enter_async_context(serve.served_beside(built))
        running = asyncio.create_task(bridge.run(built, stop))
        async with httpx.AsyncClient(trust_env=False, base_url=str(at), timeout=30) as client:
            assert (await client.get("/healthz")).status_code == 200
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert {each["what"]: each["state"] for each in ready.json()["found"]} == {"kafka": "failing", "state": "failing"}
            page = await client.get("/late")
            assert (page.status_code, "state: the database does not answer" in page.text) == (503, True)
            assert not running.done()
            async with forwarding(port, postgres.port), asyncio.timeout(60):
                while (page := await client.get("/late")).status_code != 200:
                    assert page.status_code == 503
                    await asyncio.sleep(0.2)
                assert (await client.get("/live/dependencies")).status_code == 200
                stop.set()
                await asyncio.gather(running, return_exceptions=True)
