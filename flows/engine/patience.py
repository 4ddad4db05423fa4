"""This module limits how a target is approached: by so many at once, and after trouble not before it has had its time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from flows.engine.clock import steady
from flows.engine.settle import Wanted
from flows.port import LONGEST_SILENCE, Limits, Outcome, Unavailable, Unknown

_LONGEST_WAIT = 60.0  # seconds between attempts at a target that does not say when to come again
_LONGEST_ALONE = 900.0  # the same, for one subject whose every attempt fails while others succeed
TOGETHER = 3
"""A subject is sent together with others so many times; then in ever smaller portions, until the faulty one is alone."""


class Patience:
    """
    One worker's patience with its target: the target is left alone as long as it asks for, otherwise longer after each failure.
    `clock` gives seconds; only differences between its values count.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.until = 0.0
        self._since = 0.0
        self._failures = 0

    def left(self) -> float:
        """Seconds for which the target is still left alone."""
        return max(self.until - self._clock(), 0.0)

    def age(self) -> float:
        """Seconds since it was first left alone."""
        return self._clock() - self._since

    def end(self) -> None:
        """End the wait, because a person wants the target to be asked now."""
        self.until = self._clock()

    def heard(self, outcomes: Sequence[Outcome]) -> None:
        """Take note of the target's answers: a failure prolongs the wait, a success ends the row of failures."""
        away = [outcome for outcome in outcomes if isinstance(outcome, Unavailable | Unknown)]
        if not away:
            self._failures = 0
            return
        said = [o.after for o in away if isinstance(o, Unavailable) and o.after is not None]
        asked = [min(after, LONGEST_SILENCE).total_seconds() for after in said]
        backoff = min(0.25 * 2**self._failures, _LONGEST_WAIT) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
        now = self._clock()
        if self.until <= now:  # else another batch has just met the same trouble
            self._failures = min(self._failures + 1, 16)
            self._since = now
        self.until = max(self.until, now + max([backoff, *asked]))

    def after(self, wanted: Sequence[Wanted]) -> float:
        """Seconds until the next attempt: the target's wait, or an ever longer one for a single subject that always fails."""
        attempts = wanted[0].task.attempts
        if len(wanted) > 1 or attempts <= TOGETHER or self._failures > TOGETHER:
            return self.left()
        return max(self.left(), min(0.25 * 2.0 ** min(attempts, 16), _LONGEST_ALONE))


class Access:
    """All flows of one target share its access in one process: how many writes go at once, and the patience with it."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = steady) -> None:
        self.slots = asyncio.Semaphore(limits.concurrency)
        self.patience = Patience(clock)


def portion(left: Sequence[Wanted]) -> tuple[Sequence[Wanted], Sequence[Wanted]]:
    """The subjects to send together now, and the rest: first all with few attempts, then ever smaller portions."""
    seldom = sum(w.task.attempts <= TOGETHER for w in left)
    size = seldom or max(len(left) >> (left[0].task.attempts - TOGETHER), 1)
    return left[:size], left[size:]
