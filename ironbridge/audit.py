"""The audit trail: who did what, on what, when and why. Append-only: the database refuses to change or delete a row."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.errors import MisconfiguredError
from ironbridge.store import Store
from ironbridge.store.bulk import put
from ironbridge.store.tables import audit


class Action(StrEnum):
    RETRY = "retry"
    DROP = "drop"
    PAUSE = "pause"
    RESUME = "resume"
    REPLAY = "replay"
    BACKFILL = "backfill"
    REVEAL = "reveal"
    """Personal fields were shown in clear."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who acts. `through` is how: `command line`, `console`."""

    who: str
    through: str


def at_the_command_line() -> Actor:
    """The operating system's user, and the one who became it by sudo."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a container's user has a number and no name
        who = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER")
    return Actor(f"{behind} as {who}" if behind and behind != who else who, "command line")


async def note(connection: AsyncConnection, by: Actor, action: Action, what: Sequence[str], why: str = "") -> None:
    """Put an action on record, one row for each thing that it was done to, in the transaction that does it."""
    now = time.time()
    rows = [(now, by.who, by.through, action.value, each, why) for each in what]
    await put(connection, audit, ("at", "who", "through", "action", "what", "why"), rows, {})


async def reveal(store: Store, by: Actor, keys: Sequence[str], why: str) -> None:
    """
    Put on record that somebody is about to see personal fields of these records; show them only once this is done.

    :raises MisconfiguredError: no reason is given.
    """
    if not why.strip():
        raise MisconfiguredError("reveal", "no reason is given", fix="say with --why what it is needed for")
    async with store.write() as connection:
        await note(connection, by, Action.REVEAL, keys, why)


async def trail(store: Store, *, most: int = 200, before: int | None = None) -> list[dict[str, Any]]:
    """The newest actions first: `id`, `at` (seconds since 1970), `who`, `through`, `action`, `what`, `why`; `before` an id."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT id, at, who, through, action, what, why FROM audit "
                "WHERE CAST(:before AS bigint) IS NULL OR id < :before ORDER BY id DESC LIMIT :most"
            ),
            {"before": before, "most": most},
        )
        return [dict(row) for row in found.mappings()]


async def about(store: Store, what: str, most: int = 50) -> list[dict[str, Any]]:
    """What people did to one record, stream or flow, newest first."""
    async with store.read() as connection:
        found = await connection.execute(
            text(
                "SELECT id, at, who, through, action, what, why FROM audit WHERE what = :what ORDER BY id DESC LIMIT :most"
            ),
            {"what": what, "most": most},
        )
        return [dict(row) for row in found.mappings()]
