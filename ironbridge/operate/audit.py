"""The audit trail: who did what, on what, when and why. Append-only: the database refuses to change or delete a row."""

from __future__ import annotations

import getpass
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.ext.asyncio import AsyncConnection

from canonical.errors import MisconfiguredError
from ironbridge.store import Store
from ironbridge.store import audit as entries
from ironbridge.store.audit import AuditEntry


class Action(StrEnum):
    RETRY = "retry"
    DROP = "drop"
    PAUSE = "pause"
    RESUME = "resume"
    REPLAY = "replay"
    BACKFILL = "backfill"
    ALLOW = "allow"
    """A person let through deletions or changes that the guard held back."""
    RELEASE = "release"
    """A person lifted the silence that a target had asked for."""
    REVEAL = "reveal"
    """Personal fields were shown in clear."""
    ERASE = "erase"
    """Records were deleted from the open tables, with all their versions."""


_DID = {
    Action.RETRY: "had it looked at again", Action.DROP: "gave it up", Action.PAUSE: "paused it",
    Action.RESUME: "let it go on", Action.REPLAY: "had it replayed", Action.BACKFILL: "had it read again, whole",
    Action.RELEASE: "lifted its silence", Action.ALLOW: "let it through", Action.REVEAL: "saw its personal fields",
    Action.ERASE: "erased it from the open tables",
}  # fmt: skip
_WHERE = {"command line": "at the command line", "console": "in the console"}


def did(entry: AuditEntry) -> str:
    """An entry's action as the end of a sentence that begins with who it was: `gave it up in the console`."""
    known = {each.value: words for each, words in _DID.items()}
    return f"{known.get(entry.action, entry.action)} {_WHERE.get(entry.through, entry.through)}"


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
    await entries.note(connection, (by.who, by.through), action.value, what, why)


async def reveal(store: Store, by: Actor, keys: Sequence[str], why: str) -> None:
    """
    Put on record that somebody is about to see personal fields of these records; show them only once this is done.

    :raises MisconfiguredError: no reason is given.
    """
    if not why.strip():
        raise MisconfiguredError("reveal", "no reason is given", fix="say with --why what it is needed for")
    async with store.write() as connection:
        await note(connection, by, Action.REVEAL, keys, why)


async def trail(store: Store, *, most: int = 200, before: int | None = None) -> list[AuditEntry]:
    """The newest actions first, of those before an id if one is given."""
    return await entries.newest(store, most, before)


async def about(store: Store, what: str, most: int = 50) -> list[AuditEntry]:
    """Return what people did to one record, stream or flow, newest first."""
    return await entries.about(store, what, most)


async def paused_by(store: Store, part: str) -> AuditEntry | None:
    """The entry of who has paused a stream or a flow last; None if the trail has none."""
    return next((entry for entry in await about(store, part) if entry.action == Action.PAUSE), None)
