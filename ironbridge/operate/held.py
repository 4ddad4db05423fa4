"""
Changes that the guard holds back (see adapters/engine/guard.py), and how a person lets them through: a word in the state, which
the running adapter takes up with its next reading, and a line in the audit trail.
"""

from __future__ import annotations

from typing import Any

from adapters.engine.guard import allowance, sentence
from adapters.engine.regions import extract_mark
from ironbridge.operate.audit import Action, Actor, note
from ironbridge.store import Store, guarded

Row = dict[str, Any]

NEXT = (
    "If the legacy system is being rebuilt, or its file was cut short, wait: the hold ends by itself once all records are "
    "there again. If the changes are right, let them through."
)


async def entries(store: Store, part: str | None = None) -> list[Row]:
    """
    All entries that are held back, of one stream or of all, the oldest first. Each has `part`, `what`, `file`, `held` of
    `base` records, `since` when (seconds since 1970), whether it is `allowed` already, and all of it in words. A file is
    named by its mark, because a file's name may name a person.
    """
    return [_row(found) for found in await guarded.held_back(store) if part in (None, found.part)]


def _row(found: guarded.HeldBack) -> Row:
    entry = found.entry
    return {
        "part": found.part, "what": entry.what, "file": extract_mark(entry.region) if entry.region else None,
        "held": entry.held, "base": max(entry.base, entry.held), "since": entry.since,
        "allowed": found.allowed is not None, "told": sentence(entry), "stream": found.stream, "region": entry.region,
    }  # fmt: skip


async def allow(
    store: Store,
    by: Actor,
    part: str,
    why: str,
    *,
    what: str | None = None,
    file: str | None = None,
    most: int | None = None,
) -> list[Row]:
    """
    Let through the changes of a stream that are held: all of them, one kind, or the ones of one file. As many may go as are
    held now (or were shown: `most`), and a tenth more, once; any more wait again. Returns the entries that were let through.
    """
    wanted = [
        row
        for row in await entries(store, part)
        if what in (None, row["what"]) and file in (None, row["file"]) and not row["allowed"]
    ]
    done = []
    async with store.write() as connection:
        for row in wanted:
            number = allowance(row["held"] if most is None else most)
            if await guarded.let_through(connection, row["stream"], row["region"], row["what"], number):
                done.append(row)
        await note(connection, by, Action.ALLOW, [f"{part} ({row['what']}, {row['held']})" for row in done], why)
    return done


def shown(row: Row) -> Row:
    """A row for a machine, without the columns that only the state needs."""
    return {name: value for name, value in row.items() if name not in ("stream", "region")}
