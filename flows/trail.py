"""
The trail: what a flow was about to send, told outside its state, so that the state's age can be proven.

A worker numbers its sends. It saves the number in the state, then tells it to the trail, then sends. So a record of the trail
whose number the state does not know can mean only one thing: the state went back, to a restored copy or over a failover, and
what was sent since is at the target unknown to it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from flows.ledger import doubts, pack_all
from flows.marks import MISTAKES
from flows.port import Flow, Recalls

log = logging.getLogger(__name__)


class Sent(NamedTuple):
    """A worker's `hand` was about to send something for these subjects; `number` counts its sends from 1."""

    hand: str
    number: int
    subjects: tuple[str, ...]


class Reach(NamedTuple):
    """What a trail still holds: the offsets from `first` to before `end`."""

    first: int
    end: int


class Trail(Protocol):
    """One flow's trail, shared by all its workers. Everything raises `UnavailableError` where it is away."""

    async def append(self, sent: Sent) -> int:
        """Durable when it returns. Gives back where it lies: everything that was told before lies before it."""
        ...

    async def reach(self) -> Reach:
        """How far back it goes, and where it ends now."""
        ...

    def read(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        """This flow's records between two offsets, some at a time."""
        ...

    def follow(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        """The same, at little cost for a worker that asks again and again from where it stopped; one asks at a time."""
        ...

    async def ends(self) -> Mapping[tuple[str, int], int]:
        """Where the flow's topics end now, by topic and partition: what a state that went back has to read again."""
        ...


def unknown(records: Iterable[Sent], known: Mapping[str, int]) -> list[str]:
    """The subjects of those records that a state does not know; `known` is how often each hand has sent, as it says."""
    missing = (s for record in records if record.number > known.get(record.hand, 0) for s in record.subjects)
    return list(dict.fromkeys(missing))


def in_doubt(flow: Flow, doubtful: bytes | None, known: Iterable[tuple[str, str]]) -> bytes:
    """
    What the target may hold of a subject, once it is proven that more was sent for it than the state says.

    `known` are the keys and owners of its facts: a flow that can recall says under which numbers the target may have it.
    """
    if not isinstance(flow, Recalls):
        return doubts(doubtful, b"[]")
    return doubts(doubtful, *(_recalled(flow, key, owner) for key, owner in known), b"[]")


def _recalled(flow: Recalls, key: str, owner: str) -> bytes:
    try:
        return pack_all(flow.recall(key, owner))
    except MISTAKES as error:
        log.error("the flow's own code failed (%s) to recall: mend the flow", type(error).__name__)  # noqa: TRY400
        return b"[]"
