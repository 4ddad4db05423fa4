"""
Remembers which payees the files of a folder name, so that a newer file can be held against the older ones that lie there.

They are remembered in this process alone, because names are personal data: after a start, older files are looked into again
when a new one comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.kit.places import Found
from adapters.payables.payees import EarlierPayees, Names
from canonical.errors import BadRecordError

FILES = 12
"""A file is compared with at most so many older files: with monthly extracts these are the files of a year."""
_KEPT = 3 * FILES


@dataclass(slots=True)
class EarlierFiles:
    """`look` gives the names in a file that this process has not read yet, and raises as reading it does."""

    look: Callable[[Found], Awaitable[Names]]
    _met: dict[Path, tuple[tuple[int, int], EarlierPayees]] = field(default_factory=dict)

    def remember(self, found: Found, names: Names) -> EarlierPayees:
        """Remember the names in a file as it is now; the file that was read the longest ago is forgotten."""
        payees = EarlierPayees(found.name, names)
        self._met.pop(found.path, None)
        self._met[found.path] = (found.look, payees)
        while len(self._met) > _KEPT:
            del self._met[next(iter(self._met))]
        return payees

    async def before(self, older: Sequence[Found]) -> tuple[EarlierPayees, ...]:
        """
        The payees of the newest of these files, the newest first. `older` is in the order of the files.

        :raises UnavailableError: one of the files cannot be read now.
        """
        return tuple([await self._payees(found) for found in reversed(older[-FILES:])])

    async def _payees(self, found: Found) -> EarlierPayees:
        had = self._met.get(found.path)
        if had is not None and had[0] == found.look:
            return had[1]
        try:
            names = await self.look(found)
        except BadRecordError:
            names = {}  # nothing of it is published
        return self.remember(found, names)
