"""Flows as the runtime runs them, on real Kafka and PostgreSQL; their database goes back, or is another's copy."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.engine.pump import Pump
from adapters.testing.table import Line, TableAdapter
from canonical import CareEpisode, Event
from flows.engine.agree import Agreement
from flows.testing import ScriptedTarget
from ironbridge.kafka.claims import Alone, Claims, KafkaClaims
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.kafka.trail import KafkaTrail
from ironbridge.operate import insight
from ironbridge.runtime import bridge
from ironbridge.runtime.deliveries import Delivery
from ironbridge.settings import KafkaSettings, Settings
from ironbridge.store import Store, StoredMemory, Upkeep, open_store
from ironbridge.store.installation import installation
from ironbridge.store.trail import TrailedLedger
from tests.agreement import PurchaseFlow, supplier, supplier_key
from tests.servers import Kafka, Postgres

PATIENCE = 60.0  # seconds
HASTE = 3.0
"""
The clock of a council's database runs this many times as fast as ours. A flow whose state is old waits for `HOLD` by that clock.
The flow renews its claims by this machine's clock, which is often enough all the same.
"""


@dataclass
class Council:
    """A flow's topics, its target, and its database, which can be copied."""

    kafka: KafkaSettings
    server: Postgres
    url: str
    copy: str
    target: ScriptedTarget = field(default_factory=ScriptedTarget)
    began: float = field(default_factory=time.time)

    async def publish(self, *events: Event) -> None:
        journal = KafkaJournal(self.kafka, "payables", PurchaseFlow.entities)
        await journal.open()
        await journal.publish(events, None)
        await journal.close()

    async def keep(self) -> None:
        await self._copied(self.url, self.copy)

    async def restore(self) -> None:
        await self._copied(self.copy, self.url)

    async def _copied(self, source: str, to: str) -> None:
        store = await open_store(f"{self.url.rpartition('/')[0]}/postgres", tables=Upkeep.LEAVE)
        names = [url.rpartition("/")[2] for url in (source, to)]
        async with store.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            # All its connections are ended, as in a failover.
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
            await connection.execute(text(f'DROP DATABASE "{names[1]}" WITH (FORCE)'))
            for attempt in range(100):
                await connection.execute(text(ended), {"name": names[0]})
                try:
                    await connection.execute(text(f'CREATE DATABASE "{names[1]}" TEMPLATE "{names[0]}"'))
                    break
                except Exception:
                    if attempt == 99:
                        raise
        await store.close()

    @asynccontextmanager
    async def running(self, edition: str, suffix: str = "") -> AsyncIterator[Store]:
        """One process of the flow."""
        flow = PurchaseFlow()
        flow.edition_name, flow.suffix = edition, suffix
        async with keeping(self.kafka, self.url, flow, self.target, clock=self.clock) as built:
            yield built.store

    def clock(self) -> float:
        """The database's, in seconds since 1970."""
        return self.began + (time.time() - self.began) * HASTE

    def names(self) -> dict[int, str]:
        found = {document.number: document.body["name"] for document in self.target.documents.values()}
        return {int(number): name for number, name in sorted(found.items())}


