"""
Subscribes a service to canonical events, typed by entity, over FastStream's Kafka broker.

    broker = KafkaBroker("kafka-1:9092", allow_auto_create_topics=False)

    @events(broker, Person, group="library-cards")
    async def changed(person: Person | None, change: Change, cards: Annotated[Cards, Depends(cards)]) -> None:
        if person is None:
            await cards.withdraw(change.key)
        else:
            await cards.keep(person, change.version)

Everything else is FastStream's own: dependencies, middlewares, AsyncAPI, its test broker. Nothing of the runtime is imported.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Protocol, TypeAlias

from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faststream import AckPolicy, BaseMiddleware, Context
from faststream.exceptions import AckMessage, IgnoredException
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaRouter
from faststream.kafka.subscriber.usecase import DefaultSubscriber
from opentelemetry import metrics

from canonical import Entity, Event
from canonical.errors import BadRecordError, IronbridgeError, RefusedError, UnavailableError, shape_of
from canonical.event import topic_of
from canonical.key import read_key

log = logging.getLogger(__name__)

Change: TypeAlias = Annotated[Event, Context("change")]
"""The event of which a handler is given the entity: its key, owner, version, source and time."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0  # seconds until an event comes again
_counted = metrics.get_meter(__name__).create_counter(
    "ironbridge.subscriber.events", unit="{event}",
    description="Events of a subscriber by their outcome: handled, older, left_out, failed",
)  # fmt: skip


class Versions(Protocol):
    """
    Remembers the newest version of each key. A service with several copies, or one that must not see an old version after a
    restart, keeps it beside its own data.
    """

    async def newest(self, key: str) -> int:
        """Return the newest version of a key that was kept; 0 if there is none."""
        ...

    async def keep(self, key: str, version: int) -> None:
        """Remember a version. It is called once the handler has done its work."""
        ...


