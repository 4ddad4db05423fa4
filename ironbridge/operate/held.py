"""
Changes that the guard holds back (see adapters/engine/guard.py), and how a person lets them through: a word in the state, which
the running adapter takes up with its next reading, and a line in the audit trail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.engine.guard import allowance, sentence
from adapters.engine.regions import extract_mark
from ironbridge.operate.audit import Action, Actor, note
from ironbridge.store import Store, guarded

NEXT = (
    "If the legacy system is being rebuilt, or its file was cut short, wait: the hold ends by itself once all records are "
    "there again. If the changes are right, let them through."
)


@dataclass(frozen=True, slots=True)
class HeldChange:
    """
    Changes of one kind that the guard holds back in a stream (`part`), or in one file of it: `held` of `base` records, since
    when (seconds since 1970), whether a person has let them through already (`allowed`), and all of it in words (`told`). A
    file is named by its mark, because a file's name may name a person.
    """

    part: str
    what: str
    file: str | None
    held: int
    base: int
    since: float
    allowed: bool
    told: str


async def entries(store: Store, part: str | None = None) -> list[HeldChange]:
    """All changes that are held back, of one stream or of all, the oldest first."""
    return [_shown(found) for found in await guarded.held_back(store) if part in (None, found.part)]


def _shown(found: guarded.HeldBack) -> HeldChange:
    entry = found.entry
    return HeldChange(
        found.part, entry.what, extract_mark(entry.region) if entry.region else None, entry.held,
        max(entry.base, entry.held), entry.since or 0.0, entry.allowed is not None, sentence(entry),
    )  # fmt: skip


async def allow(
    store: Store,
    by: Actor,
    part: str,
    why: str,
    *,
    what: str | None = None,
    file: str | None = None,
    most: int | None = None,
) -> Sequence[HeldChange]:
    """
    Let through the changes of a stream that are held: all of them, one kind, or the ones of one file. As many may go as are
    held now (or were shown: `most`), and a tenth more, once; any more wait again. Returns the entries that were let through.
    """
    every = [(found, _shown(found)) for found in await guarded.held_back(store) if found.part == part]
    done = []
    async with store.write() as connection:
        for found, change in every:
            if change.allowed or what not in (None, change.what) or file not in (None, change.file):
                continue
            number = allowance(change.held if most is None else most)
            if await guarded.let_through(connection, found.stream, found.entry.region, change.what, number):
                done.append(change)
        await note(connection, by, Action.ALLOW, [f"{part} ({each.what}, {each.held})" for each in done], why)
    return done
