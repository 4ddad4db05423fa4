"""The same settings against real servers: Apache Kafka, PostgreSQL for the state, Liquidlogic on PostgreSQL and on MariaDB."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from pydantic import SecretStr

from ironbridge.demo import legacy
from ironbridge.demo.agreement import compare
from ironbridge.demo.play import readings, settled
from ironbridge.demo.world import DemoWorld, clouds, make, settings_of
from ironbridge.operate import insight
from ironbridge.runtime import bridge
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import KafkaSettings, StateSettings
from tests.servers import Kafka, MariaDB, Postgres


async def until_settled(
    built: Platform, running: asyncio.Task[None], before: dict[str, int], patience: float = 120
) -> None:
    began = time.monotonic()
    while not await settled(built, before):
        assert time.monotonic() - began < patience, await insight.flows(built.store)
        await asyncio.wait([running], timeout=0.25)
        if running.done():
            running.result()


async def differing(world: DemoWorld, built: Platform) -> dict[str, int]:
    rows = await compare(world, built)
    assert {row.kind for row in rows} == {"child", "vendor", "purchaseInvoice", "purchaseCreditMemo"}
    assert all(row.holds > 0 for row in rows)
    return {row.kind: row.differs for row in rows if row.differs}


async def carried_across(data: Path, warehouse: str, kafka: Kafka, state: str) -> None:
    """Load, compare, do a day's work, compare."""
    async with clouds(data, {"liquidlogic": {"url": warehouse}}) as world:
        await make(world, {"liquidlogic": 150, "payables": 150}, seed=7)
        where = KafkaSettings(broker="none", bootstrap_servers=kafka.bootstrap, topic_prefix=kafka.prefix())
        settings = settings_of(world, kafka=where, state=StateSettings(url=SecretStr(state)))
        async with bridge.platform(settings) as built:
            stop = asyncio.Event()
            running = asyncio.create_task(bridge.run(built, stop))
            try:
                await until_settled(built, running, {})
                assert await differing(world, built) == {}
                before = await readings(built)
                assert len(await legacy.change(world.adapters, seed=7)) > 5
                await until_settled(built, running, before)
                assert await differing(world, built) == {}
                stuck = await insight.parked(built.store)
                assert {row.state for row in stuck} == {"quarantined"}, stuck
            finally:
                stop.set()
                await running


async def test_both_clouds_agree_with_a_warehouse_on_postgresql(
    tmp_path: Path, apache_kafka: Kafka, postgres: Postgres
) -> None:
    async with postgres.database() as state, postgres.database() as warehouse:
        await carried_across(tmp_path, warehouse, apache_kafka, state)


async def test_both_clouds_agree_with_a_warehouse_on_mariadb(
    tmp_path: Path, apache_kafka: Kafka, postgres: Postgres, mariadb: MariaDB
) -> None:
    async with postgres.database() as state, mariadb.database() as warehouse:
        await carried_across(tmp_path, warehouse, apache_kafka, state)
