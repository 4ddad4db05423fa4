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
        self._turn = False
        self.came_back = False
        """The target has answered well after it had been away, and has not failed since."""

    def left(self) -> float:
        """Seconds for which the target is still left alone."""
        return max(self.until - self._clock(), 0.0)

    def age(self) -> float:
        """Seconds since it was first left alone."""
        return self._clock() - self._since

    @property
    def away(self) -> bool:
        """Tell whether so many attempts in a row failed that it is the target's fault."""
        return self._failures > TOGETHER

    def probe(self, attempts: Sequence[int]) -> int:
        """
        Choose the subject that shows whether the target is back: the first one, and every other time the first that was not
        tried often, so that some that always fail hold up nobody.
        """
        self._turn = not self._turn
        fresh = (n for n, tried in enumerate(attempts) if tried <= TOGETHER)
        return 0 if self._turn else next(fresh, 0)

    def end(self) -> None:
        """End the wait, because a person wants the target to be asked now."""
        self.until = self._clock()

    def heard(self, outcomes: Sequence[Outcome]) -> None:
        """Take note of the target's answers: a failure prolongs the wait, a success ends the row of failures."""
        away = [outcome for outcome in outcomes if isinstance(outcome, Unavailable | Unknown)]
        if not away:
            self.came_back = self.came_back or self.away
            self._failures = 0
            return
        self.came_back = False
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


def in_order(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Subjects in the order in which they are sent: the urgent ones first, and of these the often tried ones last."""
    return sorted(wanted, key=lambda w: (w.task.urgency, max(w.task.attempts, TOGETHER)))


def portion(left: Sequence[Wanted], patience: Patience) -> tuple[Sequence[Wanted], Sequence[Wanted]]:
    """
    The subjects to send together now, and the rest: all with few attempts, or ever smaller portions of the often tried ones.

    Attempts say nothing of a subject where nobody came through: so one goes alone while the target is away, and all go
    together once it has come back.
    """
    if patience.away:
        probe = patience.probe([w.task.attempts for w in left])
        return [left[probe]], [*left[:probe], *left[probe + 1 :]]
    if patience.came_back:
        return left, []
    often = [w.task.attempts > TOGETHER for w in left]
    alike = next((n for n, each in enumerate(often) if each != often[0]), len(left))
    size = max(alike >> (left[0].task.attempts - TOGETHER), 1) if often[0] else alike
    return left[:size], left[size:]