@asynccontextmanager
async def keeping(
    kafka: KafkaSettings,
    url: str,
    flow: PurchaseFlow,
    target: ScriptedTarget,
    *,
    claimed: bool = False,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[bridge.Platform]:
    stop = asyncio.Event()
    store = await open_store(url)
    store.clock = clock
    trail = KafkaTrail(kafka, flow.name, flow.entities)
    ledger = TrailedLedger(store, flow, trail)
    mine = await installation(store)
    claims: Claims = KafkaClaims(kafka, mine, f"{mine.id}'s host", patience=20.0) if claimed else Alone()
    built = bridge.Platform(Settings(kafka=kafka, worker=mine.id), store, claims=claims)
    delivery = Delivery(flow, target, Agreement(flow, target, ledger, edition=flow.edition_name), ledger)
    running = asyncio.create_task(bridge.keep_flow(built, flow.name, delivery, stop))
    try:
        yield built
    finally:
        stop.set()
        await running
        await trail.close()
        await claims.close()
        await store.close()


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await done():
            await asyncio.sleep(0.1)


async def rests(store: Store) -> bool:
    """Whether the flow knows of no work."""
    async with store.read() as connection:
        busy = await connection.execute(
            text("SELECT (SELECT count(*) FROM subjects WHERE state <> 'agreed' OR doubtful IS NOT NULL) + "
                 "(SELECT count(*) FROM ingested WHERE again IS NOT NULL)")
        )  # fmt: skip
        return int(busy.scalar_one()) == 0


@pytest.fixture
def kafka(apache_kafka: Kafka) -> KafkaSettings:
    prefix = apache_kafka.prefix().rstrip(".")
    return KafkaSettings(broker="none", bootstrap_servers=apache_kafka.bootstrap, topic_prefix=prefix, partitions=3)


@pytest.fixture
async def council(kafka: KafkaSettings, postgres: Postgres) -> AsyncIterator[Council]:
    await ensure_topics(kafka, PurchaseFlow.entities)
    async with postgres.database() as url, postgres.database() as copy:
        yield Council(kafka, postgres, url, copy)


async def agreed(council: Council, store: Store, wanted: dict[int, str]) -> bool:
    return council.names() == wanted and await rests(store)


def plain(*numbers: int, version: int = 1, suffix: str = "") -> dict[int, str]:
    return {n: f"Supplier {n} as of {version}{suffix}" for n in numbers}


async def test_a_rollback_to_a_copy_with_other_documents_and_deletions_since_comes_to_agree(
    council: Council, caplog: pytest.LogCaptureFixture
) -> None:
    await council.publish(*(supplier(n) for n in range(1, 6)))
    async with council.running("1") as store:
        await until(lambda: agreed(council, store, plain(1, 2, 3, 4, 5)))
    await council.keep()
    async with council.running("2", " (Ltd.)") as store:
        await council.publish(supplier(6), supplier(5, 2, deleted=True))
        await until(lambda: agreed(council, store, plain(1, 2, 3, 4, 6, suffix=" (Ltd.)")))
    assert "the state is older" not in caplog.text
    await council.publish(supplier(6, 2, deleted=True), supplier(4, 2, deleted=True))
    await council.restore()
    async with council.running("1") as store:
        await until(lambda: agreed(council, store, plain(1, 2, 3)))
    assert "the state is older than what this flow has sent" in caplog.text


async def test_a_failover_that_loses_the_last_writes_of_a_running_flow_comes_to_agree(council: Council) -> None:
    await council.publish(*(supplier(n) for n in range(1, 6)))
    async with council.running("1") as store:
        await until(lambda: agreed(council, store, plain(1, 2, 3, 4, 5)))
    await council.keep()  # the standby has come so far
    async with council.running("1") as store:
        await council.publish(*(supplier(n, 2) for n in range(1, 8)))
        await until(lambda: agreed(council, store, plain(1, 2, 3, 4, 5, 6, 7, version=2)))
        council.target.effects.clear()
        await council.restore()
        await council.publish(supplier(7, 3, deleted=True), supplier(5, 3, deleted=True))

        async def healed() -> bool:
            try:
                return await agreed(council, store, plain(1, 2, 3, 4, 6, version=2))
            except Exception:
                return False  # while the database is away

        await until(healed)
    repeated = [subject for subject, document in council.target.effects if document is not None]
    assert repeated == [], "a target that can be asked is not written to once more"
    assert {subject for subject, _ in council.target.effects} == {supplier_key(5), supplier_key(7)}


async def test_a_second_installation_gets_nothing_of_the_firsts_and_is_told_whose_they_are(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    await ensure_topics(kafka, PurchaseFlow.entities)
    journal = KafkaJournal(kafka, "payables", PurchaseFlow.entities)
    await journal.open()
    await journal.publish([supplier(n) for n in range(1, 31)], None)
    production, test = ScriptedTarget(), ScriptedTarget()

    def keep(name: str, target: ScriptedTarget) -> AbstractAsyncContextManager[bridge.Platform]:
        return keeping(kafka, f"sqlite+aiosqlite:///{tmp_path / name}", PurchaseFlow(), target, claimed=True)

    async with keep("production", production) as first:
        await until(lambda: _holds(production, 30, 1))
        async with keep("test", test) as second:

            async def refused() -> bool:
                return any(row.error for row in await insight.standing(second.store))

            async with second.store.write() as connection:  # as the first edition that is opened makes it
                await connection.execute(text("INSERT INTO flows (name) VALUES ('purchasing') ON CONFLICT DO NOTHING"))
            await until(refused)
            (row,) = await insight.standing(second.store)
            mine = await installation(first.store)
            assert f"another installation runs it with these topics: {mine.id[:12]} on {mine.id}'s host" in str(row.error)
            await journal.publish([supplier(n, 2) for n in range(1, 31)], None)
            await until(lambda: _holds(production, 30, 2))
            assert test.documents == {}
    await journal.close()


async def _holds(target: ScriptedTarget, count: int, version: int) -> bool:
    names = [document.body["name"] for document in target.documents.values()]
    return len(names) == count and all(name.endswith(f"as of {version}") for name in names)


async def test_two_states_of_one_adapter_take_no_turns_the_second_is_refused_while_the_first_lives(
    kafka: KafkaSettings, tmp_path: Path
) -> None:
    await ensure_topics(kafka, [CareEpisode])
    adapter = TableAdapter()
    adapter.lines = {n: Line(n // 3, "N1") for n in range(60)}
    stop, stores, tasks, opened = asyncio.Event(), [], [], []
    (stream,) = adapter.streams()
    for name in ("one", "two"):
        store = await open_store(f"sqlite+aiosqlite:///{tmp_path / name}")
        stores.append(store)
        memory = StoredMemory(store, adapter.name)
        pump = Pump(adapter, KafkaJournal(kafka, adapter.name, [CareEpisode]), memory, edition="1", mean_region=8)
        claims = KafkaClaims(kafka, await installation(store), f"{name}'s host", patience=20.0)
        opened.append(claims)
        built = bridge.Platform(Settings(kafka=kafka), store, claims=claims)
        tasks.append(asyncio.create_task(bridge.keep_adapter(built, adapter.name, pump, [stream], stop)))

        async def told(store: Store = store) -> bool:
            rows = await insight.streams(store)
            return any(row.error or row.records == 60 for row in rows)

        await until(told)
    (first,), (second,) = [await insight.streams(store) for store in stores]
    assert (first.records, first.error) == (60, None)
    assert second.records == 0
    assert "another installation runs it with these topics" in str(second.error)
    assert "on one's host" in str(second.error)
    stop.set()
    await asyncio.gather(*tasks)
    for each in (*opened, *stores):
        await each.close()
