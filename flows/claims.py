"""
Until when a worker surely has in hand what it is about to send.

The ledger gives a subject to another worker once its holder gave no sign of life for `HOLD` seconds. So a worker that
stood still (a stalled event loop, a machine that slept, a database that was away) must not send what it had in hand
before. Each sign of life counts from before the ledger was asked, by a clock that nobody sets, and it is looked at right
before each request that changes something, also deep in the HTTP client (`flows.http`).

A request that has left is out of our hands: one that is on its way for longer than `_MARGIN` may arrive together with
another worker's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flows.ledger import HOLD, TRAVELS, Ledger, Task

_MARGIN = TRAVELS  # by so many seconds the clocks of two workers may also differ from the database's


class Claim:
    """Some subjects in a worker's hand. It is lost for good where one of them is in another's hand."""

    def __init__(self, tasks: Iterable[Task], asked: float, clock: Callable[[], float]) -> None:
        self._held = {(task.subject, task.claim) for task in tasks}
        self._clock = clock
        self._until = asked + HOLD - _MARGIN

    def kept(self, asked: float, held: set[tuple[str, str | None]]) -> None:
        """The ledger was asked at a moment of the clock, and said that the worker holds these."""
        self._until = asked + HOLD - _MARGIN if self._held <= held else -math.inf

    def left(self) -> float:
        """For how many seconds it surely holds."""
        return self._until - self._clock()

    @contextmanager
    def at_work(self) -> Iterator[Work]:
        """Requests within it ask this claim (`seconds_left`)."""
        work = Work(self)
        token = _at_work.set(work)
        try:
            yield work
        finally:
            _at_work.reset(token)


class Work:
    """What is done under a claim. `refused`: a request was not sent, as the claim had run out."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self.refused = False

    def left(self) -> float:
        left = self._claim.left()
        self.refused = self.refused or left <= 0
        return left


class Hand:
    """All the claims that a worker works under."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._claims: set[Claim] = set()

    @contextmanager
    def holding(self, tasks: Iterable[Task], asked: float) -> Iterator[Claim]:
        """The ledger was asked at a moment of the clock to let the worker go on with these, and did."""
        claim = Claim(tasks, asked, self._clock)
        self._claims.add(claim)
        try:
            yield claim
        finally:
            self._claims.discard(claim)

    async def keep(self, ledger: Ledger, number: int | None) -> None:
        """Give a sign of life for all that is in hand."""
        claims, asked = set(self._claims), self._clock()
        held = await ledger.keep(number)
        for claim in claims:
            claim.kept(asked, held)


_at_work: ContextVar[Work | None] = ContextVar("at_work", default=None)


def seconds_left() -> float:
    """
    For how many seconds a request that changes something may still leave; 0 or less: not any more. Infinite where the
    caller works under no claim.
    """
    work = _at_work.get()
    return math.inf if work is None else work.left()
