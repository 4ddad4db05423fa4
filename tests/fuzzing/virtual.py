"""An event loop whose time is its own: where nobody has anything to do, it is later at once."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Impatient(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Waits for nothing: the time that it should wait is passed on."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout > 0:
            self.passed += timeout
        elif timeout is None:
            raise AssertionError("nobody has anything to do, and nobody waits for a time")
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time` begins at 0, in seconds."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.passed
