"""Topics and journals, on real Apache Kafka and on the embedded broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from canonical import CareEpisode, Event, Person
from canonical.errors import FencedError, MisconfiguredError, UnavailableError
from ironbridge.kafka.broker import ApacheKafka
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.process import free_port
from ironbridge.kafka.rights import KafkaOperation, KafkaRight, told
from ironbridge.kafka.topics import claims_topic, ensure_topics, faults, trail_topic
from ironbridge.settings import KafkaSettings

pytestmark = pytest.mark.servers
ENTITIES = (Person, CareEpisode)
NOW = datetime.now(UTC)


@pytest.fixture(params=["apache_kafka", "embedded_broker"])
def kafka(request: pytest.FixtureRequest) -> KafkaSettings:
    """Topics of our own on a broker of each kind."""
    broker = request.getfixturevalue(request.param)
    return KafkaSettings(
        broker="none", bootstrap_servers=broker.bootstrap, topic_prefix=broker.prefix().rstrip("."), partitions=4
    )


def event(number: int, version: int = 1, *, entity: str = "person", child: int | None = None, size: int = 20) -> Event:
    owner = f"legacy:person:{number if child is None else child}"
    return Event(entity, "legacy", f"legacy:{entity}:{number}", owner, version, NOW, b"x" * size, "people")


@asynccontextmanager
async def opened(kafka: KafkaSettings, adapter: str = "legacy") -> AsyncIterator[KafkaJournal]:
    await ensure_topics(kafka, ENTITIES)
    journal = KafkaJournal(kafka, adapter, ENTITIES)
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


async def committed(kafka: KafkaSettings, isolation: str = "read_committed", behind: int = 0) -> list[Any]:
    """What a subscriber sees, in the order of each partition; waits for so many records."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, isolation_level=isolation, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        topics = [f"{kafka.topic_prefix}.{entity.type_name}" for entity in ENTITIES]
        partitions = [TopicPartition(topic, p) for topic in topics for p in range(kafka.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[Any] = []
        while any([await consumer.position(p) < ends[p] for p in partitions]) or len(records) < behind:
            for some in (await consumer.getmany(timeout_ms=100)).values():
                records += some
        return records
    finally:
        await consumer.stop()


async def history(journal: KafkaJournal, since: dict[tuple[str, int], int] | None = None) -> list[tuple[str, int]]:
    since = since or dict.fromkeys(await journal.ends(), 0)
    return [(e.key, e.version) async for batch in journal.history(since) for e, _ in batch]


@asynccontextmanager
async def admin(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


# -- topics ------------------------------------------------------------------------------------------------------


OWN = ("cursors", "claims", "trail")
"""The topics other than the entities', each with one partition."""


async def test_topics_are_created_compacted_with_equal_partitions_and_then_left_alone(kafka: KafkaSettings) -> None:
    names = {f"{kafka.topic_prefix}.{name}" for name in ("person", "care-episode", *OWN)}
    assert set(await ensure_topics(kafka, ENTITIES)) == names
    assert await ensure_topics(kafka, ENTITIES) == []
    async with admin(kafka) as client:
        there = {topic["topic"]: len(topic["partitions"]) for topic in await client.describe_topics(sorted(names))}
        assert there == {name: 1 if name.rpartition(".")[2] in OWN else 4 for name in names}
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(names - {trail_topic(kafka)})]
        for answer in await client.describe_configs(asked):
            for *_, entries in answer.resources:
                settings = {entry[0]: entry[1] for entry in entries}
                assert settings["cleanup.policy"] == "compact"
                assert settings["max.message.bytes"] == "8388608"
                assert settings["delete.retention.ms"] == "2592000000"
                assert settings["max.compaction.lag.ms"] == "604800000"
                assert settings["min.insync.replicas"] == "1"
        (trail,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, trail_topic(kafka))])
        kept = {entry[0]: entry[1] for *_, entries in trail.resources for entry in entries}
        assert (kept["cleanup.policy"], kept["retention.ms"]) == ("delete", str(90 * 24 * 3600 * 1000))


