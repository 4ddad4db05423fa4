"""Long work lets others have their turn: by the time that passed, and however many tasks are at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from canonical.turns import TURN, in_turns


class Steps:
    """A clock of which a tenth of a turn passes with each look, and the number of looks since others had their turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.since = 0
        self.rounds: list[int] = []

    def __call__(self) -> float:
        self.now += TURN / 10
        self.since += 1
        return self.now

    async def others(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.rounds.append(self.since)
            self.since = 0


@pytest.fixture
async def steps() -> AsyncIterator[Steps]:
    steps = Steps()
    others = asyncio.create_task(steps.others())
    await asyncio.sleep(0)
    yield steps
    others.cancel()


async def test_the_items_come_in_their_order_each_once() -> None:
    assert [n async for n in in_turns(range(1000))] == list(range(1000))


async def test_others_have_their_turn_whenever_the_time_has_passed(steps: Steps) -> None:
    assert [n async for n in in_turns(range(100), steps)] == list(range(100))
    assert len(steps.rounds) >= 8
    assert max(steps.rounds) <= 12


async def test_tasks_that_are_at_work_together_share_one_turn(steps: Steps) -> None:
    done: list[int] = []

    async def work(which: int) -> None:
        async for _ in in_turns(range(100), steps):
            done.append(which)

    await asyncio.gather(*(work(which) for which in range(5)))
    # Each of them goes on by two tenths, and looks once more to find that, and once when it goes on again.
    assert max(steps.rounds) <= 5 * 4
    assert {done[:400].count(which) for which in range(5)} <= set(range(70, 91))  # nobody is kept waiting by the others


async def test_an_error_between_two_items_is_raised_where_they_are_asked_for() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    given = in_turns(items())
    assert await anext(given) == 1
    with pytest.raises(KeyError):
        await anext(given)


async def test_what_is_left_in_the_middle_goes_on_from_there() -> None:
    left = in_turns(range(5))
    async for n in left:
        if n == 2:
            break
    assert [n async for n in left] == [3, 4]
