"""A target's budget of requests, shared by all workers of it through the state database."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from flows.engine.clock import steady
from flows.port import LONGEST_SILENCE, Limits
from ironbridge.store import Store
from ironbridge.store.database import now
from ironbridge.store.statement import text
from ironbridge.store.subjects import EARLIEST, found

_BURST = 0.04
"""The share of a window's requests that may go at once; the rest is spread over the window."""
_FRESH = 1.0
"""Seconds that an allowance may be kept, at most: so long after a hold another worker may still send."""
_LONGEST_SLEEP = 5.0
_ASTRAY = 5.0  # seconds; two workers' readings of the database's clock never differ by more


class BudgetStanding(NamedTuple):
    """
    Says how many of the requests that may go at once are used and how many are left, and for how many seconds the
    target has asked for silence.
    """

    used: float
    left: float
    held: float


class SharedBudget:
    """
    Allows at most `limits.requests` within any `limits.window` seconds, and none while the target asks for silence, a quarter
    of an hour at most (`flows.kit.requests.Budget`). `clock` gives the seconds by which an allowance that this worker took
    expires; only differences between its values count.

    It is the generic cell rate algorithm (ITU-T I.371): one moment in the database, by the database's clock, tells when all
    spent requests are made up for. If that moment lies further ahead than it ever can, it was written before the clock was
    set back, and is cut down. A busy worker takes its allowance some requests at a time; an allowance not used soon is lost.

    :raises UnavailableError: the state database is away.
    """

    def __init__(
        self,
        store: Store,
        target: str,
        limits: Limits,
        *,
        clock: Callable[[], float] = steady,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        burst = max(int(limits.requests * _BURST), 1)
        self._fresh = min(_FRESH, limits.window / 100)
        # Within any window go the burst and what is made up for meanwhile: together no more than the limit. What was
        # taken may go a little later; and a moment of our days is known to a quarter of a microsecond only.
        self._cost = (limits.window + self._fresh) * (1 + 1e-6) / (limits.requests - burst + 1)
        self._burst = burst
        self._store = store
        self._target = target
        self._clock = clock
        self._sleep = sleep
        self._portion = 1
        self._mine = 0
        self._until = -math.inf
        self._turn = asyncio.Lock()

    async def spend(self, requests: int) -> None:
        """Wait until so many requests may go, and count them as gone."""
        async with self._turn:
            for _ in range(requests):
                # What has just been taken is spent however long the database took: else a slow one would starve us.
                while (self._mine < 1 or self._clock() >= self._until) and (wait := await self._take()) > 0:
                    await self._sleep(min(wait, _LONGEST_SLEEP))
                self._mine -= 1

    async def hold(self, after: timedelta) -> None:
        """Record that the target asked for silence: nobody sends for so long, but for no longer than `LONGEST_SILENCE`."""
        self._mine = 0
        async with self._store.write() as connection:
            until = self._store.clock() + min(after, LONGEST_SILENCE).total_seconds()
            await connection.execute(
                text(
                    "INSERT INTO budgets (target, full_at, held) VALUES (:target, :full, :until) ON CONFLICT (target) "
                    "DO UPDATE SET held = excluded.held WHERE budgets.held < excluded.held"
                ),
                {"target": self._target, "until": until, "full": 0.0},
            )

    async def standing(self) -> BudgetStanding:
        """Return how much of it is used, for those who watch; it takes nothing."""
        async with self._store.read() as connection:
            at = self._store.clock()
            row = await connection.execute(
                text("SELECT full_at, held FROM budgets WHERE target = :target"), {"target": self._target}
            )
            full_at, held = row.one_or_none() or (0.0, 0.0)
        used = min(max(float(full_at) - at, 0.0) / self._cost, float(self._burst))
        return BudgetStanding(used, self._burst - used, min(max(float(held) - at, 0.0), LONGEST_SILENCE.total_seconds()))

    async def _take(self) -> float:
        """Take an allowance; how long to wait (seconds) where there is none."""
        # A worker that uses up what it takes takes more at a time; the first request after a pause takes one.
        asked = self._clock()
        busy = self._mine < 1 and asked < self._until
        self._portion = min(self._portion * 2, max(self._burst // 10, 1)) if busy else 1
        async with self._store.write() as connection:
            at = self._store.clock()
            most = at + self._burst * self._cost
            bound = {"target": self._target, "now": at, "price": self._portion * self._cost, "most": most}
            await connection.execute(
                text("INSERT INTO budgets (target, full_at) VALUES (:target, :now) ON CONFLICT (target) DO NOTHING"),
                {"target": self._target, "now": at},
            )
            paid = await connection.execute(
                text(
                    f"UPDATE budgets SET full_at = {_FROM} + CAST(:price AS float8) WHERE target = :target "  # noqa: S608
                    f"AND held <= CAST(:now AS float8) AND {_FROM} + CAST(:price AS float8) <= CAST(:most AS float8)"
                ),
                bound,
            )
            if paid.rowcount == 1:
                self._mine, self._until = self._portion, asked + self._fresh
                return 0.0
            wait = await self._wait(connection, at, most)
        self._mine, self._until = 0, -math.inf  # scarce: one at a time from now on
        return wait

    async def _wait(self, connection: AsyncConnection, at: float, most: float) -> float:
        """Seconds to wait. A stored moment that lies further ahead than it ever can is moved back to the latest possible one."""
        longest = at + LONGEST_SILENCE.total_seconds()
        await connection.execute(
            text(
                "UPDATE budgets SET full_at = CASE WHEN full_at > :most THEN :most ELSE full_at END, "
                "held = CASE WHEN held > :longest THEN :longest ELSE held END "
                "WHERE target = :target AND (full_at > :far OR held > :longest)"
            ),
            {"target": self._target, "most": most, "longest": longest, "far": most + _ASTRAY},
        )
        row = await connection.execute(
            text("SELECT full_at, held FROM budgets WHERE target = :target"), {"target": self._target}
        )
        full_at, held = row.one()
        return max(float(held) - at, float(full_at) + self._cost - most, 0.0) + 1e-6


async def release(connection: AsyncConnection, target: str) -> bool:
    """
    Lift the silence that a target has asked for, for all workers of all its flows and for all subjects that were put back
    because of it. True if there was any. The workers go on within a few seconds.
    """
    bound = {"target": target, "now": now(connection)}
    held = await connection.execute(
        text("UPDATE budgets SET held = 0 WHERE target = :target AND held > CAST(:now AS float8)"), bound
    )
    await connection.execute(text(f"UPDATE flows SET lifted = :now WHERE {_WRITES_THERE}"), bound)  # noqa: S608 (our own words)
    those = found(connection, "state = 'dirty' AND due > :now")
    flows = await connection.execute(text(f"SELECT name FROM flows WHERE {_WRITES_THERE} ORDER BY name"), bound)  # noqa: S608
    back = 0
    for (flow,) in flows.fetchall():
        woken = await connection.execute(
            text(f"UPDATE subjects SET due = {EARLIEST} WHERE flow = :flow AND {those}"),  # noqa: S608 (our own words)
            {"flow": flow, "now": bound["now"]},
        )
        back += woken.rowcount
    return held.rowcount + back > 0


async def target_of(connection: AsyncConnection, name: str) -> str:
    """The target that a flow of this name writes to; the name itself if it is no flow's."""
    row = await connection.execute(text("SELECT target FROM flows WHERE name = :name"), {"name": name})
    return row.scalar_one_or_none() or name


_WRITES_THERE = "COALESCE(target, name) = :target"
_FROM = "(CASE WHEN full_at > CAST(:now AS float8) THEN full_at ELSE CAST(:now AS float8) END)"
