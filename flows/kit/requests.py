"""
Every request to a target goes through this, whatever carries it: the target's budget, the worker's claim, a trace span.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol

from opentelemetry import trace

from canonical.errors import UnavailableError
from flows.engine.claims import seconds_left
from flows.port import Limits


class Budget(Protocol):
    """A budget says how many requests a target may still be sent; shared by all workers of the target."""

    async def spend(self, requests: int) -> None:
        """Wait until so many requests may go, and count them as gone."""

    async def hold(self, after: timedelta) -> None:
        """The target asked for silence: nobody spends for so long."""


class LocalBudget:
    """
    A budget for one process: at most `requests` within any `window` seconds, a sliding window, first come first served.
    """

    def __init__(self, requests: int, window: float) -> None:
        self._most = requests
        self._window = window
        self._spent: deque[float] = deque()
        self._held_until = 0.0
        self._turn = asyncio.Lock()

    @classmethod
    def of(cls, limits: Limits) -> LocalBudget:
        """The budget that these limits give one process."""
        return cls(limits.requests, limits.window)

    async def spend(self, requests: int) -> None:
        async with self._turn:
            for _ in range(requests):
                while (wait := self._wait()) > 0:  # noqa: ASYNC110 - nothing but time frees the window
                    await asyncio.sleep(wait)
                self._spent.append(time.monotonic())

    async def hold(self, after: timedelta) -> None:
        self._held_until = max(self._held_until, time.monotonic() + after.total_seconds())

    def _wait(self) -> float:
        now = time.monotonic()
        while self._spent and self._spent[0] <= now - self._window:
            self._spent.popleft()
        full = self._spent[0] + self._window - now if len(self._spent) >= self._most else 0.0
        return max(full, self._held_until - now)


class OutOfHandError(UnavailableError):
    """The request was not sent because another worker may hold its subjects by now."""


async def may_go(budget: Budget, where: str, *, changes: bool) -> float:
    """
    Wait for the budget. Then give the seconds within which the request must have left; infinite if it changes nothing.

    The claim is looked at last, because the request may have waited for its budget while this process stood still.

    :raises OutOfHandError: the request changes something, and this worker's claim on its subjects has run out.
    """
    await budget.spend(1)
    left = seconds_left() if changes else math.inf
    if left <= 0:
        raise OutOfHandError(where, "not sent: this worker's claim on its subjects ran out")
    return left


class Requests:
    """Accounts for the requests of one target. A target that does not speak HTTP sends everything inside `request`."""

    def __init__(self, target: str, budget: Budget) -> None:
        self._target = target
        self._budget = budget
        self._tracer = trace.get_tracer("ironbridge.target")

    @asynccontextmanager
    async def request(self, what: str, *, changes: bool) -> AsyncIterator[None]:
        """
        Send one request inside this context. `what` names it in the trace, e.g. `UPLOAD children`; it holds no value of a record.

        :raises OutOfHandError: it changes something, and another worker may hold its subjects by now: it counts as
            `NotDone`.
        """
        await may_go(self._budget, self._target, changes=changes)
        with self._tracer.start_as_current_span(
            what,
            kind=trace.SpanKind.CLIENT,
            attributes={"ironbridge.target": self._target},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as error:
                failed(span, type(error).__qualname__)
                raise

    async def silence(self, after: timedelta) -> None:
        """The target asked for silence: no worker sends it anything for so long."""
        await self._budget.hold(after)


def failed(span: trace.Span, kind: str) -> None:
    """Mark a request's span as failed. A text could hold a value of a record, so only the kind of error is kept."""
    span.set_attribute("error.type", kind)
    span.set_status(trace.StatusCode.ERROR)
