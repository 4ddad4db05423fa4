"""The service protection limits of the invented environment, by any clock."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_REQUESTS, _EXECUTION, _AT_ONCE = "0x80072322", "0x80072321", "0x80072326"


@dataclass
class ServiceLimits:
    """
    At most so many requests, and so many seconds of execution, within any `window` seconds, and so many requests at once.

    A request that is turned away says so with the code of the limit, and how long to wait. Who goes on regardless waits longer:
    each further request adds a second.
    """

    requests: int = 6000
    execution: float = 1200.0
    window: float = 300.0
    at_once: int = 52
    clock: Callable[[], float] = time.monotonic
    turned_away: dict[str, int] = field(default_factory=dict)
    _begun: deque[float] = field(default_factory=deque)
    _ended: deque[tuple[float, float]] = field(default_factory=deque)
    _spent: float = 0.0
    _running: int = 0
    _insisted: int = 0

    def begin(self) -> tuple[str, int] | None:
        """None if the request may be done, and then it counts; else the code of the limit, and the seconds to wait."""
        now = self.clock()
        while self._begun and self._begun[0] <= now - self.window:
            self._begun.popleft()
        while self._ended and self._ended[0][0] <= now - self.window:
            self._spent -= self._ended.popleft()[1]
        code = self._broken()
        if code is None:
            self._insisted = 0
            self._running += 1
            self._begun.append(now)
            return None
        self.turned_away[code] = self.turned_away.get(code, 0) + 1
        self._insisted += 1
        free = 1.0 if code == _AT_ONCE else self._oldest(code) + self.window - now
        return code, int(free) + self._insisted

    def end(self, seconds: float) -> None:
        """A request that began has taken so many seconds of execution."""
        self._running -= 1
        self._spent += seconds
        self._ended.append((self.clock(), seconds))

    def _broken(self) -> str | None:
        if self._running >= self.at_once:
            return _AT_ONCE
        if len(self._begun) >= self.requests:
            return _REQUESTS
        return _EXECUTION if self._spent >= self.execution else None

    def _oldest(self, code: str) -> float:
        return self._begun[0] if code == _REQUESTS else self._ended[0][0]
