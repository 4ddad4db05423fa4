"""How long a target is left alone: as long as it asks for, else longer each time that it does not answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from flows.port import LONGEST_SILENCE, Outcome, Unavailable, Unknown
from flows.settle import Wanted

_LONGEST_WAIT = 60.0  # seconds between attempts at a target that says nothing of when to come again
_LONGEST_ALONE = 900.0  # the same for one subject whose every attempt fails, while others succeed
TOGETHER = 3
"""Attempts of a subject together with others; then in ever smaller portions, until the culprit stands alone."""


class Patience:
    """One worker's patience with its target. `clock` gives seconds, of which only differences count."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.until = 0.0
        self._since = 0.0
        self._failures = 0

    def left(self) -> float:
        """For how many seconds the target is left alone."""
        return max(self.until - self._clock(), 0.0)

    def age(self) -> float:
        """For how many seconds it has been left alone."""
        return self._clock() - self._since

    def end(self) -> None:
        """A person wants it to be asked now."""
        self.until = self._clock()

    def heard(self, outcomes: Sequence[Outcome]) -> None:
        """What the target answered."""
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
        """After how many seconds to try again: with everybody else, or ever later where one subject always fails."""
        attempts = wanted[0].task.attempts
        if len(wanted) > 1 or attempts <= TOGETHER or self._failures > TOGETHER:
            return self.left()
        return max(self.left(), min(0.25 * 2.0 ** min(attempts, 16), _LONGEST_ALONE))


def portion(left: Sequence[Wanted]) -> tuple[Sequence[Wanted], Sequence[Wanted]]:
    """What to send together, and the rest: all that was tried seldom, else the fewer the oftener it was tried."""
    seldom = sum(w.task.attempts <= TOGETHER for w in left)
    size = seldom or max(len(left) >> (left[0].task.attempts - TOGETHER), 1)
    return left[:size], left[size:]