async def test_a_topic_on_fewer_brokers_than_wanted_is_refused_and_so_is_one_that_counts_one_copy(kafka: KafkaSettings) -> None:
    await ensure_topics(kafka, ENTITIES)
    three = kafka.model_copy(update={"replication": 3})
    with pytest.raises(MisconfiguredError, match="is kept on 1 brokers, wanted 3"):
        await ensure_topics(three, ENTITIES)
    said = [str(fault) for fault in await faults(three, ENTITIES)]
    assert sum("is kept on 1 brokers, wanted 3" in each for each in said) == 5
    assert sum("min.insync.replicas=1: a record would count as written that one broker alone has" in each for each in said) == 5


async def test_what_a_start_would_refuse_is_found_before_and_nothing_is_made(kafka: KafkaSettings) -> None:
    name = f"{kafka.topic_prefix}.person"
    assert await faults(kafka, ENTITIES) == []
    async with admin(kafka) as client:
        assert not [topic for topic in await client.list_topics() if topic.startswith(kafka.topic_prefix)]
        await client.create_topics([NewTopic(name, 3, 1, topic_configs={"cleanup.policy": "delete"})])
    found = [str(fault) for fault in await faults(kafka.model_copy(update={"replication": 2}), ENTITIES)]
    assert any(f"topic {name} has 3 partitions, wanted 4" in each for each in found)
    assert any(f"topic {name} has cleanup.policy=delete" in each for each in found)
    assert sum("could not be created" in each for each in found) == 4, "this cluster has one broker"


async def test_a_broker_without_acls_lacks_us_no_right_and_one_that_does_not_tell_is_asked_no_more(kafka: KafkaSettings) -> None:
    await ensure_topics(kafka, ENTITIES)
    wanted = [
        KafkaRight("topic", trail_topic(kafka), KafkaOperation.Write),
        KafkaRight("group", f"ironbridge.{kafka.topic_prefix}.flow", KafkaOperation.Read),
        KafkaRight("transactional-id", f"ironbridge.{kafka.topic_prefix}.adapter", KafkaOperation.Write),
    ]
    found = await told(kafka, wanted)
    assert (found.lacking, found.hidden) == ([], set())
    assert found.silent or found.there == {trail_topic(kafka)}


async def test_a_journal_that_opens_again_looks_at_its_own_topics_and_at_nobody_elses(kafka: KafkaSettings) -> None:
    await ensure_topics(kafka, ENTITIES)
    async with admin(kafka) as client:
        await client.delete_topics([trail_topic(kafka), claims_topic(kafka)])
        await client.create_topics([NewTopic(f"{kafka.topic_prefix}.invoice", 7, 1)])
        for name in (trail_topic(kafka), claims_topic(kafka)):
            await until_gone(client, name)
            await client.create_topics([NewTopic(name, 7, 1)])
    with pytest.raises(MisconfiguredError, match="has 7 partitions, wanted 1"):
        await ensure_topics(kafka, ENTITIES)
    journal = KafkaJournal(kafka, "legacy", ENTITIES)
    try:
        await journal.open()
        await journal.publish([event(1)], None)
    finally:
        await journal.close()
    other = KafkaJournal(kafka.model_copy(update={"partitions": 5}), "legacy", ENTITIES)
    with pytest.raises(MisconfiguredError, match="has 4 partitions, wanted 5"):
        await other.open()


async def until_gone(client: AIOKafkaAdminClient, name: str) -> None:
    async with asyncio.timeout(30):
        while name in await client.list_topics():
            await asyncio.sleep(0.05)


async def test_workers_that_start_at_once_create_the_topics_once(kafka: KafkaSettings) -> None:
    created = await asyncio.gather(*(ensure_topics(kafka, ENTITIES) for _ in range(4)))
    assert {name for names in created for name in names} == {
        f"{kafka.topic_prefix}.{name}" for name in ("person", "care-episode", *OWN)
    }
    assert await ensure_topics(kafka, ENTITIES) == []


