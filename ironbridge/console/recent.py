"""One answer for all who ask within a moment."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

OFTEN = 0.25
"""Seconds that an answer holds …"""
_SHARE = 5.0  # … and at least so many times what it takes: looking shall not be what keeps the database busy
_TRIES = 8  # "what it takes" is the least of so many: what it took beside a burst of other work is no measure of it


class Recent(Generic[T]):
    """This cache keeps what `ask` gave, and asks once at a time and not more often than the asked one can bear."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._turn = asyncio.Lock()
        self._answer: T | None = None
        self._until = 0.0
        self._changes = 0
        self._took: deque[float] = deque(maxlen=_TRIES)

    async def __call__(self) -> T:
        async with self._turn:
            began = time.monotonic()
            if self._answer is None or began >= self._until:
                changes = self._changes
                self._answer = await self._ask()
                now = time.monotonic()
                self._took.append(now - began)
                # If something changed while we asked, the answer may not show it, so it is not kept.
                self._until = now + max(OFTEN, _SHARE * min(self._took)) if changes == self._changes else 0.0
            return self._answer

    def forget(self) -> None:
        """Ask anew next time: something was just changed."""
        self._changes += 1
        self._until = 0.0
