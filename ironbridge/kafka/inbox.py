"""A flow's inbox: its topics in a consumer group of its own, from where its state stands."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from adapters.engine.journal import Partition
from canonical import Entity, Event
from canonical.errors import BadRecordError, IronbridgeError, UnavailableError
from canonical.event import topic_of
from canonical.turns import in_turns
from flows.engine.ledger import Arrivals, Reject, Stand
from ironbridge.kafka.client import connecting, translated
from ironbridge.kafka.consumer import consumer
from ironbridge.kafka.hidden import PATIENCE, Hidden
from ironbridge.observe.meters import count_consumed, kafka_operation
from ironbridge.settings import KafkaSettings
from ironbridge.store.inbox import went_back

log = logging.getLogger(__name__)
_LOOKS = 5.0  # seconds between two checks that the state still stands where we have brought it
_PATIENCE = 30.0  # seconds for Kafka to name a position
T = TypeVar("T")


class Ingested(Protocol):
    """Keeps in the state, beside the facts, where a flow stands in each partition."""

    async def ingested(self) -> dict[Partition, Stand]: ...

    async def forgotten(self, until: Mapping[Partition, int]) -> None: ...

    async def hidden(self, hidden: Mapping[Partition, int]) -> None: ...


def group_of(settings: KafkaSettings, flow: str) -> str:
    """The consumer group of a flow."""
    return f"ironbridge.{settings.topic_prefix}.{flow}"


class KafkaInbox(ConsumerRebalanceListener):  # type: ignore[misc]
    """
    A flow's inbox: its own consumer group, read_committed (`flows.engine.ledger.Inbox`).

    It goes on where the *state* stands: a state that was lost or restored from a copy reads again all that it lacks. The
    offsets committed to Kafka follow the state; they are there so that others see the lag.

    The last record that the state has proves that a partition's log is the one that it has read. If that very record is not
    found at its place, whatever else lies there, the partition is read again from its start: the facts' versions make sure
    that this changes nothing that is right already.
    """

    session = 10.0
    """Seconds without a sign of life after which the group gives a worker's partitions to others."""
    renewed = 10.0
    """Seconds after which the topics are looked at again. A topic that was made anew is noticed only then."""

    def __init__(
        self,
        settings: KafkaSettings,
        flow: str,
        entities: Iterable[type[Entity]],
        state: Ingested,
        worker: str,
        *,
        most: int = 2000,
        patience: float = PATIENCE,
    ) -> None:
        self._settings = settings
        self._flow = flow
        self._topics = [topic_of(entity, settings.topic_prefix) for entity in entities]
        self._state = state
        self._worker = worker
        self._most = most
        self._consumer: AIOKafkaConsumer | None = None
        self._expected: dict[TopicPartition, tuple[int, str]] = {}
        self._placed: set[TopicPartition] = set()
        self._again: dict[TopicPartition, int] = {}
        """
        Up to where partitions were read before, as Kafka knows it, where the state stands behind that: what lies between are
        markers of transactions, or else the state was lost. The offsets in Kafka stay until we are there again.
        """
        self._said: dict[TopicPartition, int] = {}  # the same as it was reported, though the log may end before that now
        self._stood: dict[TopicPartition, tuple[int, str]] = {}
        """Where polling has come to: the offset behind the last record, and the mark of that record."""
        self._ends: dict[TopicPartition, int] = {}  # as they were when we got the partitions
        self._durable: dict[TopicPartition, int] = {}
        """Where the state stands, as far as we know."""
        self._disturbed: set[TopicPartition] = set()
        self._hidden_for = patience
        self._hidden = Hidden(patience=patience)
        self._look_due = 0.0
        self._forgotten = False
        self._there: list[TopicPartition] = []
        self._dropped: dict[Partition, int] = {}
        """Places that a lost state had reached in topics which this release no longer reads: no worker gets there again."""
        self._lost: IronbridgeError | None = None

    async def __aenter__(self) -> KafkaInbox:
        async with connecting(self._settings, self._flow):
            self._consumer = consumer(
                self._settings,
                group_id=group_of(self._settings, self._flow),
                group_instance_id=self._worker,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout_ms=round(self.session * 1000),
                heartbeat_interval_ms=round(self.session * 300),
                fetch_max_wait_ms=100,
                metadata_max_age_ms=round(self.renewed * 1000),
                disturbed=self._disturbed.add,
            )
            self._consumer.subscribe(self._topics, listener=self)
            await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._consumer is not None:
            with translated(self._flow):
                await self._consumer.stop()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """Forget everything: the next owner reads again what was polled and is not yet durable."""
        for each in (self._placed, self._again, self._there, self._stood, self._durable, self._disturbed):
            each.clear()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Go on where the state stands, from the last event that it has: if another lies there, the log was cut off."""
        try:
            stands = await self._state.ingested()
            with translated(self._flow):
                ends = await self._consumer.end_offsets(list(assigned)) if assigned else {}  # type: ignore[union-attr]
                committed = await asyncio.gather(*map(self._consumer.committed, assigned))  # type: ignore[union-attr]
            known = {p: _stand(stands, p) for p in assigned}
            said = {p: max(c or 0, known[p].again) for p, c in zip(assigned, committed, strict=True)}
            ahead = {p: min(once, ends[p]) for p, once in said.items()}
            again = {p: once for p, once in ahead.items() if once > known[p].behind or known[p].again}
            self._forgotten = any(stand.again for stand in stands.values())
            self._drop(stands)
            if again and not stands:
                self._forget()
                await self._state.forgotten(_named(again))
        except IronbridgeError as error:
            self._lost = error  # aiokafka would only log it, and go on from the offsets in Kafka
            return
        self._expected, self._again, self._said, self._ends = {}, again, said, ends
        for partition, stand in known.items():
            self._durable[partition] = stand.behind
            self._stood[partition] = (stand.behind, stand.last) if stand.behind <= ends[partition] else (0, "")
            if stand.behind > ends[partition]:
                self._say_anew(partition)
            self._prove(partition)
        told = {(p.topic, p.partition): stand.hidden for p, stand in known.items() if stand.hidden}
        self._hidden = Hidden(told, self._hidden_for)
        self._placed = set(assigned)

    def _drop(self, stands: Mapping[Partition, Stand]) -> None:
        self._dropped = {p: stand.again for p, stand in stands.items() if stand.again and p[0] not in self._topics}

    def _prove(self, partition: TopicPartition) -> None:
        """Read on behind the last record that we have if it is found at its place; from the start if we have none."""
        behind, last = self._stood.get(partition, (0, ""))
        self._expected.pop(partition, None)
        if behind > 0:
            self._expected[partition] = (behind - 1, last)
        self._consumer.seek(partition, max(behind - 1, 0))  # type: ignore[union-attr]

    def _read_anew(self, partition: TopicPartition) -> None:
        self._say_anew(partition)
        self._expected.pop(partition, None)
        self._stood[partition] = (0, "")
        self._consumer.seek(partition, 0)  # type: ignore[union-attr]

    def _say_anew(self, partition: TopicPartition) -> None:
        log.warning(
            "%s: the last record that it had read of %s[%d] is gone: the topic was made anew or cut off, or the "
            "record was compacted away. The partition is read again from its start",
            self._flow, partition.topic, partition.partition,
        )  # fmt: skip

    def _forget(self) -> None:
        if not self._forgotten:
            self._forgotten = True
            log.error(
                "%s: the state was lost: it does not know all that this flow has delivered. The events are read again, and "
                "nothing is delivered before. A target that can be asked what it holds is asked, and nothing is written "
                "twice; one that cannot is sent everything once more, and what was deleted and had not reached it stays "
                "there. To do: run `ironbridge reconcile %s`, which names what differs where the target can be asked, and "
                "have it put right there",
                self._flow, self._flow,
            )  # fmt: skip

    async def poll(self) -> Arrivals:
        """Return at most `most` records; wait 200 ms for the first."""
        await self._look()
        for partition in self._placed & self._disturbed:
            self._prove(partition)
        self._disturbed.clear()
        with kafka_operation("poll", self._flow), translated(self._flow):
            found = await self._consumer.getmany(timeout_ms=200, max_records=self._most)  # type: ignore[union-attr]
        if self._lost is not None:
            raise self._lost
        # Records fetched before we knew where the state stands are dropped here; they come again from there.
        fresh = {p: self._after_last(p, records) for p, records in found.items() if p in self._placed}
        await self._unproven(found)
        found = {p: records for p, records in fresh.items() if records}
        arrived = self._arrivals(found, await self._read(found))
        until, there = await self._caught_up()
        if arrived.again:
            self._forget()
        return replace(arrived, until=until if arrived.again else {}, there=there | self._dropped)

    async def _read(self, found: Mapping[TopicPartition, list[Any]]) -> list[Event | Reject]:
        records = (record for records in found.values() for record in records)
        return [event_of(record, self._settings.topic_prefix) async for record in in_turns(records)]

    def _arrivals(self, found: Mapping[TopicPartition, list[Any]], read: Iterable[Event | Reject]) -> Arrivals:
        events: list[tuple[Event, int]] = []
        rejects: list[Reject] = []
        again: list[Event] = []
        since, reading = {p: self._durable.get(p, 0) for p in found}, iter(read)
        for partition, records in found.items():
            for record in records:
                event = next(reading)
                if isinstance(event, Reject):
                    rejects.append(event)
                else:
                    events.append((event, record.partition))
                    if record.offset < self._again.get(partition, 0):
                        again.append(event)
            self._stood[partition] = (records[-1].offset + 1, _mark(records[-1]))
        taken: Counter[str] = Counter()
        for partition, records in found.items():
            taken[partition.topic] += len(records)
        count_consumed(self._flow, taken)
        reached = {p: self._stood[p] for p in found}
        return Arrivals(events, rejects, _named(reached), self._ahead(), again, since=_named(since))

    def _ahead(self) -> int:
        """
        Count, roughly, the records that can be read and are not yet read, in all our partitions. Markers of transactions
        count, too; records that an unfinished transaction hides do not.
        """
        stable = {p: self._consumer.last_stable_offset(p) for p in self._placed}  # type: ignore[union-attr]
        ends = {p: end if end is not None and end >= 0 else self._ends.get(p, 0) for p, end in stable.items()}
        return sum(max(end - self._stood.get(p, (0, ""))[0], 0) for p, end in ends.items())

    async def _caught_up(self) -> tuple[dict[Partition, int], dict[Partition, int]]:
        """Return the places that a lost state had reached and we have not yet, and the partitions in which we are there again."""
        with translated(self._flow):
            # A position goes beyond the last record, over the markers of transactions.
            self._there = [p for p in self._again if await self._position(p) >= self._again[p]]
        left = {p: once for p, once in self._again.items() if p not in self._there}
        return _named(left), _named({p: max(self._said.get(p, 0), self._again[p]) for p in self._there})

    async def _position(self, partition: TopicPartition) -> int:
        async with asyncio.timeout(_PATIENCE):
            return int(await self._consumer.position(partition))  # type: ignore[union-attr]

    def _after_last(self, partition: TopicPartition, records: list[Any]) -> list[Any]:
        """Return the records behind the last one that the state has; none yet if that one is not at its place."""
        if (expected := self._expected.pop(partition, None)) is None:
            return records
        if (records[0].offset, _mark(records[0])) == expected:
            return records[1:]
        self._read_anew(partition)
        return []

    async def _unproven(self, found: Collection[TopicPartition]) -> None:
        """Read anew if the position has passed the last record's place and no record came: a marker lies there now."""
        for partition, (offset, _) in list(self._expected.items()):
            if partition in self._placed and partition not in found:
                with translated(self._flow):
                    passed = await self._position(partition) > offset
                if passed:
                    self._read_anew(partition)

    async def _look(self) -> None:
        """
        Check now and then that the state stands where we have brought it, whether somebody has proven it old (then read again),
        and whether transactions that do not end hide records.
        """
        if time.monotonic() < self._look_due or not self._placed:
            return
        self._look_due = time.monotonic() + _LOOKS
        stands = await self._state.ingested()
        for partition in self._placed & self._durable.keys():
            if (stand := _stand(stands, partition)).behind < self._durable[partition]:
                place = (partition.topic, partition.partition)
                raise went_back(self._flow, place, stand.behind, self._durable[partition])
        self._drop(stands)
        once = {p: _stand(stands, p).again for p in self._placed}
        await self._adopt({p: until for p, until in once.items() if until > self._again.get(p, 0)})
        await self._uncover()

    async def _adopt(self, again: Mapping[TopicPartition, int]) -> None:
        """Hold deliveries until we are there again. A log that ends before that place is read to its end."""
        if again:
            with translated(self._flow):
                ends = await self._consumer.end_offsets(list(again))  # type: ignore[union-attr]
            self._again |= {partition: min(once, ends[partition]) for partition, once in again.items()}
            self._said |= again

    async def _uncover(self) -> None:
        stable: dict[Partition, tuple[int, int]] = {}
        for p in self._placed:
            stands, end = self._consumer.last_stable_offset(p), self._consumer.highwater(p)  # type: ignore[union-attr]
            if stands is not None and stands >= 0:
                stable[p.topic, p.partition] = (stands, end or 0)
        if changed := self._hidden.see(stable, time.monotonic()):
            await self._state.hidden(changed)

    async def commit(self) -> None:
        try:
            self._durable |= {p: behind for p, (behind, _) in self._stood.items() if behind and p not in self._expected}
            for partition in self._there:
                self._again.pop(partition, None)
            if not self._again:
                await self._consumer.commit()  # type: ignore[union-attr]
        except (
            CommitFailedError,
            IllegalGenerationError,
            IllegalStateError,
            UnknownMemberIdError,
            RebalanceInProgressError,
        ):
            return  # the partitions are somebody else's by now; the state knows what is durable
        except KafkaError as error:
            raise UnavailableError(self._flow, f"offsets could not be committed ({type(error).__name__})") from error


