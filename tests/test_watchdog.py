"""No part holds up the event loop: code that does is named by its place, and large pieces of work are checked for it."""

from __future__ import annotations

import asyncio
import time

from adapters.engine.regions import region
from adapters.port import Record
from adapters.testing import Bench
from adapters.testing.table import Line, TableAdapter
from ironbridge.observe.watchdog import HoldUp
from ironbridge.store import Store
from ironbridge.store.memory import StoredMemory
from tests.rounds import counted


async def test_code_that_takes_the_processor_for_long_is_named_by_its_place(held: list[HoldUp]) -> None:
    await asyncio.sleep(0.03)
    region("may", [Record(f"legacy:x:{n}", (n,), (n, "row")) for n in range(200_000)], b"salt")
    async with asyncio.timeout(30):
        while not held:  # the watchdog looks when its turn comes
            await asyncio.sleep(0.01)
    (found,) = held
    assert found.seconds > 0.1
    assert found.place.startswith("adapters/engine/regions.py ")


async def test_a_machine_that_stands_still_is_nobody_s_fault(held: list[HoldUp]) -> None:
    await asyncio.sleep(0.03)
    time.sleep(0.3)  # the loop stands still, but uses no processor time
    await asyncio.sleep(0.03)
    assert held == []


async def test_a_large_sweep_and_the_catching_up_with_it_hold_up_nobody(store: Store, held: list[HoldUp]) -> None:
    legacy = TableAdapter(page=1000)
    legacy.lines = {n: Line(n, "N1") for n in range(5000)}
    bench = Bench(legacy)
    bench.mean_region = 512
    await bench.read(bench.pump(memory=StoredMemory(store, "legacy")))
    await bench.read()  # its memory is empty, so it learns everything from the log
    assert held == []


async def test_large_pages_of_rows_that_all_changed_are_mapped_and_compared_in_turns(store: Store) -> None:
    legacy = TableAdapter(page=5000)
    bench = Bench(legacy)
    bench.mean_region = 512
    for name in ("N1", "N2"):
        legacy.lines = {n: Line(n, name) for n in range(10_000)}
        async with counted() as rounds:
            assert len(await bench.read(bench.pump(memory=StoredMemory(store, "legacy")))) == 10_000
        assert rounds.longest < 250_000 < 1_000_000 < rounds.all
