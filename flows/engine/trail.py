"""
The trail: a flow's list, kept outside its state, of everything that it was about to send. It proves how old a state is.

A worker numbers its sends. It saves the number in the state, then adds a record to the trail, then sends. So if the trail
holds a record whose number the state does not know, the state went back (it was restored from a copy, or a failover lost
its end), and the target holds writes that the state does not know of.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from flows.engine.ledger import doubts, pack_all
from flows.engine.marks import recalled
from flows.port import Flow


class Sent(NamedTuple):
    """A worker's `hand` was about to send something for these subjects; `number` counts its sends from 1."""

    hand: str
    number: int
    subjects: tuple[str, ...]


class Reach(NamedTuple):
    """The offsets that a trail still holds: from `first` to before `end`."""

    first: int
    end: int


class Trail(Protocol):
    """One flow's trail, shared by all its workers. Every method raises `UnavailableError` if the trail is away."""

    async def append(self, sent: Sent) -> int:
        """Add a record; it is durable when this returns. Returns its offset: every earlier record lies before it."""
        ...

    async def reach(self) -> Reach:
        """The offsets that the trail still holds."""
        ...

    def read(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        """This flow's records between two offsets, some at a time."""
        ...

    def follow(self, since: int, end: int) -> AsyncIterator[Sequence[Sent]]:
        """The same, at little cost for a worker that often asks again from where it stopped; one asks at a time."""
        ...

    async def ends(self) -> Mapping[tuple[str, int], int]:
        """
        Tell where the flow's topics end now, by topic and partition: a state that went back has to read up to there
        again.
        """
        ...


def unknown(records: Iterable[Sent], known: Mapping[str, int]) -> list[str]:
    """The subjects of the records that a state does not know; `known` is each hand's number of sends in that state."""
    missing = (s for record in records if record.number > known.get(record.hand, 0) for s in record.subjects)
    return list(dict.fromkeys(missing))


def in_doubt(flow: Flow, doubtful: bytes | None, known: Iterable[tuple[str, str]]) -> bytes:
    """
    All documents that the target may hold of a subject, once it is proven that more was sent than the state says.

    `known` are the keys and owners of its facts: a flow that can recall names the documents that the target may have for them.
    """
    return doubts(doubtful, *(pack_all(recalled(flow, key, owner)) for key, owner in known), b"[]")
