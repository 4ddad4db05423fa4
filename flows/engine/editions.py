"""
The edition by which a worker works.

An edition's name stands for all that documents depend on besides the facts and the day: code and settings. A process has one
name for its whole life. Editions are numbered as they are opened, and one is open at a time. A worker opens its own edition
in these cases: none is open; its process starts (so an upgrade or a rollback takes over at once); or the workers of the open
edition gave no sign of life for `HOLD` seconds. Otherwise a worker whose edition is not the open one stands by: it takes no
subjects. So two releases side by side do not take turns, and the last one that is left goes on.

The day is no part of an edition. Each settlement says from which day on its outcome may be another one (`Facts.recheck`), so
it does not matter by which day a worker worked it out, or how late it is saved: when that day has come, by the clock that all
workers share, the subject is marked and looked at again, and no other subject is.
"""

from __future__ import annotations

import asyncio
import logging

from flows.engine.ledger import Edition, Ledger

log = logging.getLogger(__name__)


class Editions:
    """One worker's edition. `open` is the one it works by (None while it stands by), `had` the last one it worked by."""

    def __init__(self, flow: str, name: str, ledger: Ledger) -> None:
        self._flow = flow
        self._name = name
        self._ledger = ledger
        self.open: Edition | None = None
        self.had: Edition | None = None
        self._relooks = False
        self._looking = asyncio.Lock()  # else a worker that starts takes itself for one that goes on

    @property
    def stands_by(self) -> bool:
        """Tell whether another edition than this worker's is at work."""
        return self.had is not None and self.open is None

    async def look(self) -> bool:
        """Open this worker's edition, or join the workers of the open one. True if this may have made subjects dirty."""
        async with self._looking:
            return await self._look()

    async def _look(self) -> bool:
        before = self.open
        self.open = await self._ledger.reopen(self._name, self.had)
        if self.open is None:
            if before is not None:
                log.warning(
                    "%s: another release is at work on this flow: this worker stands by, and takes over once the others have "
                    "given no sign of life for a while",
                    self._flow,
                )
            return False
        if self.open == before:
            return False
        if self.had is not None and before is None:
            log.warning("%s: this worker goes on", self._flow)
        self._relooks = True
        try:
            await self.relook()
        finally:
            self.had = self.open  # from now on subjects are taken: what is in hand when it is marked is looked at twice
        return True

    async def relook(self) -> bool:
        """
        Mark the next slice of subjects that an older edition settled, or else of those whose day has come. True if there may
        be more.
        """
        if self.open is None:
            return False  # it stands by: the workers of the open edition mark the rest
        if self._relooks:
            self._relooks = await self._ledger.relook(self.open)
        return self._relooks or await self._ledger.turn()
