"""Targets that send one request a document share this: a batch is done side by side, and a wrong setting costs no outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from canonical.errors import MisconfiguredError
from flows.port import Limits, NotDone, Outcome, ReadBack, Untold, Write

T = TypeVar("T")


class SideBySide:
    """Does something for each write of a batch, for as many at once as the limits allow; the results keep their order."""

    def __init__(self, limits: Limits) -> None:
        self._turns = asyncio.Semaphore(limits.concurrency)

    async def written(self, agree: Callable[[Write], Coroutine[Any, Any, Outcome]], batch: Sequence[Write]) -> list[Outcome]:
        """
        One outcome a subject, in order.

        :raises MisconfiguredError: every write met it. If only some did, what is known of the others is not lost with it.
        """
        said = await self._each(agree, batch)
        faults = [each for each in said if isinstance(each, MisconfiguredError)]
        if faults and len(faults) == len(said):
            raise faults[0]
        return [NotDone(f"not sent: {each.what}") if isinstance(each, MisconfiguredError) else each for each in said]

    async def read_back(self, find: Callable[[Write], Coroutine[Any, Any, ReadBack]], batch: Sequence[Write]) -> list[ReadBack]:
        """Read back each subject, in order. If a setting is wrong, the answer is that nothing is told."""
        said = await self._each(find, batch)
        return [Untold(each.what) if isinstance(each, MisconfiguredError) else each for each in said]

    async def _each(self, do: Callable[[Write], Coroutine[Any, Any, T]], batch: Sequence[Write]) -> list[T | MisconfiguredError]:
        async def in_turn(write: Write) -> T | MisconfiguredError:
            async with self._turns:
                try:
                    return await do(write)
                except MisconfiguredError as error:
                    return error

        return await asyncio.gather(*map(in_turn, batch))
