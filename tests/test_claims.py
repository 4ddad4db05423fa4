"""Claims: two workers never send the same subject, whatever their clocks show and however long one of them stands still."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from flows.engine.agree import Agreement
from flows.engine.ledger import HOLD, TRAVELS, Intent, Settlement, State
from flows.port import Limits, Outcome, Unavailable, Unknown, Waiting, Write
from flows.testing import ScriptedTarget, Work
from ironbridge.operate import steer
from ironbridge.operate.audit import Actor
from ironbridge.store import Store
from ironbridge.store.budget import release
from tests.agreement import World, invoice, supplier, supplier_key

S1 = supplier_key(1)


@dataclass(slots=True)
class Slow(ScriptedTarget):
    """Something happens between the runtime's decision to write and the moment when the request leaves."""

    meanwhile: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        while self.meanwhile:
            await self.meanwhile.pop(0)()
        return await ScriptedTarget.write(self, batch)


class ClaimScenarios:
    @pytest.fixture
    async def world(self, store: Store) -> World:
        world = World(store, target=Slow())
        await world.arrive(supplier(1))
        return world

    @pytest.mark.parametrize("ahead", [-7200.0, -25.0, 0.0, 15.0, 25.0, 60.0, 7200.0])
    async def test_a_worker_whose_own_clock_is_wrong_takes_nothing_that_another_has_in_hand(
        self, world: World, ahead: float
    ) -> None:
        skewed = Agreement(
            world.flow, world.target, world.new_ledger(), edition="1", clock=lambda: world.clock.now + ahead
        )
        assert isinstance(world.target, Slow)
        if world.store.embedded:
            pytest.skip("an embedded state has one process: another one that holds subjects is dead")

        async def others() -> None:
            world.clock.forward(HOLD / 2)
            await skewed._ledger.reclaim()
            assert await skewed.step() == 0

        world.target.meanwhile.append(others)
        await world.agreement.step()
        assert len(world.target.effects) == 1
        assert await world.story(S1) == ["confirmed"]

    async def test_a_worker_that_stood_still_for_longer_than_its_claim_lasts_does_not_send(self, world: World) -> None:
        other = world.worker()
        assert isinstance(world.target, Slow)

        async def stalled() -> None:
            world.clock.forward(HOLD + 1)
            await other._ledger.reclaim()
            await world.agree(other)

        world.target.meanwhile.append(stalled)
        await world.agreement.step()
        assert len(world.target.effects) == 1
        assert (await world.row(S1))["state"] == "agreed"

    async def test_what_was_not_sent_because_the_claim_ran_out_is_no_attempt_and_goes_next(self, world: World) -> None:
        assert isinstance(world.target, Slow)

        async def stalled() -> None:
            world.clock.forward(HOLD)

        world.target.meanwhile.append(stalled)
        await world.agreement.step()
        row = await world.row(S1)
        assert (row["state"], row["attempts"], row["doubtful"]) == ("dirty", 0, None)
        assert row["reason"] == "not sent: its claim ran out, or another edition is at work"
        assert world.agreement._patience.left() == 0, "it says nothing of the target"
        await world.agreement.step()
        assert len(world.target.effects) == 1

    async def test_a_claim_that_is_kept_alive_lasts_as_long_as_the_work(self, world: World) -> None:
        assert isinstance(world.target, Slow)

        async def works_long() -> None:
            for _ in range(10):
                world.clock.forward(5)
                await world.agreement._hand.keep(world.ledger, None)

        world.target.meanwhile.append(works_long)
        await world.agreement.step()
        assert await world.story(S1) == ["confirmed"]

    async def test_a_sign_of_life_does_not_bring_back_what_another_has_taken(self, world: World) -> None:
        other = world.worker()
        assert isinstance(world.target, Slow)

        async def stalled_and_then_alive() -> None:
            world.clock.forward(HOLD + 1)
            await other._ledger.reclaim()
            await world.agree(other)
            await world.agreement._hand.keep(world.ledger, None)

        world.target.meanwhile.append(stalled_and_then_alive)
        await world.agreement.step()
        assert len(world.target.effects) == 1

    async def test_what_an_older_state_calls_this_workers_is_no_longer_held_by_it(self, world: World) -> None:
        """A failover while the worker runs: the state is as it was when the worker held something that it has let go since."""
        await world.take(10)
        for _ in range(5):
            world.clock.forward(5)
            await world.agreement._hand.keep(world.ledger, None)
        assert await world.agreement._hand.reclaim(world.ledger) == 1
        await world.agree()
        assert await world.story(S1) == ["confirmed"]

    async def test_after_the_clock_was_set_back_a_dead_workers_claim_ends_all_the_same(self, world: World) -> None:
        await world.take(10)
        world.clock.forward(-3600)
        other = world.worker()
        await other._ledger.reclaim()
        world.clock.forward(HOLD + 1)
        await other._ledger.reclaim()
        await world.agree(other)
        assert len(world.target.effects) == 1

    async def test_what_a_worker_was_sending_when_it_began_again_is_looked_at_once_it_has_arrived(
        self, world: World
    ) -> None:
        await self._sends_for_a_minute(world)
        await world.ledger.begin()
        assert await world.take(1) == []
        world.clock.forward(TRAVELS)
        (task,) = await world.take(1)
        assert task.sent_ago == TRAVELS, "it waited a minute before it left: the intent's time says nothing"

    async def test_what_a_dead_worker_was_sending_may_have_left_as_long_as_its_claim_held(self, world: World) -> None:
        await self._sends_for_a_minute(world)
        world.clock.forward(HOLD + 1)
        other = world.new_ledger()
        await other.reclaim()
        world.clock.forward(TRAVELS)
        (task,) = await world.take(1, other)
        assert task.sent_ago == TRAVELS + 1 + TRAVELS

    async def _sends_for_a_minute(self, world: World) -> None:
        (task,) = await world.take(1)
        await world.ledger.intend([Intent(task, b"[]")])
        for _ in range(12):
            world.clock.forward(5)
            await world.ledger.keep(None, {task.claim or ""})

    @pytest.mark.parametrize("lift", [steer.release, steer.replay])
    async def test_a_person_who_wants_it_now_does_not_make_two_workers_meet(
        self, world: World, lift: Callable[..., Awaitable[object]]
    ) -> None:
        slow, other = (await world.take(1))[0], world.new_ledger()
        await world.ledger.intend([Intent(slow, b"[]")])
        world.clock.forward(HOLD + TRAVELS)
        await other.reclaim()
        world.clock.forward(TRAVELS)
        assert len(await world.take(1, other)) == 1
        # The first one's request came late: whoever has the subject now is perhaps just sending, too.
        await world.ledger.settle([Settlement(slow, State.DIRTY, "unknown", sent=b"[]", doubtful=b"[]")])
        await lift(world.store, Actor("kim", "console"), "purchasing" if lift is steer.release else world.flow)
        assert await world.take(1) == []
        world.clock.forward(HOLD)
        assert len(await world.take(1)) == 1

    async def test_after_the_clock_was_set_back_nothing_is_held_back_for_that_time(self, world: World) -> None:
        world.target.answer(S1, Unavailable("503", timedelta(minutes=10)))
        await world.agreement.step()
        world.clock.forward(-30 * 86400)
        worker = world.worker()
        assert await worker._ledger.due() is not None
        await worker._ledger.reclaim()
        assert await worker._ledger.due() == 0

    async def test_a_person_who_lifts_a_silence_lifts_it_for_what_waits_and_for_the_worker(self, world: World) -> None:
        world.target.answer(S1, Unavailable("429", timedelta(minutes=10)))
        await world.agreement.step()
        await world.agreement._lifted()
        assert world.agreement._patience.left() == 600
        world.clock.forward(30)
        async with world.store.write() as connection:
            assert await release(connection, world.flow.name)
        world.clock.forward(1)
        await world.agreement._lifted()
        assert world.agreement._patience.left() == 0
        assert await world.agreement.step() == 1
        assert len(world.target.effects) == 1
        world.target.answer(S1, Unavailable("429", timedelta(minutes=10)))
        await world.arrive(supplier(1, 2))
        await world.agreement.step()
        await world.agreement._lifted()
        assert world.agreement._patience.left() == 600, "the silence was lifted before this one"

    async def test_a_target_that_asks_for_a_day_is_asked_again_after_a_quarter_of_an_hour(self, world: World) -> None:
        world.target.answer(S1, Unavailable("429", timedelta(days=1)))
        await world.agreement.step()
        assert (await world.row(S1))["due"] == world.clock.now + 900

    # -- targets that are consistent only after a while ------------------------------------------------------------------

    @pytest.fixture
    def late(self, world: World) -> ScriptedTarget:
        limits = Limits(batch=100, concurrency=1, settles=timedelta(seconds=30))
        world.target = ScriptedTarget(limits=limits, shows_after=30.0, clock=world.clock)
        world.agreement = world.worker(world.ledger)
        return world.target

    async def test_absent_is_not_believed_before_a_target_shows_what_it_was_sent(
        self, world: World, late: ScriptedTarget
    ) -> None:
        late.answer(S1, Unknown("cut"), work=Work.DONE)
        began = world.clock.now
        await world.agree()
        assert len(late.effects) == 1
        assert 30 <= world.clock.now - began < 40
        assert (await world.row(S1))["doubtful"] is None
        assert await world.story(S1) == ["unknown", "put back", "confirmed"]

    async def test_a_former_content_is_not_believed_either(self, world: World, late: ScriptedTarget) -> None:
        await world.agree()
        world.clock.forward(60)
        late.answer(S1, Unknown("cut"), work=Work.DONE)
        await world.arrive(supplier(1, 2))
        await world.agreement.step()
        world.clock.forward(1)
        await world.arrive(supplier(1, 3, name="Supplier 1 as of 1"))
        await world.agree()
        assert world.name_of(1) == "Supplier 1 as of 1"

    async def test_it_is_no_attempt_to_wait_for_a_target_and_no_doubt_is_lost(
        self, world: World, late: ScriptedTarget
    ) -> None:
        late.answer(S1, Unknown("cut"), work=Work.DONE)
        await world.agreement.step()
        doubtful = (await world.row(S1))["doubtful"]
        world.clock.forward(2)
        await world.agreement.step()
        row = await world.row(S1)
        assert (row["state"], row["attempts"], row["doubtful"]) == ("dirty", 1, doubtful)
        assert row["reason"] == "not looked at yet: the target shows a write only after a while"
        assert late.looks == []

    async def test_after_the_clock_was_set_back_a_target_is_not_waited_for_as_long(
        self, world: World, late: ScriptedTarget
    ) -> None:
        late.answer(S1, Unknown("cut"))
        await world.agreement.step()
        world.clock.forward(-30 * 86400)
        began = world.clock.now
        worker = world.worker(target=late)  # its own clock is one that nobody sets
        await worker._ledger.due()
        await worker._ledger.reclaim()
        await world.agree(worker)
        assert len(late.effects) == 1
        assert world.clock.now - began < 65

    async def test_a_supplier_that_the_target_does_not_know_yet_is_not_made_twice(
        self, world: World, late: ScriptedTarget
    ) -> None:
        await world.agree()
        late.answer("payables:invoice:7", Waiting(S1))
        await world.arrive(invoice(7, of=1))
        await world.agree()
        assert [subject for subject, _ in late.effects] == [S1, "payables:invoice:7"]

    async def test_what_a_lost_state_knew_is_asked_for_once_the_target_shows_it(
        self, world: World, late: ScriptedTarget
    ) -> None:
        await world.agree()
        for table in ("subjects", "facts", "ingested", "attempts"):
            await world.run(f"DELETE FROM {table}")
        world.inbox.once = 1
        world.inbox.deliver_again(0)
        await world.arrive()
        await world.agree()
        assert len(late.effects) == 1


class TestOnSQLite(ClaimScenarios):
    pass


@pytest.mark.servers
class TestOnPostgreSQL(ClaimScenarios):
    @pytest.fixture
    def store(self, postgres_store: Store) -> Store:
        return postgres_store
