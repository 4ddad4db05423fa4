"""A service's subscriber: typed, told of each change once and in order, unharmed by bad records; with FastStream's own means."""

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from aiokafka import AIOKafkaProducer
from faststream import BaseMiddleware, Depends
from faststream.kafka import KafkaBroker, TestKafkaBroker
from faststream.kafka.opentelemetry import KafkaTelemetryMiddleware
from faststream.specification import AsyncAPI
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from canonical import CareEpisode, Entity, Event, Name, Person
from canonical.errors import RefusedError, UnavailableError
from ironbridge.settings import KafkaSettings
from ironbridge.subscribe import Change, RecentVersions, events, message_of
from tests.fixtures import Metered
from tests.published import journal_of, settings_of
from tests.servers import Kafka

ROOT = Path(__file__).resolve().parents[1]
NOON = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
PATIENCE = 60.0
TOPIC = "canonical.person"
SECRETS = ("Wilhelmina", "Darby", "WBRI")


def person(number: int = 1) -> Person:
    return Person(key=f"legacy:person:{number}", names=(Name(given="Wilhelmina", family="Darby"),), ethnicity="WBRI")


@dataclass
class Service:
    """A service that keeps what it was told; `trouble` is raised once for each of its errors."""

    told: list[tuple[str, int, Entity | None]] = field(default_factory=list)
    trouble: list[Exception] = field(default_factory=list)
    broker: KafkaBroker = field(default_factory=lambda: KafkaBroker("nowhere:1"))

    def __post_init__(self) -> None:
        @events(self.broker, Person, group="cards")
        async def changed(person: Person | None, change: Change) -> None:
            if self.trouble:
                raise self.trouble.pop(0)
            self.told.append((change.key, change.version, person))

    @property
    def versions(self) -> list[int]:
        return [version for _, version, _ in self.told]


@pytest.fixture
def service() -> Service:
    return Service()


def outcomes(metered: Metered) -> dict[str, int]:
    points = metered.read().get("ironbridge.subscriber.events", [])
    return {point.attributes["ironbridge.outcome"]: point.value for point in points if point.value}


# -- with FastStream's test broker -----------------------------------------------------------------------------------


async def test_a_handler_is_given_the_entity_the_change_and_its_own_dependencies() -> None:
    broker, told = KafkaBroker("nowhere:1"), list[Any]()

    async def cards() -> str:
        return "the cards"

    @events(broker, Person, group="cards")
    async def changed(entity: Person | None, change: Change, cards: Annotated[str, Depends(cards)]) -> None:
        told.append((entity, change.key, change.version, change.source, change.time, cards))

    async with TestKafkaBroker(broker):
        await broker.publish(**message_of(person(), 7, time=NOON))
        await broker.publish(**message_of(person(), 8, deleted=True, time=NOON))
    rest = ("legacy", NOON, "the cards")
    assert told == [(person(), "legacy:person:1", 7, *rest), (None, "legacy:person:1", 8, *rest)]


async def test_a_version_that_is_not_newer_is_passed_over(service: Service, metered: Metered) -> None:
    async with TestKafkaBroker(service.broker):
        for version in (5, 5, 3, 6):
            await service.broker.publish(**message_of(person(), version))
        await service.broker.publish(**message_of(person(), 4, deleted=True))  # the place that it moved away from
        await service.broker.publish(**message_of(person(2), 1))
    assert [(key, version) for key, version, _ in service.told] == [
        ("legacy:person:1", 5), ("legacy:person:1", 6), ("legacy:person:2", 1),
    ]  # fmt: skip
    assert outcomes(metered) == {"handled": 3, "older": 3}


