"""
By which edition a worker works.

Editions are numbered as they are opened, and one is open at a time. A worker opens its own where none is open, when its
process starts (an upgrade, or a rollback, takes over at once), when its own edition changes while the open one is the
one that it had (the day turns), and where those who work by the open one gave no sign of life for `HOLD` seconds. Else a
worker whose edition is another one than the open one stands by: it takes nothing. So two releases side by side do not
take turns, and the last one that is left goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import date

from flows.ledger import Edition, Ledger
from flows.port import Flow

log = logging.getLogger(__name__)


class Editions:
    """One worker's edition. `open` is the one that it works by, None while it stands by; `had` the last one it worked by."""

    def __init__(self, flow: Flow, ledger: Ledger, today: Callable[[], date]) -> None:
        self._flow = flow
        self._ledger = ledger
        self._today = today
        self.open: Edition | None = None
        self.had: Edition | None = None
        self._relooks = False
        self._looking = asyncio.Lock()  # else a worker that starts takes itself for one that goes on

    @property
    def stands_by(self) -> bool:
        """Whether another edition than this worker's is at work."""
        return self.had is not None and self.open is None

    async def look(self) -> bool:
        """Open this worker's edition, or join those who work by it; whether subjects may be dirty for that."""
        async with self._looking:
            return await self._look()

    async def _look(self) -> bool:
        before = self.open
        self.open = await self._ledger.reopen(self._flow.edition(self._today()), self.had)
        if self.open is None:
            if before is not None:
                log.warning(
                    "%s: another release, or another day, is at work on this flow: this worker stands by, and takes over "
                    "once the others have given no sign of life for a while",
                    self._flow.name,
                )
            return False
        if self.open == before:
            return False
        if self.had is not None and before is None:
            log.warning("%s: this worker goes on", self._flow.name)
        self._relooks = True
        try:
            await self.relook()
        finally:
            self.had = self.open  # from now on subjects are taken: what is in hand when it is marked is looked at twice
        return True

    async def relook(self) -> bool:
        """Mark the next slice of what was settled by an older edition; whether there may be more."""
        if self.open is None:
            return False  # it stands by: those who work by the open edition look through what is left
        if self._relooks:
            self._relooks = await self._ledger.relook(self.open)
        return self._relooks
