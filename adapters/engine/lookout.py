"""
The lookout tells whether the journal is still the one that was published to: a topic may be made anew, or cut off,
under a pump's feet.

An event of ours that lies where it lay proves that the log was not cut off before it, and that what lay before it when it
was published still does. It cannot prove that the log was not made anew just before it was published. An older event can,
if it is still where it lay after that publication. So a mark names both until that was seen; it is looked for once a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from adapters.engine.elapsed import within
from adapters.engine.journal import NOTHING, Journal, Memory, Partition, Place, Step, Watermark, marks
from canonical import Event
from canonical.errors import UnavailableError

EVERY = timedelta(seconds=60)
"""How often the journal is looked at while the pump runs."""

EVERYWHERE = timedelta(hours=1)
"""How often the partitions are looked at, too, that end where they ended before: one that was made anew may end there again."""


class Lookout:
    """Follows one adapter's partitions from when it has caught up; the pump asks it before and after it publishes."""

    def __init__(self, adapter: str, journal: Journal, memory: Memory, clock: Callable[[], datetime]) -> None:
        self._adapter = adapter
        self._journal = journal
        self._memory = memory
        self._clock = clock
        self._proven: dict[Partition, Watermark] = {}
        self._since: dict[Partition, Watermark] = {}  # what was published last, with the older event that has yet to prove it
        self._behind: dict[Partition, int] = {}  # the offset behind all that is known to lie there
        self._ends: dict[Partition, int] = {}  # as they were at the last look
        self._looked = self._looked_everywhere = datetime.min.replace(tzinfo=UTC)

    def begin(self, proven: Mapping[Partition, Watermark]) -> None:
        """From now on: this is how far the partitions are proven."""
        self._proven, self._since, self._ends = dict(proven), {}, {}
        self._behind = {partition: mark.next for partition, mark in proven.items()}
        self._looked = self._looked_everywhere = self._clock()

    def published(self, events: Sequence[Event], places: Sequence[Place]) -> dict[Partition, Watermark]:
        """
        Note what was published; the marks to be remembered with it.

        :raises UnavailableError: it lies before what was published earlier: catch up.
        """
        for topic, partition, offset in places:
            if offset < self._behind.get((topic, partition), 0):
                raise UnavailableError(self._adapter, f"{topic}[{partition}] ends before what was published to it")
        newest = {where: self._with_older(where, mark) for where, mark in marks(events, places).items()}
        for where, mark in newest.items():
            (self._since if mark.since else self._proven)[where] = mark
            self._behind[where] = mark.next
        return newest

    def _with_older(self, where: Partition, mark: Watermark) -> Watermark:
        older = self._proven.get(where, NOTHING)
        return mark._replace(since=older.next, first=older.last)

    async def holds(self) -> bool:
        """Tell whether the journal is what it was, as far as it was looked at: once a minute at most."""
        now = self._clock()
        if within(EVERY, self._looked, now):
            return True
        ends = await self._journal.ends()
        if any(ends.get(p, 0) < behind for p, behind in self._behind.items()):
            return False
        everywhere = not within(EVERYWHERE, self._looked_everywhere, now)
        touched = {p for p in self._proven if everywhere or p in self._since or ends.get(p) != self._ends.get(p)}
        looked_for = {p: mark for p in touched if (mark := self._proven[p]).next}
        if looked_for and await self._journal.lying(looked_for) != looked_for.keys():
            return False
        proven = {p: Watermark(mark.next, mark.last) for p, mark in self._since.items()}
        if proven:
            await self._memory.save("", Step(offsets=proven))
        self._proven |= proven
        self._since, self._ends, self._looked = {}, ends, now
        if everywhere:
            self._looked_everywhere = now
        return True
