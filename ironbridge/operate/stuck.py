"""
Records that are stuck, grouped by their reason, so that a hundred alike need one decision.

A group holds the records of one part in one state for one cause (see store/causes.py). Groups are counted, and their
records read, from an index, a page at a time, so that 100,000 parked records show at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ironbridge.store import Store
from ironbridge.store import stuck as records
from ironbridge.store.causes import WAITING, WAITS, bare, cause_of
from ironbridge.store.standing import StuckRecord
from ironbridge.store.stuck import CountedGroup, StuckPage, StuckPlace

STATES = {
    "parked": "Parked", "waiting": "Waiting", "dropped": "Given up", "quarantined": "Quarantined", "rejected": "No event",
    "incomplete": "Incomplete",
}  # fmt: skip
ID = re.compile(r"[0-9a-f]{12}")
SHOWN = 50
"""Groups that are shown at a time."""
_TO_DO = ". To do: "
_NEXT = {
    "parked": "Mend the record in the legacy system, or the target's settings; then have it looked at again.",
    "waiting": "Nothing: it goes by itself once the record that it refers to is there. See that one's story.",
    "dropped": "Nothing: it was given up. The next change of its facts brings it back.",
    "quarantined": "Mend the record in the legacy system: it is then published by itself with the next reading.",
    "incomplete": "Mend the field in the legacy system: the record is published without it, and whole with the next reading.",
    "rejected": "Find out who writes to the topic besides Ironbridge's adapters.",
}


@dataclass(frozen=True, slots=True)
class Group:
    """
    Records of one part that are in one state for one reason. `rule` names the broken rule, `next` the person's next step.
    There are `count` of them; `example` is the first one's key, `oldest` the time since which the oldest is there (seconds
    since 1970). `rows` are given only if the group was made from rows.
    """

    id: str
    part: str
    state: str
    cause: str
    rule: str
    next: str
    count: int
    example: str
    oldest: float
    rows: tuple[StuckRecord, ...] = ()

    @property
    def word(self) -> str:
        return STATES.get(self.state, self.state)

    @property
    def keys(self) -> list[str]:
        return [row.key for row in self.rows]


@dataclass(frozen=True, slots=True)
class Listing:
    """Some groups, the number of all groups, and the number of records in each state."""

    groups: list[Group]
    total: int
    counts: dict[str, int]


async def groups(store: Store, most: int | None = SHOWN, skip: int = 0) -> Listing:
    """Groups: first the ones that need a person, then the largest first. `most` of them behind `skip`; None for all."""
    found = await records.counted(store, most, skip)
    made = [_group(each) for each in found.groups]
    return Listing(sorted(made, key=_order), found.total, dict.fromkeys(STATES, 0) | found.counts)


def _order(of: Group) -> tuple[int, int, str, str]:
    return records.ORDER.index(of.state), -of.count, of.part, of.cause


async def group(store: Store, name: str) -> Group | None:
    """The group of an id as it is now; None if it is empty, or if the id is none."""
    if not ID.fullmatch(name):
        return None
    found = await records.group(store, lambda part, state: _shifted(part, state, name))
    return _group(found) if found else None


async def page(store: Store, of: Group, most: int, *, start: str = "", before: str = "") -> StuckPage:
    """A page of a group's rows: from a key on, or the ones right before another key; the first page if there are none."""
    return await StuckPlace.of(of.part, of.state, of.cause).page(store, most, start=start, before=before)


async def members(store: Store, of: Group) -> AsyncIterator[list[str]]:
    """The keys of all records that are in a group now, in pieces. The caller may change a piece before asking for the next."""
    async for rows in StuckPlace.of(of.part, of.state, of.cause).pieces(store):
        yield [row.key for row in rows]


def everything(store: Store) -> AsyncIterator[list[StuckRecord]]:
    """Every stuck row, in pieces."""
    return records.everything(store)


def grouped(rows: Sequence[StuckRecord]) -> list[Group]:
    """The groups of some rows, in the same order and with the same ids as `groups` gives them."""
    found: dict[tuple[str, str, str], list[StuckRecord]] = {}
    for row in rows:
        cause = row.cause or cause_of(row.state, row.key, row.reason)
        found.setdefault((row.part, row.state, cause), []).append(row)
    made = [_made(part, state, cause, members) for (part, state, cause), members in found.items()]
    return sorted(made, key=_order)


def _made(part: str, state: str, cause: str, rows: Sequence[StuckRecord]) -> Group:
    first, oldest = min(rows, key=lambda row: row.key), min(row.since for row in rows)
    return _group(CountedGroup(part, state, cause, len(rows), first.key, oldest, first.reason), tuple(rows))


def _group(found: CountedGroup, rows: tuple[StuckRecord, ...] = ()) -> Group:
    # A record that was given up while it waited keeps its cause.
    said = WAITS if found.cause == WAITING else bare(found.state, found.key, found.reason)
    rule, _, fix = said.partition(_TO_DO)
    return Group(
        _shifted(found.part, found.state, found.cause), found.part, found.state, found.cause, rule,
        fix or _NEXT[found.state], found.n, found.key, float(found.since), rows,
    )  # fmt: skip


def _shifted(part: str, state: str, number: str) -> str:
    """
    Turns a cause into a group's id, and a group's id back into its cause: one is the other, shifted by a number that part and
    state give. So a group is found by its id without a look at the others.
    """
    by = hashlib.blake2b(f"{part}\0{state}".encode(), digest_size=6).digest()
    return f"{int(number, 16) ^ int.from_bytes(by, 'big'):012x}"
