"""What all who look at the console share is asked once, and no more often than is good for what is asked."""

import asyncio

import pytest

from ironbridge.console import recent


async def test_what_all_look_at_is_asked_seldom_for_what_it_takes_and_not_for_what_it_took_beside_other_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, takes, asked = 0.0, 0.2, 0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now

    async def ask() -> int:
        nonlocal now, asked
        now, asked = now + takes, asked + 1
        return asked

    async def after(seconds: float) -> int:
        nonlocal now
        now += seconds
        return await look()

    monkeypatch.setattr(recent, "time", Clock)
    look = recent.Recent(ask)
    assert [await after(0), await after(0.9), await after(0.2)] == [1, 1, 2], "five times as long as it took"
    takes = 0.01
    assert [await after(1.1), await after(0.2), await after(0.1)] == [3, 3, 4], "at least a quarter of a second"
    takes = 0.2  # a burst of other work
    assert [await after(0.3), await after(0.3)] == [5, 6]
    takes = 0.01
    look.forget()
    assert await after(0) == 7


async def test_what_is_changed_while_it_is_asked_is_asked_once_more() -> None:
    there, asking, go_on = "before", asyncio.Event(), asyncio.Event()

    async def ask() -> str:
        answer = there
        asking.set()
        await go_on.wait()
        return answer

    look = recent.Recent(ask)
    first = asyncio.ensure_future(look())
    await asking.wait()
    there = "after"
    look.forget()
    second = asyncio.ensure_future(look())
    go_on.set()
    assert [await first, await second] == ["before", "after"]
