"""
An event loop with virtual time: if no task has anything to do, the time jumps to the next timer. Work takes time, too, now and
then and as a seed says, so that who takes turns (`canonical.turns`) pauses anywhere.
"""

from __future__ import annotations

import asyncio
import selectors
from random import Random
from typing import Any

from canonical.turns import TURN


class _Impatient(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Never waits: it passes on the time for which it should wait."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout > 0:
            self.passed += timeout
        elif timeout is None:
            raise AssertionError("no task has anything to do, and none waits for a time")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time` begins at 0, in seconds. How often a turn passes between two looks at the clock is drawn once for a seed."""

    def __init__(self, seed: int) -> None:
        self._impatient = _Impatient()
        self._random = Random(seed)
        self._busy = self._random.choice([0.0, 0.01, 0.1, 0.3, 1.0])
        super().__init__(self._impatient)

    def time(self) -> float:
        if self._random.random() < self._busy:
            self._impatient.passed += 1.2 * TURN
        return self._impatient.passed
