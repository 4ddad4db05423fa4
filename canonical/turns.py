"""Long work takes turns: all tasks of a process share one event loop, and while one works on, the others stand still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")
TURN = 0.001
"""Seconds that long work takes before everything else has its turn: all tasks that take turns share them."""


def in_turns(items: Iterable[T], clock: Callable[[], float] | None = None) -> AsyncIterator[T]:
    """Give the items one after another, and let the other tasks go on whenever a turn is over. The loop's clock counts."""
    return _InTurns(items, clock)


class _Round:
    """One round of an event loop: the tasks that paused in it share the next one's turn among them."""

    def __init__(self) -> None:
        self.share = TURN
        self._paused = 0

    async def pause(self) -> None:
        if not self._paused:
            asyncio.get_running_loop().call_soon(self._divide)  # it runs before the tasks that pause now
        self._paused += 1
        await asyncio.sleep(0)

    def _divide(self) -> None:
        self.share, self._paused = TURN / self._paused, 0


_ROUNDS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Round] = WeakKeyDictionary()


class _InTurns(AsyncIterator[T]):
    """This is an object, because an asynchronous generator that is left in the middle would have to be closed."""

    def __init__(self, items: Iterable[T], clock: Callable[[], float] | None) -> None:
        loop = asyncio.get_running_loop()
        self._items = iter(items)
        self._clock = clock or loop.time
        self._round = _ROUNDS.setdefault(loop, _Round())
        # Others may begin in this round, too, and nobody knows how many.
        self._until = self._clock() + min(self._round.share, TURN / 10)

    async def __anext__(self) -> T:
        if self._clock() >= self._until:
            await self._round.pause()
            self._until = self._clock() + self._round.share
        for item in self._items:
            return item
        raise StopAsyncIteration
