"""A small legacy system that sends by itself, shipped for tests: it repeats what is not answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from typing import NamedTuple

from adapters.port import Gone, Offsets, Parcel, Position, Push, Record, Stream
from adapters.testing.faults import Faults
from adapters.testing.stand_ins import Log
from adapters.testing.table import Line, TableAdapter
from canonical import CareEpisode
from canonical.errors import UnavailableError


class Message(NamedTuple):
    """A word on one record and its number among all messages; `line` is None if the record was deleted."""

    number: int
    record: int
    line: Line | None


class SendingAdapter(TableAdapter):
    """
    A dictionary whose changes are sent: `put` and `take` change it. Messages that are not answered are sent again, `page` of them
    in a parcel; `answered` counts the answers, and `bad` are the keys that they complained of.

    With `ordered` a message says where it stands in the order of changes. With a `topic` the messages lie in a log, and the place
    up to which they were taken in is the offset of a consumer group there.
    """

    GROUP = "ironbridge.legacy"
    PARTITION = ("episodes", 0)

    def __init__(
        self, name: str = "legacy", page: int = 50, *, ordered: bool = True, topic: Log | None = None
    ) -> None:
        super().__init__(name, page=page)
        self.sent: list[Message] = []
        self.waiting: list[Message] = []
        self.faults = Faults()
        self.answered = 0
        self.bad: list[str] = []
        self._ordered = ordered
        self._topic = topic

    def streams(self) -> Sequence[Stream]:
        return [Stream("episodes", (CareEpisode,), self.map, Push(self._receive))]

    def put(self, number: int, line: Line) -> None:
        """Change a record, and send it."""
        self.lines[number] = line
        self._send(number, line)

    def take(self, number: int) -> None:
        """Delete a record, and send that."""
        del self.lines[number]
        self._send(number, None)

    def repeat(self, message: Message) -> None:
        """Send a message again, though it may have been answered: its answer was lost."""
        self.waiting.append(message)

    def _send(self, number: int, line: Line | None) -> None:
        self.sent.append(Message(len(self.sent), number, line))
        self.waiting.append(self.sent[-1])

    async def _receive(self) -> AsyncIterator[Parcel]:
        self.faults.point("receive")
        stood = -1
        while (stands := self._stands()) != stood and (page := self._next()):
            yield self._parcel(page)
            stood = stands  # who has not answered only looks, and does not want it again

    def _stands(self) -> int:
        """The number of answers, or the offset."""
        return self.answered if self._topic is None else self._topic.groups.get(self.GROUP, {}).get(self.PARTITION, 0)

    def _next(self) -> list[Message]:
        if self._topic is None:
            return self.waiting[: self._page]
        return self.sent[self._stands() :][: self._page]

    def _parcel(self, page: list[Message]) -> Parcel:
        words = [self._word(message) for message in page]
        if self._topic is not None:
            return Parcel(words, offsets=Offsets(self.GROUP, {self.PARTITION: page[-1].number + 1}))
        return Parcel(words, partial(self._answer, page))

    def _word(self, message: Message) -> Record | Gone:
        position: Position = (message.number,) if self._ordered else ()
        if message.line is None:
            return Gone(self.key(message.record), position)
        return self.record(message.record, message.line)._replace(position=position)

    async def _answer(self, page: list[Message], bad: Collection[str]) -> None:
        """The answer arrives, and the messages are forgotten, or it is lost."""
        self.faults.point("answer")
        if self.waiting[: len(page)] != page:
            raise UnavailableError(self.name, "got an answer to what it did not send")
        del self.waiting[: len(page)]
        self.answered += 1
        self.bad += bad
        self.faults.point("answered")