def event_of(record: Any, prefix: str) -> Event | Reject:
    """Read a record as an event that the state can keep, or say why it is none."""
    place = f"{record.topic}[{record.partition}]@{record.offset}"
    try:
        event = Event.from_kafka(place, record.value, [(name, value or b"") for name, value in record.headers])
        names = event.key + event.owner + event.source + (event.traceparent or "")
        if topic_of(event.entity, prefix) == record.topic and 0 < event.version < 1 << 63 and names.isprintable():
            return event
    except BadRecordError as error:
        return Reject(place, str(error))
    return Reject(place, f"{place}: its headers are not those of an event of this topic")


def _named(by_partition: Mapping[TopicPartition, T]) -> dict[Partition, T]:
    return {(partition.topic, partition.partition): each for partition, each in by_partition.items()}


def _stand(stands: Mapping[Partition, Stand], partition: TopicPartition) -> Stand:
    return stands.get((partition.topic, partition.partition), Stand())


def _mark(record: Any) -> str:
    """Return a mark that tells a record from another at its place: its event's id and time, or that it has none."""
    headers = dict(record.headers)
    return f"{_word(headers.get('ce_id'))} {_word(headers.get('ce_time'))} {record.timestamp}"


def _word(value: bytes | None) -> str:
    return (value or b"").decode("ascii", "replace")


def worker_name(configured: str | None) -> str:
    return configured or os.environ.get("HOSTNAME") or os.uname().nodename
