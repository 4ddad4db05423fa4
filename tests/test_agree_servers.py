"""Agreement on PostgreSQL: the same promises, and what several workers of one flow owe each other."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest

from flows.port import Limits, Outcome, Write
from flows.testing import ArrayInbox, ScriptedTarget
from ironbridge.store import Store
from ironbridge.store.ledger import HOLD
from tests.agreement import World, invoice, supplier
from tests.agreement_scenarios import AgreementScenarios
from tests.budgets import BudgetScenarios


@pytest.fixture
def store(postgres_store: Store) -> Store:
    return postgres_store


class TestOnPostgreSQL(AgreementScenarios):
    pass


class TestBudgetOnPostgreSQL(BudgetScenarios):
    pass


# -- several workers of one flow ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Guarded(ScriptedTarget):
    """Notices two writes of one subject at the same time."""

    writing: set[str] = field(default_factory=set)
    both: list[str] = field(default_factory=list)

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        subjects = {write.subject for write in batch}
        self.both.extend(self.writing & subjects)
        self.writing |= subjects
        try:
            await asyncio.sleep(random.uniform(0.0, 0.02))
            return await ScriptedTarget.write(self, batch)
        finally:
            self.writing -= subjects


async def until(done: Callable[[], Awaitable[bool]], *tasks: asyncio.Task[None]) -> None:
    async with asyncio.timeout(60):
        while not await done():
            for task in tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("workers", [2, 3])
async def test_workers_of_one_flow_never_have_the_same_subject_in_hand(store: Store, workers: int) -> None:
    target = Guarded(limits=Limits(batch=20, concurrency=2))
    world = World(store, target=target)
    world.clock = store.clock = time.time  # type: ignore[assignment]
    agreements = [world.worker() for _ in range(workers)]
    stop = asyncio.Event()
    delivering = [asyncio.create_task(agreement.deliver(stop)) for agreement in agreements]
    ingesting = []
    for version in range(1, 7):
        # Two ingest at once, each in another order, while the others deliver, wait and wake.
        halves = (range(1, 101), range(150, 49, -1))
        for numbers, agreement in zip(halves, agreements, strict=False):
            inbox = ArrayInbox([supplier(n, version) for n in numbers] + [invoice(n, n, version) for n in numbers])
            ingesting.append(asyncio.create_task(agreement.ingest(inbox)))
        await asyncio.sleep(0.2)

    async def agreed() -> bool:
        states = await world.states()
        return len(states) == 300 and set(states.values()) == {"agreed"}

    await asyncio.gather(*ingesting)
    await until(agreed, *delivering)
    stop.set()
    await asyncio.gather(*delivering)
    assert target.both == []
    assert len(target.documents) == 300
    assert {d.body["name"].split(" as of ")[1] for d in target.documents.values() if d.kind == "supplier"} == {"6"}
    assert sum(agreement.tally.confirmed > 0 for agreement in agreements) == workers


async def test_what_a_dead_worker_had_in_hand_is_taken_over_by_another(store: Store) -> None:
    world = World(store)
    await world.arrive(supplier(1), supplier(2))
    await world.take(10)
    other = world.worker()
    await other._ledger.reclaim()
    assert await other.step() == 0
    world.clock.forward(HOLD + 1)
    await other._ledger.reclaim()
    await world.agree(other)
    assert len(world.target.documents) == 2


async def test_a_worker_that_lives_keeps_what_it_has_in_hand_however_long_it_takes(store: Store) -> None:
    world = World(store)
    await world.arrive(supplier(1))
    claims = {task.claim or "" for task in await world.take(10)}
    for _ in range(5):
        world.clock.forward(HOLD - 1)
        await world.ledger.keep(None, claims)
        assert await world.new_ledger().reclaim() == 0
    assert await world.states() == {supplier(1).key: "sending"}


async def test_a_backlog_is_taken_by_its_index_even_before_postgresql_knows_how_long_it_is(store: Store) -> None:
    world = World(store)
    await world.arrive(*(supplier(n) for n in range(1, 20_001)))
    for _ in range(20):
        assert len(await world.take(100)) == 100

    async def read() -> tuple[int, int]:
        (row,) = await world.rows(
            "SELECT i.idx_scan AS scans, i.idx_tup_read + t.seq_tup_read AS rows FROM pg_stat_user_indexes i "
            "JOIN pg_stat_user_tables t USING (relid) WHERE indexrelname = 'ix_subjects_flow_state_urgency_since'"
        )
        return row["scans"], row["rows"]

    async def counted() -> bool:
        await world.rows("SELECT 1")  # a connection tells what it did when it is used again
        return (await read())[0] >= 20

    await until(counted)
    assert (await read())[1] < 20 * 1_000
