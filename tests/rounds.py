"""
Counts how many calls long work makes before the other tasks of its event loop have their turn.

Unlike seconds, calls are as many on a busy machine as on a quiet one.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any


class Rounds:
    """Function calls, of C and of Python, in each round of the loop; `longest` is the greatest number."""

    def __init__(self) -> None:
        self.longest = self.all = 0
        self._calls = 0

    def count(self, frame: FrameType, event: str, argument: Any) -> None:
        self._calls += 1

    async def beat(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.longest, self.all, self._calls = max(self.longest, self._calls), self.all + self._calls, 0


@asynccontextmanager
async def counted() -> AsyncIterator[Rounds]:
    rounds = Rounds()
    beating = asyncio.create_task(rounds.beat())
    await asyncio.sleep(0)
    sys.setprofile(rounds.count)
    try:
        yield rounds
    finally:
        sys.setprofile(None)
        await asyncio.sleep(0)  # the last round counts, too
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
