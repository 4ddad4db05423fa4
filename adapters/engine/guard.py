"""
The guard: a reading that takes much away at once is held back until a person lets it through.

A warehouse that is being rebuilt looks like one whose records were all deleted, or whose children have all lost their
addresses. So deletions, changes that empty a field, and changes that go back to former content wait for the reading's
end. They are counted over a day, and are published only if they are few, or a small share. `Watch` counts and judges;
the pump publishes. Each kind of held changes is one entry (`Guarded`); all other changes go on.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from adapters.engine.contents import TAG, Contents
from adapters.engine.difference import Aside
from adapters.engine.journal import Guarded, Known, Memory

log = logging.getLogger(__name__)

DELETED = "deleted"
WENT_BACK = "went back"
_DOUBT = "accept "
_SHORTENED = "shortened "
_DAY = timedelta(days=1).total_seconds()
_FLOOR = 5
_MARK = 12  # letters of an extract's digest that tell its content from others
_KEPT = 2000  # changes put aside that one reading keeps in memory
_FORMER, _SHORT = 4, 6  # fingerprints of former content that are kept of each record, and the bytes of each fingerprint


def emptied(field: str) -> str:
    """The kind of change that empties a field."""
    return f"emptied {field}"


def shortened(field: str) -> str:
    """The kind of change that makes a list shorter."""
    return f"{_SHORTENED}{field}"


def sentence(entry: Guarded) -> str:
    """The words for a held entry."""
    if entry.what.startswith(_DOUBT):
        doubt = entry.what.split()[1]
        return f"one file, or a row of it, is refused because of its {doubt}; a person who has looked may accept it"
    number, base, (kind, _, field) = entry.held, max(entry.base, entry.held), entry.what.partition(" ")
    where = " of one file" if entry.region else ""
    match entry.what:
        case "deleted":
            return f"{number} of {base} records{where} are missing"
        case "went back":
            return f"{number} of {base} records{where} went back to their former content"
        case _ if kind == "shortened":
            return f"{number} of {base} records{where} lost some of their {field}"
        case _:
            return f"{number} of {base} records{where} lost their {field}"


def allowance(held: int) -> int:
    """
    Tell how many changes may go once a person has let `held` through: a few more than were shown, because the system
    goes on.
    """
    return math.ceil(held * 1.1)


def accepted(entries: Iterable[Guarded], region: str, digest: str) -> frozenset[str]:
    """Return the doubts about an extract with this content that a person has accepted."""
    here = (e.what.split() for e in entries if e.region == region and e.what.startswith(_DOUBT) and (e.allowed or e.done))
    return frozenset(doubt for _, doubt, mark in here if mark == digest[:_MARK])


@dataclass(frozen=True, slots=True)
class Guard:
    """
    The limits for taking away from a stream, or from one file's records, within a day.

    A change is held back if more than `share` of the records and more than `few` of them are affected. It is also held back
    if it would take everything and there were at least 5 records (in a file: 1). A share of 1 or more holds nothing back.
    """

    share: float = 0.2
    few: int = 20

    @property
    def off(self) -> bool:
        return self.share >= 1

    def holds(self, total: int, base: int) -> bool:
        """Tell whether a loss of `total` out of `base` within a day is too much."""
        return not self.off and total > self.few and total > self.share * base


class Watch:
    """
    Counts the losses of one reading of a stream, kind by kind, and judges them by the guard.

    An entry with `since` is held. An entry with `held` and without `since` was let through, and is counted in `done`: so many
    of its changes may still be published without being put aside. The entry is saved before the first of them is published,
    so that a kill loses no count.
    """

    def __init__(self, guard: Guard, contents: Contents, entries: Iterable[Guarded], now: float) -> None:
        self._guard = guard
        self._contents = contents
        self._entries = {(e.region, e.what): e for e in entries}
        self._changed: set[tuple[str, str]] = set()
        self._now = now
        self._region = ""
        self._filled: Mapping[bytes | None, int] | None = None
        self._counts: Counter[str] = Counter()
        self._kept: list[Aside] = []
        self._left = False

    def begin(self, region: str = "") -> None:
        """Begin a new count: for the whole stream, or for one extract."""
        self._region, self._filled = region, None
        self._counts, self._kept, self._left = Counter(), [], False

    @property
    def held(self) -> int:
        """The number of the stream's deletions and changes that wait for a person."""
        return sum(e.held for e in self._entries.values() if e.since is not None)

    def due(self, completed: float) -> bool:
        """
        Tell whether held changes need a sweep now: a person let them through, or they were held after the last whole sweep had
        been completed.
        """
        whole = (e for (region, _), e in self._entries.items() if not region and e.since is not None)
        return any(e.allowed is not None or (e.since or 0) > completed for e in whole)

    def allowed(self, region: str) -> bool:
        """Tell whether an unchanged extract has to be read again because a person has let its changes through."""
        return any(
            e.allowed is not None or (e.since is None and e.held > 0)
            for (where, _), e in self._entries.items()
            if where == region
        )

    def changed(self) -> list[Guarded]:
        """The entries that were changed since the last call; they are to be saved."""
        changed = [self._entries[each] for each in sorted(self._changed)]
        self._changed.clear()
        for e in changed:
            self._entries[e.region, e.what] = replace(e, was=e.allowed)
        return changed

    # -- doubts about a whole extract --------------------------------------------------------------------------------

    def doubt(self, digest: str, doubts: Iterable[str]) -> None:
        """
        Hold an extract with this content, or rows of it, back because of doubts that a person may accept. Its other doubts end;
        one that was accepted stays accepted for its content.
        """
        names = [_doubt(doubt, digest) for doubt in doubts]
        for (region, what), e in list(self._entries.items()):
            if region == self._region and what.startswith(_DOUBT) and e.held and what not in names:
                self._put(replace(e, done=int(e.allowed is not None), held=0, since=None, allowed=None))
        for what in names:
            had = self._entries.get((self._region, what))
            known = had is not None and (had.held or had.done)  # else it ended, and its content is there again
            self._put(had if had and known else Guarded(self._region, what, self._now, held=1, since=self._now))

    def accepted(self, region: str, digest: str) -> frozenset[str]:
        """The doubts about an extract with this content that a person has accepted, now or before."""
        return accepted(self._entries.values(), region, digest)

    def keeps(self, region: str) -> bool:
        """Tell whether an extract's deletions are held back."""
        entry = self._entries.get((region, DELETED))
        return entry is not None and entry.since is not None and entry.held > 0

    # -- while rows are compared ---------------------------------------------------------------------------------

    def takes_away(self, known: Known, filled: bytes, fingerprint: bytes) -> tuple[str, ...]:
        """The kinds of loss for which a change has to be put aside; none if it may be published."""
        if self._guard.off or known.filled is None:
            return ()
        kinds = [emptied(name) for name in self._contents.emptied(known.filled, filled)]
        kinds += [shortened(name) for name in self._contents.shortened(known.filled, filled)]
        if known.former and fingerprint[:_SHORT] in _pieces(known.former):
            kinds.append(WENT_BACK)
        if known.filled[:TAG] != filled[:TAG]:
            # A new edition of the mapping may leave out a field on purpose; a kind that is held already stays held.
            kinds = [kind for kind in kinds if self._is_held(kind)]
        if kinds and all(self._let(kind) for kind in kinds):
            for kind in kinds:
                self._spend(kind, 1)
            return ()
        return tuple(kinds)

    def remember(self, known: Known, filled: bytes, fingerprint: bytes) -> None:
        """Note the content of the change that is published now, and the fingerprint of the content before it."""
        if known.filled is None or known.filled[:TAG] != filled[:TAG]:
            known.former = None
        elif known.fingerprint is not None and known.fingerprint != fingerprint:
            known.former = (known.fingerprint[:_SHORT] + (known.former or b""))[: _FORMER * _SHORT]
        known.filled = filled

    def contents(self, entity: type, data: bytes) -> bytes:
        return self._contents.of(entity, data)

    def put_aside(self, asides: Iterable[Aside]) -> None:
        """Count changes put aside, and keep as many as there is room for."""
        for aside in asides:
            self._counts.update(aside.kinds)
            if len(self._kept) < _KEPT:
                self._kept.append(aside)
            else:
                self._left = True

    # -- at the reading's end ------------------------------------------------------------------------------------

    @property
    def day_begins(self) -> bool:
        """Tell whether a new day begins for deletions: then call `day` with the number of living records."""
        return self._entry(DELETED, 0).base == 0

    def day(self, live: int) -> None:
        """Begin the stream's day with so many records."""
        self._put(self._entry(DELETED, live))

    def deletions(self, missing: int, held: int, left: int) -> bool:
        """
        Tell whether the deletion of missing records may be published; `held` records were there before, `left` are
        there now. If none is missing, the other two do not matter.
        """
        return self._judge(DELETED, missing, held, left)

    def deleted(self, number: int) -> None:
        """Count deletions that are about to be published."""
        self._spend(DELETED, number)

    async def changes(self, memory: Memory, stream: str, *, whole: bool = True) -> list[Aside]:
        """
        The changes put aside that may be published now. If the reading was not `whole`, changes that it did not meet again stay
        as they were, and a person's permission waits for one that is.
        """
        here = [w for (r, w), e in self._entries.items() if r == self._region and w != DELETED and e.held]
        here = [what for what in here if not what.startswith(_DOUBT)]
        wait = set() if whole else {kind for kind in here if self._entry(kind, 0).allowed is not None}
        counts = {kind: count for kind, count in self._counts.items() if kind not in wait}
        allowed = {kind for kind, count in counts.items() if self._by_a_person(self._entry(kind, 0), count)}
        free = set(allowed)
        for kind in dict.fromkeys([*self._counts, *here]):
            if kind in allowed | wait:
                continue
            count, entry = self._counts[kind], self._entries.get((self._region, kind))
            if not whole and entry:
                count = max(count, entry.held)
            if await self._lets(memory, stream, kind, count):
                free.add(kind)
        released = self._released(free)
        # A person's permission counts once. It is not used up yet if all of these changes are also held for another reason.
        for kind in allowed.intersection(k for aside in released for k in aside.kinds):
            await self._lets(memory, stream, kind, self._counts[kind])
        return released

    def page(self) -> list[Aside]:
        """The changes of a tail's page that may be published now; if they are not few, they wait for the next sweep."""
        free = {kind for kind, count in self._counts.items() if self._few(kind, count)}
        released = self._released(free)
        self.begin()
        return released

    def spend(self, asides: Iterable[Aside]) -> None:
        """Count these changes, which are about to be published."""
        for kind, number in Counter(k for aside in asides for k in aside.kinds).items():
            self._spend(kind, number)

    def end(self, *, whole: bool = True) -> bool:
        """End a reading that has published all it may. True if the next one has to publish changes that were not kept."""
        let = [e for (region, _), e in self._entries.items() if region == self._region and e.held and e.since is None]
        if whole and not self._left:
            for entry in let:
                self._put(replace(entry, held=0))
        return self._left and bool(let)

    def say(self, where: str) -> None:
        """Log the held changes, and the next step for a person."""
        for e in sorted(self._entries.values(), key=lambda e: (e.region, e.what)):
            if e.region == self._region and e.since is not None and e.held:
                log.error(
                    "%s: %s; this is held back, the rest goes on. To do: if the system is being rebuilt, wait; if the "
                    "changes are right, let them through with: ironbridge held allow %s --what '%s' --why '…'",
                    where, sentence(e), where, e.what,
                )  # fmt: skip

    # -- judging -------------------------------------------------------------------------------------------------

    def _judge(self, what: str, more: int, of: int, left: int | None = None) -> bool:
        """Tell whether `more` of `of` records may be taken away; `left` records would be there then."""
        if not more:
            had = self._entries.get((self._region, what))
            if had is not None and had.held:
                self._put(replace(had, held=0, since=None, allowed=None))
            return True
        entry = self._entry(what, of)
        left = of - more if left is None else left
        if self._by_a_person(entry, more):
            # A person has seen and allowed it: the day begins anew behind it.
            self._put(Guarded(self._region, what, self._now, base=max(of - more, 0), held=more, was=entry.was))
            return True
        counted = min(entry.held, more) if entry.since is None else 0
        total = entry.done - counted + more
        floor = 1 if self._region and what == DELETED else _FLOOR
        if self._guard.holds(total, entry.base) or (left <= 0 and of >= floor and not self._guard.off):
            self._put(
                replace(entry, done=entry.done - counted, held=more, since=entry.since or self._now, allowed=None)
            )
            return False
        self._put(replace(entry, done=total, held=more, since=None, allowed=None))
        return True

    @staticmethod
    def _by_a_person(entry: Guarded, more: int) -> bool:
        """Tell whether a person has let so many changes through."""
        return entry.since is not None and entry.allowed is not None and more <= entry.allowed

    def _few(self, kind: str, count: int) -> bool:
        entry = self._entry(kind, 0)
        if entry.since is None and entry.done + count <= self._guard.few:
            self._put(replace(entry, done=entry.done + count, held=count))
            return True
        if entry.since in (None, self._now):
            self._put(replace(entry, held=count + (entry.held if entry.since else 0), since=self._now))
        return False

    def _entry(self, what: str, of: int) -> Guarded:
        """The day's count. A day does not end while changes are held."""
        entry = self._entries.get((self._region, what))
        # A day that begins a day ahead was noted before the clock was set back, and would not end for long.
        if entry is None or (not entry.held and abs(self._now - entry.began) >= _DAY):
            return Guarded(self._region, what, self._now, base=of, was=entry.was if entry else None)
        return entry if entry.base else replace(entry, base=of + entry.done)

    def _put(self, entry: Guarded) -> None:
        if self._entries.get((entry.region, entry.what)) != entry:
            self._entries[entry.region, entry.what] = entry
            self._changed.add((entry.region, entry.what))

    def _is_held(self, kind: str) -> bool:
        entry = self._entries.get((self._region, kind))
        return entry is not None and entry.since is not None

    def _let(self, kind: str) -> bool:
        entry = self._entries.get((self._region, kind))
        return entry is not None and entry.since is None and entry.held > 0

    def _spend(self, kind: str, number: int) -> None:
        entry = self._entries.get((self._region, kind))
        if entry is not None and entry.since is None and entry.held:
            self._put(replace(entry, held=max(entry.held - number, 0)))

    def _released(self, free: set[str]) -> list[Aside]:
        """The changes of which every kind is free; one that is held for another kind is not counted as published."""
        stuck = Counter(k for aside in self._kept if not free.issuperset(aside.kinds) for k in aside.kinds)
        for kind in free & stuck.keys():
            entry = self._entries.get((self._region, kind))
            if entry is not None and entry.since is None:
                number = min(stuck[kind], entry.held)
                self._put(replace(entry, done=max(entry.done - number, 0), held=entry.held - number))
        return [aside for aside in self._kept if free.issuperset(aside.kinds)]

    async def _lets(self, memory: Memory, stream: str, kind: str, count: int) -> bool:
        """Judge so many changes of a kind."""
        if not count:
            return self._judge(kind, 0, 0)
        of = await self._of(memory, stream, kind)
        # Few records have a long list: if all of these lists become shorter, that is not yet all that the stream holds.
        hold = await self._of(memory, stream, emptied(kind.removeprefix(_SHORTENED))) if kind.startswith(_SHORTENED) else of
        return self._judge(kind, count, of, hold - count)

    async def _of(self, memory: Memory, stream: str, kind: str) -> int:
        """The number of records that could have such a change."""
        if self._filled is None:
            self._filled = await memory.filled(stream, self._region or None)
        if kind == WENT_BACK:
            return sum(self._filled.values())
        return sum(n for filled, n in self._filled.items() if filled and kind in self._kinds(filled))

    def _kinds(self, filled: bytes) -> list[str]:
        """The kinds of loss that a record with such content can have."""
        return [*map(emptied, self._contents.names(filled)), *map(shortened, self._contents.long(filled))]


def _doubt(doubt: str, digest: str) -> str:
    """The entry's name: the doubt, and a mark of the content that it is about."""
    return f"{_DOUBT}{doubt} {digest[:_MARK]}"


def _pieces(former: bytes) -> set[bytes]:
    return {former[at : at + _SHORT] for at in range(0, len(former), _SHORT)}
