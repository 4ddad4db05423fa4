"""
A claim says until when a worker surely holds the subjects that it is about to send.

The ledger gives a subject to another worker once its holder gave no sign of life for `HOLD` seconds. So a worker that
stood still (a stalled event loop, a machine that slept, a database that was away) must not send the subjects that it held
before. Each sign of life counts from the moment before the ledger was asked, by a clock that nobody sets. The claim is
checked right before each request that changes something, by `flows.kit.requests.may_go`, also deep in an HTTP client.

A request that has left cannot be called back: if it is on its way for longer than `_MARGIN`, it may arrive together
with another worker's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flows.engine.ledger import HOLD, TRAVELS, Ledger, Task

_MARGIN = TRAVELS  # seconds; the clocks of two workers may also differ from the database's by so much


class Claim:
    """Some subjects that a worker holds. The claim is lost for good once another worker holds one of them."""

    def __init__(self, tasks: Iterable[Task], asked: float, clock: Callable[[], float]) -> None:
        self._held = {(task.subject, task.claim) for task in tasks}
        self._clock = clock
        self._until = asked + HOLD - _MARGIN

    def kept(self, asked: float, held: set[tuple[str, str | None]]) -> None:
        """Prolong the claim: at the moment `asked` the ledger was asked, and it named the subjects that the worker holds."""
        self._until = asked + HOLD - _MARGIN if self._held <= held else -math.inf

    def left(self) -> float:
        """Seconds for which the worker surely still holds the subjects."""
        return self._until - self._clock()

    @contextmanager
    def at_work(self) -> Iterator[ClaimedWork]:
        """Requests sent inside this context check this claim (`seconds_left`)."""
        work = ClaimedWork(self)
        token = _at_work.set(work)
        try:
            yield work
        finally:
            _at_work.reset(token)


class ClaimedWork:
    """The requests sent under one claim. `refused`: at least one was not sent because the claim had run out."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self.refused = False

    def left(self) -> float:
        left = self._claim.left()
        self.refused = self.refused or left <= 0
        return left


class Hand:
    """All claims of one worker."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._claims: set[Claim] = set()
        self._taken: set[str] = set()

    @contextmanager
    def taken(self, tasks: Iterable[Task]) -> Iterator[None]:
        """Work on subjects that were taken. Those that the state calls this worker's, though it has let them go, time out."""
        words = {task.claim for task in tasks if task.claim is not None}
        self._taken |= words
        try:
            yield
        finally:
            self._taken -= words

    @contextmanager
    def holding(self, tasks: Iterable[Task], asked: float) -> Iterator[Claim]:
        """Hold a claim on these tasks; at the moment `asked` the ledger was asked for them, and it agreed."""
        claim = Claim(tasks, asked, self._clock)
        self._claims.add(claim)
        try:
            yield claim
        finally:
            self._claims.discard(claim)

    async def keep(self, ledger: Ledger, number: int | None) -> None:
        """Give a sign of life for all subjects that the worker works on."""
        claims, asked = set(self._claims), self._clock()
        held = await ledger.keep(number, self._taken.copy())
        for claim in claims:
            claim.kept(asked, held)

    async def reclaim(self, ledger: Ledger) -> int:
        """Make dirty what nobody works on any more (`Ledger.reclaim`), this worker's own included; how many."""
        return await ledger.reclaim(self._taken.copy())


_at_work: ContextVar[ClaimedWork | None] = ContextVar("at_work", default=None)


def seconds_left() -> float:
    """
    Seconds within which a request that changes something may still leave; at 0 or less it must not be sent. Infinite if
    the caller works under no claim.
    """
    work = _at_work.get()
    return math.inf if work is None else work.left()
