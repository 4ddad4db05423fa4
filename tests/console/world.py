"""
A small council at work with consoles over it, in a process of its own: `python -m tests.console.world FOLDER [ISSUER]`.

It says where its consoles are: one for whoever is at the machine, and one that signs people in at the issuer. Its
legacy systems are full of canaries and its clouds misbehave. It stops when its standard input ends.
"""

import asyncio
import json
import logging
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from ironbridge.console import serve
from ironbridge.console.app import mounted
from ironbridge.demo.play import readings, settled
from ironbridge.demo.world import clouds, make, settings_of
from ironbridge.kafka.process import free_port
from ironbridge.observe import spans, telemetry
from ironbridge.runtime import bridge, systems
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import ConsoleSettings, HttpSettings, TablesSettings
from tests.figure_tables import SPRING_OF_2020, filled
from tests.test_privacy import misbehave, plant

PATIENCE = 90.0  # seconds
SELDOM = 4  # seconds between two readings: nobody works in the legacy systems, and the pages need the processor


def signing_in(issuer: str, port: int) -> ConsoleSettings:
    """A console's settings for the provider of the tests, which takes any client."""
    return ConsoleSettings(
        issuer=issuer, client_id="ironbridge", client_secret=SecretStr("any"), public_url=f"http://127.0.0.1:{port}"
    )


async def console(
    stack: AsyncExitStack, built: Platform, settings: ConsoleSettings, tables: TablesSettings, port: int = 0
) -> str:
    listen = HttpSettings(listen=f"127.0.0.1:{port}")
    # The figures are of open tables that nobody writes to meanwhile.
    updates = {"http": listen, "console": settings, "tables": tables, "expected": systems.expected(built.settings)}
    shown = replace(built, settings=built.settings.model_copy(update=updates))
    routes = await stack.enter_async_context(mounted(shown))
    url = await stack.enter_async_context(serve.serving(serve.application(shown, routes), listen))
    assert url is not None
    return url


async def main(folder: Path, issuer: str | None) -> None:
    logging.disable(logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    async with clouds(folder) as world, AsyncExitStack() as stack:
        for section in world.adapters.values():
            section["every"] = SELDOM
        await make(world, {"liquidlogic": 60, "payables": 60}, seed=5)
        plant(world)
        misbehave(world)
        settings = settings_of(world).model_copy(update={"http": HttpSettings(listen="127.0.0.1:0")})
        stack.callback(telemetry.start(settings.telemetry, *spans.processors(settings)))
        built = await stack.enter_async_context(bridge.platform(settings))
        tables = filled(folder / "tables", SPRING_OF_2020)
        stop = asyncio.Event()
        running = asyncio.create_task(bridge.run(built, stop))
        told = {"open": await console(stack, built, ConsoleSettings(trace_url="https://traces.example.gov.uk/{trace}"), tables)}
        if issuer:
            port = free_port()
            told["closed"] = await console(stack, built, signing_in(issuer, port), tables, port)
        began = time.monotonic()
        while not await settled(built, dict.fromkeys(await readings(built), -2)) and time.monotonic() - began < PATIENCE:
            await asyncio.wait([running], timeout=0.2)
        print(json.dumps(told), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        stop.set()
        await running


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
