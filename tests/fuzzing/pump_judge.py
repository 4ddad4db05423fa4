"""Judges the events that a pump publishes, only from outside: by the rows as they were, and by the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from adapters.testing import Log
from canonical import CareEpisode, Event
from canonical.key import read_key
from tests.fuzzing.chaos import Broken
from tests.fuzzing.legacy import Legacy, Reader

Partition = tuple[str, int]


@dataclass
class Judge:
    """
    Hears each committed transaction. `row_of` gives the key of the row that a record comes from now. `holes`: the log has lost
    something. `older`: the state was once set back, or lost. `renumbered`: rows got other numbers, so a key is no longer its
    row's number.
    """

    legacy: Legacy
    log: Log
    partition_of: Callable[[str], int]
    row_of: Callable[[str], str] = lambda key: key
    holes: bool = False
    older: bool = False
    renumbered: bool = False
    may_delete: bool = True
    heard: int = 0
    told: dict[str, list[Event]] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)  # by key: when the row of its last event was read
    began: dict[str, int] = field(default_factory=dict)  # by stream: when the running sweep began
    lying: dict[int, dict[str, Event]] = field(default_factory=dict)  # by partition: the last event of each key

    def damaged(self) -> None:
        """The log is another one now: it was cut, made anew or compacted."""
        self.lying.clear()
        for (_, number), records in self.log.topics.items():
            for event in records:
                if event is not None and event.source == self.legacy.name:
                    self.lying.setdefault(number, {})[event.key] = event

    def hear(self, reader: Reader) -> list[Event]:
        """Judge the transactions that were committed since the last time."""
        committed = self.log.transactions[self.heard :]
        self.heard = len(self.log.transactions)
        for events in committed:
            own = [event for event in events if event.source == self.legacy.name]
            for at, event in enumerate(own):
                self._judge(event, own[at + 1 :], reader)
                self.told.setdefault(event.key, []).append(event)
                self.lying.setdefault(self.partition_of(event.owner), {})[event.key] = event
                if event.data is not None:
                    self.read[event.key] = reader.yielded.get(event.key, 0)
        self.legacy.now()
        return [event for events in committed for event in events]

    def _judge(self, event: Event, following: Iterable[Event], reader: Reader) -> None:
        here = self.partition_of(event.owner)
        last = self.lying.get(here, {}).get(event.key)
        told = self.told.get(event.key, [])
        again = next((e for e in told if e.version == event.version), None)
        if again is not None:
            self._repeated(event, again, last)
        elif told and event.version < max(e.version for e in told) and not self._stranded(event, here):
            raise Broken(f"{event.key}: version {event.version} after {[e.version for e in told]}")
        if last is not None and event.version <= last.version:
            raise Broken(f"{event.key}: version {event.version} behind {last.version} in the log")
        if event.data is None:
            if again is None:
                self._deleted(event, here, last, told, following, reader)
        elif last is not None and last.data == event.data and told[-1].data == event.data and not self._lost(told, last):
            raise Broken(f"{event.key}: version {event.version} says the same as version {last.version}, which lies there")

    def _repeated(self, event: Event, again: Event, last: Event | None) -> None:
        if not self.holes:
            raise Broken(f"{event.key}: version {event.version} is published twice, and the log lost nothing")
        if again.data != event.data:
            raise Broken(f"{event.key}: version {event.version} says two things")
        if last is not None and last.version >= event.version:
            raise Broken(f"{event.key}: version {event.version} is published again, and lies there")

    def _lost(self, told: list[Event], last: Event) -> bool:
        """
        Whether the log lost what was told after `last`. Somebody may have heard an event of these and not the one behind it, so
        the record is told once more, though what lies there happens to say the same.
        """
        return self.holes and told[-1].version > last.version

    def _elsewhere(self, event: Event, here: int) -> Event | None:
        """The record lives on in another partition."""
        others = [held[event.key] for at, held in self.lying.items() if at != here and event.key in held]
        newest = max(others, key=lambda e: e.version, default=None)
        return newest if newest is not None and newest.data is not None else None

    def _stranded(self, event: Event, here: int) -> bool:
        return event.data is None and self._elsewhere(event, here) is not None

    def _deleted(
        self,
        event: Event,
        here: int,
        last: Event | None,
        told: list[Event],
        following: Iterable[Event],
        reader: Reader,
    ) -> None:
        moves = any(e.key == event.key and e.data is not None for e in following)
        if not told:
            raise Broken(f"{event.key}: deleted, and was never published")
        if (last is None or last.data is None) and not self.holes and not (self.older and last is None):
            raise Broken(f"{event.key}: deleted in a partition where it does not live")
        if moves or self._elsewhere(event, here) is not None:
            return
        if not self.may_delete:
            raise Broken(f"{event.key}: deleted, though a record that is missing says nothing here")
        if self.renumbered:
            return
        row = self.row_of(event.key)
        identifier = read_key(row).identifier
        if not identifier.isdecimal():
            return  # its number is another record's
        number = int(identifier)
        if self.legacy.reading != "files" and row in reader.passed.get(event.stream, ()):
            raise Broken(f"{event.key}: deleted by a pass that has just read it")
        since = max(self.began.get(event.stream, 0), self.read.get(event.key, 0))
        if self.legacy.throughout(number, since):
            raise Broken(
                f"{event.key}: deleted at {self.legacy.tick}, and was there all the time since {since}: the sweep began at "
                f"{self.began.get(event.stream, 0)}, its last event was read at {self.read.get(event.key, 0)}"
            )

    # -- at rest -------------------------------------------------------------------------------------------------

    def at_rest(self, known: Mapping[str, int], names: Mapping[str, str]) -> None:
        """
        After enough quiet readings: the log, and each of its readers, hold the same as the legacy system. `known` are the
        versions that the state knows, `names` the keys under which it knows the rows.
        """
        rows = self.legacy.wanted()
        wanted = {names.get(k, k): data.replace(k.encode(), names.get(k, k).encode(), 1) for k, data in rows.items()}
        if len(wanted) < len(rows):
            twice = [name for name, n in Counter(names.get(key, key) for key in rows).items() if n > 1]
            raise Broken(f"two rows have one name: {twice[:3]}")
        bad = {names.get(key, key) for key in self.legacy.problems() if "#" not in key}
        free = bad if self.may_delete else bad | (set(self.told) - set(wanted))
        self._agree("the log", self.log.state(), wanted, free)
        # Nobody can know of an event that the log lost, and that the state forgot or never came to know.
        newest = {key: max(e.version for e in told) for key, told in self.told.items()}
        unknowable = {key for key, version in newest.items() if version > known.get(key, 0)} if self.holes else set()
        self._agree("a subscriber who compares versions", self._subscriber(), wanted, free | unknowable)
        for at, held in self.lying.items():
            for key, event in held.items():
                if event.data is not None and key not in free and self._place(wanted.get(key)) != at:
                    raise Broken(f"{key}: still lives in partition {at}, and should live in {self._place(wanted.get(key))}")

    def _place(self, data: bytes | None) -> int | None:
        """The partition in which a record with that content should lie."""
        return None if data is None else self.partition_of(CareEpisode.from_bytes(data).person)

    def _subscriber(self) -> dict[str, bytes]:
        newest: dict[str, Event] = {}
        for events in self.told.values():
            for event in events:
                had = newest.get(event.key)
                if had is None or event.version > had.version:
                    newest[event.key] = event
        return {key: event.data for key, event in newest.items() if event.data is not None}

    def _agree(self, who: str, held: dict[str, bytes], wanted: dict[str, bytes], free: set[str]) -> None:
        held = {key: data for key, data in held.items() if key.startswith(f"{self.legacy.name}:")}
        wrong = {key for key in held.keys() | wanted.keys() if key not in free and held.get(key) != wanted.get(key)}
        if wrong:
            lines = [f"{key}: {held.get(key)!r} instead of {wanted.get(key)!r}" for key in sorted(wrong)[:3]]
            raise Broken(f"{who} holds {len(wrong)} records wrongly: " + "; ".join(lines))