async def test_a_topic_with_other_partitions_is_refused(kafka: KafkaSettings) -> None:
    await ensure_topics(kafka, ENTITIES)
    with pytest.raises(MisconfiguredError) as error:
        await ensure_topics(kafka.model_copy(update={"partitions": 6}), [Person])
    assert str(error.value) == (
        f"kafka: topic {kafka.topic_prefix}.person has 4 partitions, wanted 6. To do: set `kafka.partitions` to what is "
        "there, or recreate the topic: an owner's events must stay together"
    )


@pytest.mark.parametrize(
    ("made", "what", "right"),
    [
        ({"cleanup.policy": "delete"}, "cleanup.policy=delete: old records would be lost", "cleanup.policy=compact"),
        (
            {
                "cleanup.policy": "compact", "max.message.bytes": "1048588", "max.compaction.lag.ms": "604800000",
                "delete.retention.ms": "2592000000",
            },
            "max.message.bytes=1048588: a large record would be left out",
            "max.message.bytes=8388608",
        ),
        (
            {
                "cleanup.policy": "compact", "max.message.bytes": "8388608", "max.compaction.lag.ms": "604800000",
                "delete.retention.ms": "86400000",
            },
            "delete.retention.ms=86400000: a flow or a subscriber that is away for longer would never hear of a deletion",
            "delete.retention.ms=2592000000",
        ),
        (
            {
                "cleanup.policy": "compact", "max.message.bytes": "8388608", "max.compaction.lag.ms": "604800000",
                "delete.retention.ms": "2592000000", "min.insync.replicas": "2",
            },
            "min.insync.replicas=2: nothing can be written to 1 replicas",
            "min.insync.replicas=1",
        ),
    ],
)
async def test_a_topic_that_forgets_or_takes_too_little_is_refused(
    kafka: KafkaSettings, made: dict[str, str], what: str, right: str
) -> None:
    name = f"{kafka.topic_prefix}.person"
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(name, 4, 1, topic_configs=made)])
    with pytest.raises(MisconfiguredError) as error:
        await ensure_topics(kafka, ENTITIES)
    assert str(error.value) == (
        f"kafka: topic {name} has {what}. To do: kafka-configs --alter --entity-type topics --entity-name {name} "
        f"--add-config {right}"
    )


