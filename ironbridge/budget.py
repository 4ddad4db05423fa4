"""A target's budget of requests, shared by all workers of it through the state database."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from sqlalchemy import text

from flows.port import Limits
from ironbridge.store import Store

_SLICES = 20  # a window is spent in slices, so that no burst at its edge makes it twice as wide


class SharedBudget:
    """
    At most `limits.requests` in `limits.window` seconds, and silence as long as the target asks for it (`flows.http.Budget`).

    Allowance is taken from the database some requests at a time; what a worker took and did not use is lost with its slice.
    """

    def __init__(self, store: Store, target: str, limits: Limits) -> None:
        self._store = store
        self._target = target
        self._slice = limits.window / _SLICES
        self._most = max(limits.requests // _SLICES, 1)
        self._portion = max(min(self._most // 10, 2 * limits.concurrency), 1)
        self._mine = 0
        self._until = 0.0
        self._turn = asyncio.Lock()

    async def spend(self, requests: int) -> None:
        async with self._turn:
            while self._mine < requests or time.time() >= self._until:
                wait = await self._take(max(requests, self._portion))
                if wait > 0:
                    await asyncio.sleep(wait)
            self._mine -= requests

    async def hold(self, after: timedelta) -> None:
        until = time.time() + after.total_seconds()
        self._mine = 0
        async with self._store.write() as connection:
            await connection.execute(
                text("UPDATE budgets SET held = :until WHERE target = :target AND COALESCE(held, 0) < :until"),
                {"until": until, "target": self._target},
            )

    async def _take(self, portion: int) -> float:
        """Take a portion; how long to wait (seconds) where there is none."""
        now = time.time()
        window = now - now % self._slice
        async with self._store.write() as connection:
            await connection.execute(
                text(
                    'INSERT INTO budgets (target, "window", used) VALUES (:target, :window, 0) ON CONFLICT (target) DO UPDATE '
                    'SET used = CASE WHEN budgets."window" = excluded."window" THEN budgets.used ELSE 0 END, '
                    '"window" = excluded."window"'
                ),
                {"target": self._target, "window": window},
            )
            row = await connection.execute(
                text("SELECT used, COALESCE(held, 0) FROM budgets WHERE target = :target"), {"target": self._target}
            )
            used, held = row.one()
            if held > now:
                return min(float(held) - now, 5.0)
            granted = min(portion, self._most - used)
            if granted <= 0:
                return window + self._slice - now
            await connection.execute(
                text("UPDATE budgets SET used = used + :granted WHERE target = :target"),
                {"granted": granted, "target": self._target},
            )
        self._mine, self._until = granted, window + self._slice
        return 0.0