async def test_a_record_that_is_no_such_event_is_told_counted_and_left_out(
    service: Service, metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = message_of(person(), 2) | {"message": b'{"key":"legacy:person:1","names":"Wilhelmina"}'}
    episode = CareEpisode(key="legacy:care-episode:9", person="legacy:person:1", primary_need="N1")
    newer = message_of(person(), 2)
    newer["headers"] = newer["headers"] | {"ce_type": "ironbridge.person.v2"}
    async with TestKafkaBroker(service.broker):
        await service.broker.publish(**message_of(person(2), 1))
        await service.broker.publish(b"Wilhelmina", topic=TOPIC, key=b"Wilhelmina", headers={"spanId": "Darby"})
        await service.broker.publish(**wrong)
        await service.broker.publish(**message_of(episode, 1) | {"topic": TOPIC})
        await service.broker.publish(**newer)
        await service.broker.publish(**message_of(person(2), 2))
    assert [(key, version) for key, version, _ in service.told] == [("legacy:person:2", 1), ("legacy:person:2", 2)]
    assert outcomes(metered) == {"handled": 2, "left_out": 4}
    here = f"{TOPIC}[0]@0"
    assert [record.getMessage() for record in caplog.records if record.name == "ironbridge.subscribe"] == [
        f"left out: {here}: header ce_specversion: is missing (its shape: nothing). "
        "To do: publish to this topic through an Ironbridge adapter only",
        f"left out: Event(legacy:person:1@2) of {here}: person: names: Input should be a valid array "
        "(its shape: text aaaaaaaaaa)",
        f"left out: {here}: header ce_type: is not ironbridge.person.v1 (its shape: ironbridge.care-episode.v1). "
        "To do: install the release of ironbridge that publishes these events",
        f"left out: {here}: header ce_type: is not ironbridge.person.v1 (its shape: ironbridge.person.v2). "
        "To do: install the release of ironbridge that publishes these events",
    ]
    assert not [word for word in SECRETS if word in caplog.text]


async def test_an_event_that_the_service_refuses_is_left_out_for_good(
    service: Service, metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    service.trouble = [RefusedError("cards", "a card is for people above 5")]
    async with TestKafkaBroker(service.broker):
        await service.broker.publish(**message_of(person(), 2))
        await service.broker.publish(**message_of(person(), 2))
        await service.broker.publish(**message_of(person(), 3))
    assert service.versions == [3]
    assert outcomes(metered) == {"handled": 1, "left_out": 1, "older": 1}
    assert "left out: Event(legacy:person:1@2) of canonical.person[0]@0: cards: a card is for people above 5" in caplog.text


async def test_an_event_whose_handler_fails_counts_as_not_seen_and_the_error_quotes_nothing(
    service: Service, metered: Metered
) -> None:
    service.trouble = [KeyError("Wilhelmina Darby"), UnavailableError("cards", "the database does not answer")]
    async with TestKafkaBroker(service.broker):
        with pytest.raises(UnavailableError) as strange:
            await service.broker.publish(**message_of(person(), 2))
        with pytest.raises(UnavailableError) as ours:
            await service.broker.publish(**message_of(person(), 2))
        await service.broker.publish(**message_of(person(), 2))
    failed = f"{TOPIC}[0]@0: the event comes again, its handler failed: "
    assert str(strange.value).startswith(f"{failed}KeyError at {__file__}:")
    assert str(strange.value).endswith(" in changed")
    assert str(ours.value) == f"{failed}cards: the database does not answer"
    assert service.versions == [2]
    assert outcomes(metered) == {"handled": 1, "failed": 2}


async def test_a_service_may_keep_the_versions_beside_its_own_data(metered: Metered) -> None:
    broker, told, kept = KafkaBroker("nowhere:1"), list[int](), {"legacy:person:1": 4}

    class Table:
        async def newest(self, key: str) -> int:
            return kept.get(key, 0)

        async def keep(self, key: str, version: int) -> None:
            kept[key] = version

    @events(broker, Person, group="cards", versions=Table())
    async def changed(entity: Person | None, change: Change) -> None:
        assert kept["legacy:person:1"] < change.version  # it is kept once the work is done
        told.append(change.version)

    async with TestKafkaBroker(broker):
        for version in (4, 6):
            await broker.publish(**message_of(person(), version))
    assert told == [6]
    assert kept == {"legacy:person:1": 6}


async def test_the_versions_in_memory_are_those_of_the_keys_that_changed_last() -> None:
    versions = RecentVersions(most=2)
    for key, version in (("a", 1), ("b", 1), ("a", 2), ("c", 1)):
        await versions.keep(key, version)
    assert [await versions.newest(key) for key in "abc"] == [2, 0, 1]


async def test_what_a_handler_returns_is_published_on_and_nothing_for_an_event_that_is_passed_over() -> None:
    broker, on = KafkaBroker("nowhere:1"), list[str]()

    @broker.publisher("cards")
    @events(broker, Person, group="cards")
    async def changed(entity: Person | None, change: Change) -> str:
        return change.key

    @broker.subscriber("cards")
    async def card(key: str) -> None:
        on.append(key)

    async with TestKafkaBroker(broker):
        for version in (2, 1):
            await broker.publish(**message_of(person(), version))
    assert on == ["legacy:person:1"]


async def test_a_service_s_middlewares_and_other_subscribers_are_as_they_were(spans: InMemorySpanExporter) -> None:
    seen, other = list[Any](), list[str]()

    class Seeing(BaseMiddleware[Any, Any]):
        async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: Any) -> Any:
            seen.append(msg.raw_message.topic)
            return await call_next(msg)

    broker = KafkaBroker("nowhere:1", middlewares=[Seeing, KafkaTelemetryMiddleware()])

    @events(broker, Person, group="cards")
    async def changed(entity: Person | None, change: Change) -> None: ...

    @broker.subscriber("orders")
    async def ordered(order: str) -> None:
        other.append(order)

    message = message_of(person())
    message["headers"] |= {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    elsewhere = KafkaBroker("nowhere:1")  # an adapter: its events carry the traces of their changes
    async with TestKafkaBroker(broker, elsewhere):
        await broker.publish("a card", topic="orders")
        spans.clear()
        await elsewhere.publish(**message)
    assert other == ["a card"]
    assert seen == ["orders", TOPIC]
    # The trace goes on from the change: FastStream's own middleware reads the event's traceparent.
    assert {format(span.context.trace_id, "032x") for span in spans.get_finished_spans() if span.context} == {"a" * 32}


def test_a_service_s_asyncapi_names_the_topic_and_the_entity(service: Service) -> None:
    document = json.loads(AsyncAPI(service.broker).to_specification().to_json())
    assert [channel["address"] for channel in document["channels"].values()] == [TOPIC]
    assert [operation["action"] for operation in document["operations"].values()] == ["receive"]
    assert document["components"]["schemas"]["Person"]["properties"]["names"]["x-sensitivity"] == "identifying"


def test_a_service_imports_nothing_of_the_runtime() -> None:
    script = "import sys, ironbridge.subscribe; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = [name for name in done.stdout.split() if name.partition(".")[0] in ("ironbridge", "adapters", "flows")]
    assert ours == ["ironbridge", "ironbridge.subscribe"]


# -- against real brokers --------------------------------------------------------------------------------------------


def event_of(number: int, version: int = 1, *, deleted: bool = False, owner: str = "") -> Event:
    key = f"legacy:person:{number}"
    return Event("person", "legacy", key, owner or key, version, NOON, None if deleted else person(number).to_bytes())


@asynccontextmanager
async def following(settings: KafkaSettings, act: Callable[[Person | None, Event], Awaitable[None]]) -> AsyncIterator[None]:
    log = logging.getLogger("cards")
    broker = KafkaBroker(settings.bootstrap_servers, allow_auto_create_topics=False, graceful_timeout=1, logger=log)

    @events(broker, Person, group=settings.topic_prefix, prefix=settings.topic_prefix)
    async def changed(entity: Person | None, change: Change) -> None:
        await act(entity, change)

    async with broker:
        await broker.start()
        yield


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():
            await asyncio.sleep(0.05)


async def sent(settings: KafkaSettings, *records: tuple[bytes | None, list[tuple[str, bytes]]]) -> None:
    """Records that no adapter has published."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    await producer.start()
    try:
        for value, headers in records:
            await producer.send_and_wait(f"{settings.topic_prefix}.person", value, key=b"x", headers=headers, partition=0)
    finally:
        await producer.stop()


async def test_a_copy_is_as_the_adapter_has_it_after_changes_deletions_moves_and_a_restart(apache_kafka: Kafka) -> None:
    settings, copy, order = settings_of(apache_kafka), dict[str, int](), list[tuple[str, int]]()

    async def act(entity: Person | None, change: Event) -> None:
        order.append((change.key, change.version))
        if entity is None:
            copy.pop(change.key, None)
        else:
            assert entity.key == change.key
            copy[change.key] = change.version

    first = [event_of(number, version) for version in (1, 2) for number in range(60)]
    deleted = [event_of(number, 3, deleted=True) for number in range(10)]
    moved = [
        event
        for number in range(10, 20)
        for event in (event_of(number, 3, deleted=True), event_of(number, 4, owner=f"legacy:person:{number + 100}"))
    ]
    wanted = {f"legacy:person:{number}": 2 for number in range(20, 60)}
    # They lie in the partitions that were left, behind the tombstones there: who has these has had those.
    last = [event_of(number + 200, owner=f"legacy:person:{number}") for number in range(10, 20)]
    wanted |= {f"legacy:person:{number}": 4 for number in range(10, 20)} | {event.key: 1 for event in last}
    async with journal_of(settings) as journal:
        async with following(settings, act):
            await journal.publish(first, None)
            await until(lambda: sum(copy.values()) == 120)
        await journal.publish(deleted + moved, None)
        async with following(settings, act):
            await journal.publish(last, None)
            await until(lambda: copy == wanted)
    assert copy == wanted
    for key in wanted:
        seen = [version for each, version in order if each == key]
        assert seen == sorted(set(seen)), key  # each version once, in its order


async def test_a_bad_record_harms_no_other_and_a_failed_event_comes_again(
    apache_kafka: Kafka, metered: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    settings, done = settings_of(apache_kafka, partitions=1), list[str]()
    trouble: list[Exception] = [UnavailableError("cards", "does not answer"), KeyError("Wilhelmina")]

    async def act(entity: Person | None, change: Event) -> None:
        if change.key == "legacy:person:5" and trouble:
            raise trouble.pop()
        done.append(change.key)

    async with journal_of(settings) as journal, following(settings, act):
        began = time.monotonic()
        await journal.publish([event_of(number) for number in range(4)], None)
        await sent(
            settings,
            (b"Wilhelmina", [("spanId", b"\xff\xfe")]),  # a header that is no text
            (b"Wilhelmina", []),
            (None, []),
            (b'{"names":7}', event_of(4).headers()),
        )
        await journal.publish([event_of(number) for number in range(4, 10)], None)
        await until(lambda: len(done) >= 9)
        assert time.monotonic() - began > 1.4  # two failures, each with its pause
    # The fourth one came with a bad value first, under the same version: it was left out.
    assert done == [f"legacy:person:{number}" for number in (0, 1, 2, 3, 5, 6, 7, 8, 9)]
    assert outcomes(metered) == {"handled": 9, "left_out": 4, "failed": 2, "older": 1}
    assert caplog.text.count("left out: ") == 4
    # FastStream logs each failure, with a traceback.
    failures = [record for record in caplog.records if "the event comes again, its handler failed: " in record.getMessage()]
    assert [(record.name, record.exc_info is not None) for record in failures] == [("cards", True)] * 2
    assert not [word for word in SECRETS if word in caplog.text]


async def test_events_that_an_adapter_took_back_are_never_seen(apache_kafka: Kafka) -> None:
    settings, done = settings_of(apache_kafka), list[str]()

    async def act(entity: Person | None, change: Event) -> None:
        done.append(change.key)

    async with journal_of(settings) as journal, following(settings, act):
        producer = AIOKafkaProducer(
            bootstrap_servers=settings.bootstrap_servers, transactional_id=f"{settings.topic_prefix}.another"
        )
        await producer.start()
        try:
            await producer.begin_transaction()
            taken_back = event_of(1)
            await producer.send_and_wait(
                f"{settings.topic_prefix}.person", taken_back.data, key=b"1", headers=taken_back.headers()
            )
            await producer.abort_transaction()
        finally:
            await producer.stop()
        await journal.publish([event_of(number) for number in range(2, 12)], None)
        await until(lambda: len(done) == 10)
    assert "legacy:person:1" not in done


async def test_an_event_is_acknowledged_only_when_its_work_is_done(apache_kafka: Kafka) -> None:
    """A service that is stopped in the middle of an event is given it again."""
    settings, begun, done = settings_of(apache_kafka, partitions=1), list[str](), list[str]()

    async def hang(entity: Person | None, change: Event) -> None:
        begun.append(change.key)
        if len(begun) == 2:
            await asyncio.sleep(3600)

    async def act(entity: Person | None, change: Event) -> None:
        done.append(change.key)

    async with journal_of(settings) as journal:
        await journal.publish([event_of(number) for number in range(3)], None)
        broken = asyncio.create_task(_forever(settings, hang))
        await until(lambda: len(begun) == 2)
        broken.cancel()
        await asyncio.gather(broken, return_exceptions=True)
        async with following(settings, act):
            await until(lambda: len(done) == 2)
    assert done == ["legacy:person:1", "legacy:person:2"]


async def _forever(settings: KafkaSettings, act: Callable[[Person | None, Event], Awaitable[None]]) -> None:
    async with following(settings, act):
        await asyncio.sleep(3600)