async def test_a_topic_that_keeps_what_was_deleted_is_named_and_used(
    kafka: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{kafka.topic_prefix}.person"
    async with admin(kafka) as client:
        made = {"cleanup.policy": "compact", "max.message.bytes": "8388608", "delete.retention.ms": "2592000000"}
        await client.create_topics([NewTopic(name, 4, 1, topic_configs=made)])
    await ensure_topics(kafka, ENTITIES)
    assert (
        f"kafka: topic {name} has max.compaction.lag.ms=9223372036854775807: what was deleted would stay on the brokers' disks. "
        f"To do: kafka-configs --alter --entity-type topics --entity-name {name} --add-config max.compaction.lag.ms=604800000"
    ) in caplog.text


# -- journals ----------------------------------------------------------------------------------------------------


async def test_every_event_lies_at_the_place_that_publish_gives(kafka: KafkaSettings) -> None:
    events = [event(n, size=n % 700) for n in range(3000)] + [event(n, entity="care-episode") for n in range(50)]
    async with opened(kafka) as journal:
        places = await journal.publish(events, ("people", {"after": [1]}))
    seen = {(r.topic, r.partition, r.offset): r for r in await committed(kafka, behind=len(events))}
    assert len(seen) == len(events)
    for each, place in zip(events, places, strict=True):
        record = seen[tuple(place)]
        assert (record.key, record.value) == (each.key.encode(), each.data)
        assert Event.from_kafka("here", record.value, record.headers) == each
        assert record.timestamp == int(each.time.timestamp() * 1000)


async def test_an_owners_events_lie_in_one_partition_number_in_every_topic(kafka: KafkaSettings) -> None:
    children = range(40)
    async with opened(kafka) as journal:
        events = [event(n) for n in children] + [event(100 + n, entity="care-episode", child=n) for n in children]
        places = await journal.publish(events, None)
        assert [place.partition for place in places[:40]] == [place.partition for place in places[40:]]
        assert [place.partition for place in places[:40]] == [
            crc32(f"legacy:person:{n}".encode()) % 4 for n in children
        ]
        assert {place.partition for place in places} == {0, 1, 2, 3}
        assert journal.partition_of("legacy:person:7") == places[7].partition


@pytest.mark.parametrize("kafka", ["apache_kafka"], indirect=True)  # the other takes any time
async def test_an_event_of_the_future_is_refused_with_what_to_do_about_it(kafka: KafkaSettings) -> None:
    async with opened(kafka) as journal:
        with pytest.raises(MisconfiguredError) as error:
            await journal.publish([event(1)._replace(time=NOW + timedelta(hours=5))], None)
    assert str(error.value) == (
        "legacy: Kafka refuses our time: it is more than an hour ahead. To do: set this machine's clock, or the broker's"
    )


async def test_an_event_of_megabytes_is_published(kafka: KafkaSettings) -> None:
    async with opened(kafka) as journal:
        await journal.publish([event(1), event(2, size=3_900_000), event(3)], None)
    assert sorted(len(record.value) for record in await committed(kafka, behind=3)) == [20, 20, 3_900_000]


async def test_a_transaction_that_was_cut_short_stays_invisible(
    kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut where all of it was sent and its end was not: a moment later nobody can say whether it was committed."""
    sent = asyncio.Event()

    async def never(_: AIOKafkaProducer) -> None:
        sent.set()
        await asyncio.Future()

    async with opened(kafka) as journal:
        await journal.publish([event(1)], None)
        with monkeypatch.context() as stopped:
            stopped.setattr(AIOKafkaProducer, "commit_transaction", never)
            publishing = asyncio.create_task(journal.publish([event(n) for n in range(10, 5000)], None))
            await asyncio.wait_for(sent.wait(), 30)
            publishing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await publishing
        assert len(await committed(kafka, "read_uncommitted", behind=4991)) == 4991
        await journal.close()
        await journal.open()
        await journal.publish([event(2)], None)
        assert sorted(await history(journal)) == [("legacy:person:1", 1), ("legacy:person:2", 1)]
    assert {record.key for record in await committed(kafka, behind=2)} == {b"legacy:person:1", b"legacy:person:2"}


async def test_a_second_copy_of_an_adapter_fences_off_the_first(kafka: KafkaSettings) -> None:
    async with opened(kafka) as first:
        await first.publish([event(1)], None)
        async with opened(kafka) as second:
            await second.publish([event(2)], None)
            for _ in range(3):
                with pytest.raises(FencedError) as error:
                    await first.publish([event(3)], None)
                assert str(error.value) == "legacy: a newer copy of it has taken over. To do: stop one of the two"
            await second.publish([event(4)], None)
    seen = {record.key for record in await committed(kafka, behind=3)}
    assert seen == {b"legacy:person:1", b"legacy:person:2", b"legacy:person:4"}


async def test_a_copy_that_is_fenced_in_the_middle_of_a_transaction_leaves_nothing_of_it(kafka: KafkaSettings) -> None:
    async with opened(kafka) as first:
        publishing = asyncio.create_task(first.publish([event(n) for n in range(20_000)], None))
        await asyncio.sleep(0.05)
        async with opened(kafka) as second:
            await asyncio.gather(publishing, return_exceptions=True)
            seen = len(await history(second))
            await second.publish([event(90_000)], None)
    # All of it was committed before the second came, or nothing of it is: brokers name the reason differently.
    outcome = publishing.exception()
    assert outcome is None or isinstance(outcome, FencedError | UnavailableError)
    assert seen == (20_000 if outcome is None else 0), repr(outcome)


async def test_history_gives_our_own_committed_events_from_an_offset_on(kafka: KafkaSettings) -> None:
    async with opened(kafka) as journal, opened(kafka, "other") as other:
        for number in range(5):
            await journal.publish([event(number, entity="care-episode", child=7)], None)
            theirs = Event("care-episode", "other", f"other:care-episode:{number}", "legacy:person:7", 1,
                           datetime.now(UTC), None)  # fmt: skip
            await other.publish([theirs], None)
        (partition,) = [p for p, end in (await journal.ends()).items() if end]
        assert (await journal.ends())[partition] == 20  # each event and its marker
        keys = [(f"legacy:care-episode:{number}", 1) for number in range(5)]
        assert await history(journal) == keys
        assert await history(journal, {partition: 5}) == keys[2:]
        assert await history(journal, {partition: 20}) == []
        assert [key for key, _ in await history(other)] == [f"other:care-episode:{number}" for number in range(5)]


async def test_history_waits_for_a_transaction_of_another_adapter_that_holds_up_what_is_ours(
    kafka: KafkaSettings,
) -> None:
    """A read_committed reader sees nothing behind an open transaction; what lies there is ours and counts."""
    async with opened(kafka) as journal:
        other = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id=f"{kafka.topic_prefix}.o")
        await other.start()
        await other.begin_transaction()
        place = await other.send_and_wait(
            f"{kafka.topic_prefix}.person", b"{}", b"other:person:1", partition=journal.partition_of("a")
        )
        mine = Event("person", "legacy", "legacy:person:1", "a", 1, datetime.now(UTC), b"{}", "people")
        await journal.publish([mine], None)
        reading = asyncio.create_task(history(journal))
        await asyncio.sleep(1.5)
        assert not reading.done()
        await other.commit_transaction()
        await other.stop()
        assert await asyncio.wait_for(reading, 20) == [("legacy:person:1", 1)]
        assert place.offset == 0


async def test_a_journal_without_a_broker_says_so_and_leaves_nothing_open() -> None:
    nowhere = KafkaSettings(broker="none", bootstrap_servers=f"127.0.0.1:{free_port()}")
    journal = KafkaJournal(nowhere, "legacy", ENTITIES)
    with pytest.raises(UnavailableError) as error:
        await journal.open()
    assert str(error.value) == (
        "kafka: Kafka does not answer (KafkaConnectionError). To do: check `kafka.bootstrap_servers` and the broker"
    )
    with pytest.raises(UnavailableError, match="the journal is closed"):
        await journal.publish([event(1)], None)
    await journal.close()


async def test_a_broker_that_goes_away_is_given_up_in_time_and_lets_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka by itself would wait for ever, both to publish and to stop. It goes when all is sent and nothing committed."""
    commit = AIOKafkaProducer.commit_transaction

    async def too_late(producer: AIOKafkaProducer) -> None:
        broker.kill()
        await commit(producer)

    async with ApacheKafka(tmp_path) as broker:
        kafka = KafkaSettings(broker="none", bootstrap_servers=broker.bootstrap)
        await ensure_topics(kafka, ENTITIES)
        journal = KafkaJournal(kafka, "legacy", ENTITIES, patience=3)
        await journal.open()
        await journal.publish([event(1)], None)
        began = asyncio.get_running_loop().time()
        monkeypatch.setattr(AIOKafkaProducer, "commit_transaction", too_late)
        with pytest.raises(UnavailableError) as error:
            await journal.publish([event(n) for n in range(5_000)], None)
        monkeypatch.undo()
        assert str(error.value) == (
            "legacy: Kafka does not answer (TimeoutError). To do: check `kafka.bootstrap_servers` and the broker"
        )
        await journal.close()
        assert asyncio.get_running_loop().time() - began < 20
        await broker.start()
        await journal.open()
        assert await history(journal) == [("legacy:person:1", 1)]
        await journal.close()
