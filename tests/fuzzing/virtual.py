"""An event loop with virtual time: if no task has anything to do, the time jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


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
    """`time` begins at 0, in seconds."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.passed
