"""What a shared budget promises, on whatever database it is kept: run on SQLite and on PostgreSQL."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from flows.port import LONGEST_SILENCE, Limits
from ironbridge.store import Store
from ironbridge.store.budget import SharedBudget, release


@dataclass
class Days:
    """A clock that goes on when somebody sleeps, and what was sent when."""

    now: float = 1_700_000_000.0
    sent: list[float] = field(default_factory=list)
    slept: int = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.slept += 1
        await asyncio.sleep(0)

    def budget(self, store: Store, limits: Limits) -> SharedBudget:
        store.clock = self
        return SharedBudget(store, "somewhere", limits, clock=self, sleep=self.sleep)

    async def use(self, budget: SharedBudget, times: int) -> None:
        for _ in range(times):
            await budget.spend(1)
            self.sent.append(self.now)

    def most_within(self, seconds: float) -> int:
        return max(sum(first <= at < first + seconds for at in self.sent) for first in self.sent)


class BudgetScenarios:
    @pytest.fixture
    def days(self) -> Days:
        return Days()

    @pytest.mark.parametrize("requests", [1, 2, 7, 60])
    async def test_no_window_holds_more_than_the_limit(self, store: Store, days: Days, requests: int) -> None:
        limits = Limits(requests=requests, window=30.0)
        await days.use(days.budget(store, limits), requests * 2 + 3)
        assert days.most_within(limits.window) <= requests

    async def test_nearly_all_of_the_budget_can_be_used(self, store: Store, days: Days) -> None:
        limits = Limits(requests=300, window=30.0)
        began = days.now
        await days.use(days.budget(store, limits), 900)
        assert (days.now - began) / 30.0 < 3.4
        assert days.slept < 1000, "it waits once for each request, not again and again"

    async def test_two_workers_share_one_budget(self, store: Store, days: Days) -> None:
        limits = Limits(requests=100, window=30.0)
        await asyncio.gather(*(days.use(days.budget(store, limits), 80) for _ in range(2)))
        assert len(days.sent) == 160
        assert days.most_within(limits.window) <= 100

    async def test_a_hold_stops_both_within_a_second_and_ends_by_itself(self, store: Store, days: Days) -> None:
        limits = Limits(requests=6000, window=300.0)
        one, other = days.budget(store, limits), days.budget(store, limits)
        await days.use(one, 50)
        await days.use(other, 50)
        held_at = days.now
        await one.hold(timedelta(seconds=20))
        days.sent.clear()
        days.now += 1.0
        await asyncio.gather(days.use(one, 3), days.use(other, 3))
        assert min(days.sent) >= held_at + 20
        assert max(days.sent) < held_at + 30

    async def test_a_shorter_hold_does_not_end_a_longer_one(self, store: Store, days: Days) -> None:
        budget = days.budget(store, Limits())
        began = days.now
        await budget.hold(timedelta(seconds=20))
        await budget.hold(timedelta(seconds=5))
        await days.use(budget, 1)
        assert days.now >= began + 20

    async def test_a_hold_before_the_first_request_counts(self, store: Store, days: Days) -> None:
        began = days.now
        await days.budget(store, Limits()).hold(timedelta(seconds=20))
        await days.use(days.budget(store, Limits()), 1)
        assert days.now >= began + 20

    async def test_what_was_not_spent_is_not_saved_up_beyond_the_burst(self, store: Store, days: Days) -> None:
        limits = Limits(requests=100, window=30.0)
        budget = days.budget(store, limits)
        await days.use(budget, 1)
        days.now += 3600
        days.sent.clear()
        await days.use(budget, 150)
        assert days.most_within(limits.window) <= 100
        assert sum(at == days.sent[0] for at in days.sent) <= 10

    async def test_a_database_that_is_slower_than_an_allowance_lasts_starves_nobody(
        self, store: Store, days: Days
    ) -> None:
        limits = Limits(requests=50, window=1.0)

        def late() -> float:
            days.now += 0.02  # each look at the clock, so that what is taken is always old already
            return days.now

        store.clock = days
        budget = SharedBudget(store, "somewhere", limits, clock=late, sleep=days.sleep)
        await asyncio.wait_for(days.use(budget, 60), 30)
        assert len(days.sent) == 60

    @pytest.mark.parametrize("off", [-7200, -3, 25, 7200])
    async def test_what_a_workers_own_clock_shows_neither_starves_others_nor_lets_more_go(
        self, store: Store, days: Days, off: float
    ) -> None:
        limits = Limits(requests=40, window=30.0)
        skewed = SharedBudget(store, "somewhere", limits, clock=lambda: days.now + off, sleep=days.sleep)
        began, right = days.now, days.budget(store, limits)
        # One after the other: otherwise one's sleep moves the virtual clock while the other waits for a real database.
        for _ in range(60):
            await days.use(skewed, 1)
            await days.use(right, 1)
        assert days.most_within(limits.window) <= 40
        assert days.now - began < 120

    async def test_a_database_whose_clock_is_set_back_makes_nobody_wait_for_what_was_spent_before(
        self, store: Store, days: Days
    ) -> None:
        budget = days.budget(store, Limits(requests=6000, window=300.0))
        await days.use(budget, 5)
        days.now -= 3600
        began = days.now
        await days.use(budget, 5)
        assert days.now - began < 1

    async def test_a_silence_from_before_the_clock_was_set_back_lasts_no_longer_than_any(
        self, store: Store, days: Days
    ) -> None:
        budget = days.budget(store, Limits())
        await budget.hold(timedelta(minutes=10))
        days.now -= 3600
        began = days.now
        await days.use(budget, 1)
        assert days.now - began < LONGEST_SILENCE.total_seconds() + 5

    async def test_a_silence_of_a_day_ends_after_a_quarter_of_an_hour(self, store: Store, days: Days) -> None:
        await days.budget(store, Limits()).hold(timedelta(days=1))
        began = days.now
        await days.use(days.budget(store, Limits()), 1)
        assert days.now - began < LONGEST_SILENCE.total_seconds() + 5

    async def test_a_person_can_lift_a_silence(self, store: Store, days: Days) -> None:
        budget = days.budget(store, Limits())
        await budget.hold(timedelta(minutes=10))
        async with store.write() as connection:
            assert await release(connection, "somewhere")
            assert not await release(connection, "somewhere")
        began = days.now
        await days.use(budget, 1)
        assert days.now == began
        assert (await budget.standing()).held == 0.0
