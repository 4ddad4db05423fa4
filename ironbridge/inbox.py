"""A flow's inbox: its topics in a consumer group of its own, from where its state stands."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
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

from adapters.journal import Partition
from canonical import Entity, Event
from canonical.errors import BadRecordError, IronbridgeError, UnavailableError
from canonical.event import topic_of
from flows.ledger import Arrivals, Reject, Stand
from ironbridge.kafka_client import connecting, translated
from ironbridge.kafka_consumer import consumer
from ironbridge.meters import count_consumed, kafka_operation
from ironbridge.settings import KafkaSettings

log = logging.getLogger(__name__)
T = TypeVar("T")


class Ingested(Protocol):
    """Where a flow stands in each partition, kept in the state beside the facts."""

    async def ingested(self) -> dict[Partition, Stand]: ...

    async def forgotten(self, until: Mapping[Partition, int]) -> None: ...


class KafkaInbox(ConsumerRebalanceListener):  # type: ignore[misc]
    """
    A flow's inbox: its own consumer group, read_committed (`flows.ledger.Inbox`).

    It goes on where the *state* stands: a state that was lost or restored from a copy reads again what it lacks. The offsets
    committed to Kafka follow it, for others to see the lag.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        flow: str,
        entities: Iterable[type[Entity]],
        state: Ingested,
        worker: str,
        *,
        most: int = 2000,
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
        self._forgotten = False
        self._there: list[TopicPartition] = []
        self._lost: IronbridgeError | None = None

    async def __aenter__(self) -> KafkaInbox:
        async with connecting(self._settings, self._flow):
            self._consumer = consumer(
                self._settings,
                group_id=f"ironbridge.{self._settings.topic_prefix}.{self._flow}",
                group_instance_id=self._worker,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout_ms=10_000,
                heartbeat_interval_ms=3_000,
                fetch_max_wait_ms=100,
            )
            self._consumer.subscribe(self._topics, listener=self)
            await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._consumer is not None:
            with translated(self._flow):
                await self._consumer.stop()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        """What was polled is durable before its offsets are committed, or read again by the next owner."""
        self._placed.clear()
        self._again.clear()
        self._there.clear()

    async def on_partitions_assigned(self, assigned: Any) -> None:
        """Go on where the state stands, from the last event that it has: if another lies there, the log was cut off."""
        try:
            stands = await self._state.ingested()
            with translated(self._flow):
                ends = await self._consumer.end_offsets(list(assigned)) if assigned else {}  # type: ignore[union-attr]
                committed = await asyncio.gather(*map(self._consumer.committed, assigned))  # type: ignore[union-attr]
            known = {p: stands.get((p.topic, p.partition), Stand()) for p in assigned}
            ahead = {p: min(max(c or 0, known[p].again), ends[p]) for p, c in zip(assigned, committed, strict=True)}
            again = {p: once for p, once in ahead.items() if once > known[p].behind or known[p].again}
            self._forgotten = any(stand.again for stand in stands.values())
            if again and not stands:
                self._forget()
                await self._state.forgotten(_named(again))
        except IronbridgeError as error:
            self._lost = error  # aiokafka would only log it, and go on from the offsets in Kafka
            return
        self._expected, self._again = {}, again
        for partition, (behind, last, _) in known.items():
            if 0 < behind <= ends[partition]:
                self._expected[partition] = (behind - 1, last)
            offset, _ = self._expected.get(partition, (0, ""))
            self._consumer.seek(partition, offset)  # type: ignore[union-attr]
        self._placed = set(assigned)

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
        """At most `most` records; waits 200 ms for the first."""
        events: list[tuple[Event, int]] = []
        rejects: list[Reject] = []
        reached: dict[Partition, tuple[int, str]] = {}
        taken: Counter[str] = Counter()
        again: list[Event] = []
        behind = 0
        with kafka_operation("poll", self._flow), translated(self._flow):
            found = await self._consumer.getmany(timeout_ms=200, max_records=self._most)  # type: ignore[union-attr]
        if self._lost is not None:
            raise self._lost
        for partition, records in found.items():
            # What was fetched before we knew where the state stands comes again from there.
            fresh = self._after_last(partition, records) if partition in self._placed else []
            for record in fresh:
                event = _event_of(record, self._settings.topic_prefix)
                if isinstance(event, Reject):
                    rejects.append(event)
                else:
                    events.append((event, record.partition))
                    if record.offset < self._again.get(partition, 0):
                        again.append(event)
            taken[partition.topic] += len(fresh)
            if fresh:
                reached[partition.topic, partition.partition] = (fresh[-1].offset + 1, _mark(fresh[-1]))
                behind += max((self._consumer.highwater(partition) or 0) - fresh[-1].offset - 1, 0)  # type: ignore[union-attr]
        count_consumed(self._flow, taken)
        until, there = await self._caught_up()
        if again:
            self._forget()
        return Arrivals(events, rejects, reached, behind, again, until if again else {}, there)

    async def _caught_up(self) -> tuple[dict[Partition, int], Collection[Partition]]:
        """What a lost state had read and we have not yet, and the partitions in which we are there again."""
        with translated(self._flow):
            # A position goes beyond the last record, over the markers of transactions.
            self._there = [p for p in self._again if await self._consumer.position(p) >= self._again[p]]  # type: ignore[union-attr]
        left = {p: once for p, once in self._again.items() if p not in self._there}
        return _named(left), _named(dict.fromkeys(self._there))

    def _after_last(self, partition: TopicPartition, records: list[Any]) -> list[Any]:
        """What comes behind the last record that the state has; all from the start where that one is another now."""
        offset, last = self._expected.pop(partition, (-1, ""))
        if records[0].offset != offset:
            return records  # compacted away: what follows is new, or known again by its version
        if _mark(records[0]) == last:
            return records[1:]
        self._consumer.seek(partition, 0)  # type: ignore[union-attr]
        return []

    async def commit(self) -> None:
        try:
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


def _event_of(record: Any, prefix: str) -> Event | Reject:
    """A record as an event that the state can keep, or why it is none."""
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


def _mark(record: Any) -> str:
    """What tells a record from another at its place: its event's id and time, or that it has none."""
    headers = dict(record.headers)
    return f"{_word(headers.get('ce_id'))} {_word(headers.get('ce_time'))} {record.timestamp}"


def _word(value: bytes | None) -> str:
    return (value or b"").decode("ascii", "replace")


def worker_name(configured: str | None) -> str:
    return configured or os.environ.get("HOSTNAME") or os.uname().nodename
