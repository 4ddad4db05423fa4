"""What a process does whose servers are away when it starts, and when they go."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.engine.pump import Pump
from adapters.testing import Log, MemoryJournal
from adapters.testing.sending import SendingAdapter
from adapters.testing.table import Line, TableAdapter
from canonical.errors import UnavailableError
from ironbridge.kafka.process import HOST, free_port
from ironbridge.runtime import bridge
from ironbridge.settings import KafkaSettings, Settings, StateSettings
from ironbridge.store import Store, StoredMemory, open_store
from tests.servers import Postgres


@contextlib.asynccontextmanager
async def forwarding(port: int, to: int) -> AsyncIterator[None]:
    """A door to a server, closed again, with all that came through it, at the end."""
    ways: set[asyncio.StreamWriter] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ways.add(writer)
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection(HOST, to)
        await asyncio.gather(pipe(reader, inner[1]), pipe(inner[0], writer))

    server = await asyncio.start_server(opened, HOST, port)
    try:
        yield
    finally:
        server.close()
        for way in ways:
            way.close()
        await asyncio.sleep(0.05)


def settings_of(url: str, port: int, data: Path) -> Settings:
    host, database = url.rpartition("/")[0].rpartition(":")[0], url.rpartition("/")[2]
    kafka = KafkaSettings(broker="none", bootstrap_servers=f"{HOST}:1")
    return Settings(data=data, kafka=kafka, state=StateSettings.model_validate({"url": f"{host}:{port}/{database}"}))


async def test_a_process_whose_state_is_away_when_it_starts_waits_for_it(postgres: Postgres, tmp_path: Path) -> None:
    port, stop = free_port(), asyncio.Event()
    async with postgres.database() as url:
        settings = settings_of(url, port, tmp_path)

        async def start() -> str:
            async with bridge.platform(settings, topics=False, patient=stop) as built:
                assert built.begin is not None
                await built.begin()
                return built.store.engine.dialect.name

        with pytest.raises(UnavailableError):
            async with bridge.platform(settings, topics=False):
                raise AssertionError
        starting = asyncio.create_task(start())
        await asyncio.sleep(0.3)
        assert not starting.done()
        async with forwarding(port, postgres.port):
            assert await asyncio.wait_for(starting, 20) == "postgresql"


async def test_a_process_that_is_told_to_stop_while_it_waits_for_its_state_stops(tmp_path: Path) -> None:
    stop = asyncio.Event()
    settings = settings_of(f"postgresql+asyncpg://ironbridge@{HOST}:1/none", free_port(), tmp_path)

    async def start() -> None:
        async with bridge.platform(settings, topics=False, patient=stop) as built:
            await bridge.run(built, stop)
            raise AssertionError

    starting = asyncio.create_task(start())
    await asyncio.sleep(0.2)
    stop.set()
    with pytest.raises(UnavailableError):
        await asyncio.wait_for(starting, 10)


async def test_an_adapter_outlives_an_outage_of_the_state_and_goes_on(postgres: Postgres, tmp_path: Path) -> None:
    port, stop, log, adapter = free_port(), asyncio.Event(), Log(), TableAdapter()
    adapter.lines[1] = Line(1, "N1")
    async with postgres.database() as url:
        settings = settings_of(url, port, tmp_path)
        async with forwarding(port, postgres.port):
            store = await open_store(settings.state_url)
            memory = StoredMemory(store, adapter.name)
            pump = Pump(adapter, MemoryJournal(log, adapter.name), memory, edition="1", mean_region=8)
            stream = replace(adapter.streams()[0], every=timedelta(seconds=0.1))
            keep = bridge.keep_adapter(bridge.Platform(settings, store), adapter.name, pump, [stream], stop)
            running = asyncio.create_task(keep)
            async with asyncio.timeout(20):
                while len(log.told()) < 1:
                    await asyncio.sleep(0.05)
        adapter.lines[2] = Line(2, "N2")
        await asyncio.sleep(1.5)  # several readings, each of which meets it at another place
        assert not running.done()
        async with forwarding(port, postgres.port), asyncio.timeout(40):
            while len(log.told()) < 2:
                await asyncio.sleep(0.05)
            stop.set()
            await running
            await store.close()
    assert log.state() == adapter.state()


async def test_what_is_pushed_is_listened_to_without_a_rest_until_the_end(store: Store, tmp_path: Path) -> None:
    stop, log, adapter = asyncio.Event(), Log(), SendingAdapter()
    pump = Pump(adapter, MemoryJournal(log, adapter.name), StoredMemory(store, adapter.name), edition="1")
    built = bridge.Platform(settings_of(f"sqlite+aiosqlite:///{tmp_path / 'other'}", 1, tmp_path), store)
    running = asyncio.create_task(bridge.keep_adapter(built, adapter.name, pump, list(adapter.streams()), stop))
    async with asyncio.timeout(60):
        for number in range(3):
            adapter.put(number, Line(1, "N1"))
            while adapter.waiting:
                await asyncio.sleep(0.02)
            assert len(log.told()) == number + 1
        stop.set()
        await running
    assert log.state() == adapter.state()