class RecentVersions:
    """Remembers the versions of the `most` keys that changed last, in memory, until the process ends."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._known: dict[str, int] = {}

    async def newest(self, key: str) -> int:
        return self._known.get(key, 0)

    async def keep(self, key: str, version: int) -> None:
        self._known.pop(key, None)  # the newest stands last
        self._known[key] = version
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]


def events(
    broker: KafkaBroker | KafkaRouter,
    *entities: type[Entity],
    group: str,
    worker: str | None = None,
    prefix: str = "canonical",
    versions: Versions | None = None,
) -> DefaultSubscriber:
    """
    Call the decorated handler with each change of these entities, in each key's order, from the first event on.

    The handler is given the entity, None if it was deleted, and the `Change` if it asks for it. An event whose version is not
    newer than the one that `versions` has of its key is passed over. An event is acknowledged once the handler has returned.

    A record that is no event of these entities is logged, counted and left out, and so is one for which the handler raises
    `RefusedError`. For any other error the same event comes again after a pause, and those behind it wait. No log line holds
    anything of a record but its place, its key and the rule that it breaks, and of an error its class and its place.

    `group` is the service's name in Kafka, `worker` the name of one copy, `prefix` the beginning of the topics' names.
    """
    topics = {topic_of(entity, prefix): entity for entity in entities}
    subscription = _Subscription(topics, group, RecentVersions() if versions is None else versions)
    router = KafkaRouter(middlewares=[partial(_Handing, subscription=subscription)])
    broker.include_router(router)
    return router.subscriber(
        *topics,
        group_id=group,
        group_instance_id=worker,  # a copy that is restarted goes on at once
        auto_offset_reset="earliest",  # a new group wants the whole state, not only the changes that come next
        isolation_level="read_committed",  # events that an adapter took back were never published
        # Partition 3 of every topic goes to the same copy: all events of one owner stay together.
        partition_assignment_strategy=[RangePartitionAssignor],
        # FastStream's own choice acknowledges on receipt: a crash would lose the event.
        ack_policy=AckPolicy.NACK_ON_ERROR,
        no_reply=True,
        parser=_with_readable_headers,
        decoder=subscription.entity_of,
    )


def message_of(
    entity: Entity, version: int = 1, *, deleted: bool = False, prefix: str = "canonical", time: datetime | None = None
) -> dict[str, Any]:
    """Make the arguments of `broker.publish` for a test with FastStream's test broker: an adapter's event of this entity."""
    source, name, _ = read_key(entity.key)
    data = None if deleted else entity.to_bytes()
    event = Event(
        name, source, entity.key, entity.owner, version, time or datetime.now(UTC), data, schema_version=entity.version
    )
    headers = {name: value.decode() for name, value in event.headers()}
    return {"message": data, "topic": topic_of(name, prefix), "key": entity.key.encode(), "headers": headers}


@dataclass
class _Subscription:
    """The state of one subscriber. `failures` counts how often the event at hand has failed."""

    topics: Mapping[str, type[Entity]]
    group: str
    versions: Versions
    failures: int = field(default=0, init=False)

    async def entity_of(self, message: KafkaMessage) -> Entity | None:
        """
        Decode a record's value: the entity, or None for a deletion.

        :raises BadRecordError: it is not that entity.
        """
        record: Any = message.raw_message
        if record.value is None:
            return None
        entity: Entity = self.topics[record.topic].from_bytes(record.value)
        return entity

    def event_of(self, message: KafkaMessage) -> Event:
        """
        Read a record's envelope.

        :raises BadRecordError: it is no event of the entity to which its topic belongs.
        """
        record: Any = message.raw_message
        event = Event.from_kafka(_place(record), record.value, [(name, value or b"") for name, value in record.headers])
        if event.type != (wanted := self.topics[record.topic].event_type()):
            fix = "install the release of ironbridge that publishes these events"
            raise BadRecordError(_place(record), field="header ce_type", rule=f"is not {wanted}", shape=event.type, fix=fix)
        if not (event.key + event.owner).isprintable():
            shape = shape_of(event.key)
            raise BadRecordError(_place(record), field="header ce_subject", rule="has signs that are no text", shape=shape)
        return event

    def count(self, record: Any, outcome: str) -> None:
        about = {"messaging.consumer.group.name": self.group, "messaging.destination.name": record.topic}
        _counted.add(1, about | {"ironbridge.outcome": outcome})

    async def pause(self) -> None:
        """Wait after a failure, longer each time: the event comes again at once."""
        seconds = min(_FIRST_PAUSE * 2.0**self.failures, _LONGEST_PAUSE)
        self.failures += 1
        await asyncio.sleep(seconds)


class _Handing(BaseMiddleware):
    """Hands one record to the handler, or leaves it out."""

    def __init__(self, msg: Any, /, *, context: Any, subscription: _Subscription) -> None:
        super().__init__(msg, context=context)
        self._subscription = subscription

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:
        record = msg.raw_message
        try:
            event = self._subscription.event_of(msg)
            if await self._subscription.versions.newest(event.key) >= event.version:
                outcome, result = "older", None
            else:
                outcome, result = await self._handed(call_next, msg, event)
        except BadRecordError as error:
            outcome, result = "left_out", None
            log.warning("left out: %s", error)
        except IgnoredException:  # FastStream's own words, such as `NackMessage`
            raise
        except Exception as error:
            self._subscription.count(record, "failed")
            raise await self._failed(record, error) from None
        self._subscription.failures = 0
        self._subscription.count(record, outcome)
        if outcome != "handled":
            raise AckMessage  # nothing is published for it
        return result

    async def _handed(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any, event: Event) -> tuple[str, Any]:
        outcome, result = "handled", None
        try:
            with self.context.scope("change", event):
                result = await call_next(msg)
        except (BadRecordError, RefusedError) as error:
            outcome = "left_out"
            log.warning("left out: %s of %s: %s", event, _place(msg.raw_message), error)
        await self._subscription.versions.keep(event.key, event.version)
        return outcome, result

    async def _failed(self, record: Any, error: Exception) -> UnavailableError:
        """
        Make the error that FastStream logs. Of a strange error it names the class and the place in the code: its text may
        quote the record.
        """
        await self._subscription.pause()
        said = str(error) if isinstance(error, IronbridgeError) else f"{type(error).__name__} {_line(error)}"
        return UnavailableError(_place(record), f"the event comes again, its handler failed: {said}")


def _place(record: Any) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"


def _line(error: Exception) -> str:
    """Tell where in the code an error was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"at {frame.filename}:{frame.lineno} in {frame.name}"


async def _with_readable_headers(record: Any, parse: Callable[[Any], Awaitable[Any]]) -> Any:
    """FastStream decodes every header, and fails over one that is not text."""
    return await parse(replace(record, headers=tuple((n, v) for n, v in record.headers if _is_text(v))))


def _is_text(value: bytes | None) -> bool:
    try:
        return value is not None and value.decode() is not None
    except UnicodeDecodeError:
        return False
