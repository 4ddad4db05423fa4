"""
A person's actions on streams and flows: retry, drop, pause, resume, release, replay, backfill. Each one is written to the
audit trail in the transaction that does it.

Each one is a word in the state that the running adapters and flows take up with their next step. So these functions never
write to Kafka, to a legacy system or to a target, and need not know where those run.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from flows.port import Flow
from ironbridge.operate.audit import Action, Actor, note
from ironbridge.store import Store, budget, steering


async def retry(store: Store, by: Actor, keys: Sequence[str], why: str = "") -> int:
    """
    Look at parked subjects and quarantined rows again; how many there were. A row is read again with its next sweep. Only
    what something was done to is on record.
    """
    count = 0
    for piece in _pieces(keys):
        async with store.write() as connection:
            done = await steering.woken(connection, piece)
            await note(connection, by, Action.RETRY, _once(piece, done), why)
        count += len(done)
    return count


def _pieces(keys: Sequence[str]) -> list[list[str]]:
    every = list(dict.fromkeys(keys))
    return [every[at : at + steering.PIECE] for at in range(0, len(every), steering.PIECE)]


def _once(keys: Sequence[str], done: Sequence[str]) -> list[str]:
    """The keys of the records that were changed, in the order in which they were named."""
    there = set(done)
    return [key for key in keys if key in there]


async def drop(store: Store, by: Actor, keys: Sequence[str], why: str) -> int:
    """
    Give up parked subjects and quarantined rows, with the reason on record; how many. A new fact brings them back. Only
    what something was done to is on record.
    """
    count = 0
    for piece in _pieces(keys):
        async with store.write() as connection:
            done = await steering.dropped(connection, piece, why)
            await note(connection, by, Action.DROP, _once(piece, done), why)
        count += len(done)
    return count


async def pause(store: Store, by: Actor, name: str, why: str = "") -> None:
    """
    Stop a flow's delivery or a stream's reading (`adapter.stream`) until somebody resumes it. A paused flow still takes
    events in: nothing is lost, and `plan` shows what waits.
    """
    async with store.write() as connection:
        await steering.set_paused(connection, name, paused=True)
        await note(connection, by, Action.PAUSE, [name], why)


async def resume(store: Store, by: Actor, name: str, why: str = "") -> None:
    """Let a paused flow or stream go on; what waited goes at once."""
    async with store.write() as connection:
        await steering.set_paused(connection, name, paused=False)
        await note(connection, by, Action.RESUME, [name], why)


async def release(store: Store, by: Actor, name: str, why: str = "") -> bool:
    """
    Lift the silence that a target, or the target of a flow, has asked for (its Retry-After): the workers that wait for it go on
    within a few seconds. True if there was one; only then it is written to the audit trail.
    """
    async with store.write() as connection:
        target = await budget.target_of(connection, name)
        lifted = await budget.release(connection, target)
        if lifted:
            await note(connection, by, Action.RELEASE, [target], why)
    return lifted


async def replay(
    store: Store, by: Actor, flow: Flow, why: str = "", *, since: float | None = None, rewrite: bool = False
) -> int:
    """
    Make a flow look again at all its subjects, or at those whose facts were observed to change `since` (seconds since
    1970): what they should be is worked out again, and written where it is another than what was confirmed. How many.

    `rewrite` takes nothing for confirmed: a target that can show what it holds is read back, and put right where
    somebody has changed it there; one that cannot is written again, whole. What a person has dropped stays dropped.
    """
    count, after = 0, ""
    async with store.write() as connection:
        scope = "all" if since is None else f"changed since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(since))}"
        await note(connection, by, Action.REPLAY, [f"{flow.name} ({scope}{', rewrite' if rewrite else ''})"], why)
    while True:
        async with store.write() as connection:
            page = await steering.subjects_after(connection, flow, since, after)
            count += await steering.look_again(connection, flow.name, page, rewrite=rewrite)
        if not page:
            return count
        after = page[-1]


async def backfill(store: Store, by: Actor, adapter: str, stream: str, why: str = "") -> float:
    """
    Ask for a stream to be read whole again, every row compared by itself, and what its topics lack published again. The
    running adapter takes that up with its next reading. When it was asked (seconds since 1970), for `backfilling`.
    """
    async with store.write() as connection:
        asked = await steering.ask_for_all(connection, adapter, stream)
        await note(connection, by, Action.BACKFILL, [f"{adapter}.{stream}"], why)
    return asked


@dataclass(frozen=True, slots=True)
class Backfilling:
    """
    This says how a backfill stands. `taken_up`: an adapter has begun it; `done`: it has ended. `read` rows of about
    `records` were read, and `published` events were published. `error` is the stream's trouble, if any.
    """

    taken_up: bool
    done: bool
    read: int
    published: int
    records: int
    error: str | None


async def backfilling(store: Store, adapter: str, stream: str, asked: float) -> Backfilling:
    """Tell how the backfill that was asked for at a time stands."""
    stands = await steering.backfill_of(store, adapter, stream)
    taken = stands.backfill is None
    done = taken and stands.completed is not None and stands.completed >= asked
    read, published = (stands.read, stands.published) if taken else (0, 0)
    return Backfilling(taken, done, read, published, stands.records, stands.error)


async def watched(store: Store, adapter: str, stream: str, asked: float) -> AsyncIterator[Backfilling]:
    """Yield how a backfill stands, each time that somebody asks, until it is done."""
    while True:
        stands = await backfilling(store, adapter, stream, asked)
        yield stands
        if stands.done:
            return
