"""Tells which parts should run somewhere on this state, and run nowhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flows.engine.clock import steady
from ironbridge.store import Store, signs


@dataclass(frozen=True, slots=True)
class AbsentPart:
    """
    A part that should run somewhere and runs nowhere. `since` is its last sign of life (seconds since 1970), None if none is
    known. `seconds` have passed since then, None also if the sign lies in the future.
    """

    part: str
    since: float | None = None
    seconds: float | None = None

    @property
    def why(self) -> str:
        """Says since when, and what to do."""
        return (
            f"runs nowhere: {self._last}. To do: start the process that runs it, or look into that process's log for the "
            "reason why it does not begin; if the part is not meant to run, take it out of the setting `expected`"
        )

    @property
    def _last(self) -> str:
        if self.since is None:
            return "no sign of life of it is known"
        at = f"{datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M:%S UTC}"
        if self.seconds is None:
            return f"its last sign of life is of {at}, before the database's clock was set back"
        return f"its last sign of life was at {at}, {timedelta(seconds=round(self.seconds))} ago"


async def absent(store: Store, expected: Sequence[str]) -> list[AbsentPart]:
    """The expected parts that have given no sign of life of late, in the order in which they are expected."""
    given = {sign.part: sign for sign in await signs.given(store)}
    return [_absent(part, given.get(part)) for part in expected if not _lives(given.get(part))]


def _lives(sign: signs.Sign | None) -> bool:
    """A sign from the future was given before the clock was set back. It does not count: a living part soon gives another."""
    return sign is not None and abs(sign.ago) <= signs.LIFE


def _absent(part: str, sign: signs.Sign | None) -> AbsentPart:
    if sign is None:
        return AbsentPart(part)
    return AbsentPart(part, sign.at, round(sign.ago, 1) if sign.ago > 0 else None)


class RollCall:
    """
    Calls the roll for one process. After the process's own start, and after each time that the state was away, it gives the
    parts as long to say that they live as a sign of life counts. `clock` gives seconds; only differences between its values
    count.
    """

    def __init__(self, store: Store, expected: Sequence[str], clock: Callable[[], float] = steady) -> None:
        self.expected = expected
        self._store = store
        self._clock = clock
        self._since = clock()

    async def absent(self) -> list[AbsentPart]:
        """
        The expected parts that run nowhere.

        :raises UnavailableError: the state is away.
        """
        try:
            found = await absent(self._store, self.expected)
        except BaseException:  # also the end of somebody's patience
            self._since = self._clock()
            raise
        return found if self._clock() - self._since > signs.LIFE else []
