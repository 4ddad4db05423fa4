"""The topics that adapters and flows need: their names, how they are made, and how they are checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from zlib import crc32

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError

from adapters.engine.journal import LARGEST_RECORD, TOMBSTONES
from canonical import Entity
from canonical.errors import MisconfiguredError, UnavailableError
from canonical.event import topic_of
from ironbridge.kafka.client import client_options, connecting
from ironbridge.settings import KafkaSettings

_SIZE = "max.message.bytes"
_TOPIC = {
    "cleanup.policy": "compact",
    _SIZE: str(LARGEST_RECORD),
    "delete.retention.ms": str(int(TOMBSTONES.total_seconds() * 1000)),
}
_TRAIL = {
    # Every record counts, also several of one flow: compaction would keep only the newest.
    "cleanup.policy": "delete",
    # The longest age of a copy that is restored. For an older copy every subject is looked at: that costs more and is safe.
    "retention.ms": str(90 * 24 * 3600 * 1000),
    "retention.bytes": "-1",
    _SIZE: str(LARGEST_RECORD),
}


def cursors_topic(settings: KafkaSettings) -> str:
    return f"{settings.topic_prefix}.cursors"


def trail_topic(settings: KafkaSettings) -> str:
    """The topic of all sends that flows were about to make: see flows/engine/trail.py."""
    return f"{settings.topic_prefix}.trail"


def claims_topic(settings: KafkaSettings) -> str:
    """The topic that says which installation runs which part: see ironbridge/kafka/claims.py."""
    return f"{settings.topic_prefix}.claims"


def partition_of(owner: str, partitions: int) -> int:
    """The partition of an owner: CRC-32, which librdkafka calls `consistent`, so that other producers can agree."""
    return crc32(owner.encode()) % partitions


def topics(settings: KafkaSettings, entities: Iterable[type[Entity]]) -> dict[str, tuple[int, dict[str, str]]]:
    """Every topic that these entities' adapters and flows need, with its partitions and settings."""
    found = {topic_of(entity, settings.topic_prefix): (settings.partitions, _TOPIC) for entity in entities}
    found |= {cursors_topic(settings): (1, _TOPIC), claims_topic(settings): (1, _TOPIC)}
    return found | {trail_topic(settings): (1, _TRAIL)}


async def ensure_topics(settings: KafkaSettings, entities: Iterable[type[Entity]]) -> list[str]:
    """
    Create the topics that are missing and check the others; the names of those created.

    :raises MisconfiguredError: a topic has other partitions or settings than flows rely on, or takes too small records.
    """
    wanted = topics(settings, entities)
    made, sizes = await _ensured(settings, wanted)
    for name, size in sizes.items():
        if size < LARGEST_RECORD:
            raise _other(name, _SIZE, str(size), LARGEST_RECORD, "a large record would be left out")
    return made


async def largest_records(settings: KafkaSettings, entities: Iterable[type[Entity]]) -> dict[str, int]:
    """
    Create the topics that are missing, and tell of each how many bytes the largest record has that it takes. Who runs
    already goes on with a topic that was made smaller meanwhile.

    :raises MisconfiguredError: a topic has other partitions or settings than flows rely on.
    """
    _, sizes = await _ensured(settings, topics(settings, entities))
    return sizes


async def _ensured(
    settings: KafkaSettings, wanted: Mapping[str, tuple[int, dict[str, str]]]
) -> tuple[list[str], dict[str, int]]:
    """The names of the topics that were created, and the size of the largest record of each topic."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    async with connecting(settings, "kafka"):
        await admin.start()
        try:
            there = set(await admin.list_topics())
            missing = [name for name in wanted if name not in there]
            if missing:
                made = [(name, *wanted[name]) for name in missing]
                new = [NewTopic(name, count, settings.replication, topic_configs=each) for name, count, each in made]
                await _create(admin, new)
            # The others' too, which may have been made by another worker since we looked.
            return missing, await _check(admin, wanted)
        finally:
            await admin.close()


async def answers(settings: KafkaSettings) -> None:
    """
    Ask Kafka for its topics, changing nothing.

    :raises UnavailableError: nobody answers. :raises MisconfiguredError: Kafka refuses us.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    async with connecting(settings, "kafka"):
        await admin.start()
        try:
            await admin.list_topics()
        finally:
            await admin.close()


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    try:
        answer = await admin.create_topics(topics)
    except TopicAlreadyExistsError:
        return  # another worker was faster
    for name, code, *_ in getattr(answer, "topic_errors", []):
        if code not in (0, TopicAlreadyExistsError.errno):
            raise MisconfiguredError(
                "kafka", f"topic {name} could not be created (Kafka error {code})",
                fix="create it by hand or grant CREATE; `kafka.replication` may not exceed the number of brokers",
            )  # fmt: skip


async def _described(admin: AIOKafkaAdminClient, names: list[str], patience: float = 15.0) -> list[dict[str, Any]]:
    """The topics, once every broker that we ask has heard of them: a new one takes a moment to get about."""
    for _ in range(int(patience / 0.1)):
        found: list[dict[str, Any]] = await admin.describe_topics(names)
        if len(found) == len(names) and all(topic["error_code"] == 0 and topic["partitions"] for topic in found):
            return found
        await asyncio.sleep(0.1)
    raise UnavailableError("kafka", "topics that were made do not appear", fix="look at the brokers' logs")


async def _check(admin: AIOKafkaAdminClient, wanted: Mapping[str, tuple[int, dict[str, str]]]) -> dict[str, int]:
    """Check partitions and settings; the bytes of the largest record that each topic takes."""
    for topic in await _described(admin, list(wanted)):
        name, count = topic["topic"], len(topic["partitions"])
        if count != wanted[name][0]:
            raise MisconfiguredError(
                "kafka", f"topic {name} has {count} partitions, wanted {wanted[name][0]}",
                fix="set `kafka.partitions` to what is there, or recreate the topic: "
                "an owner's events must stay together",
            )  # fmt: skip
    sizes = {}
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]):
        for _code, _message, _kind, name, entries in answer.resources:
            right = wanted[name][1]
            there = right | {entry[0]: entry[1] for entry in entries}
            if there["cleanup.policy"] != right["cleanup.policy"]:
                policy = there["cleanup.policy"], right["cleanup.policy"]
                raise _other(name, "cleanup.policy", *policy, "old records would be lost")
            sizes[name] = int(there[_SIZE])
    return sizes


def _other(topic: str, setting: str, there: str, right: object, what: str) -> MisconfiguredError:
    return MisconfiguredError(
        "kafka", f"topic {topic} has {setting}={there}: {what}",
        fix=f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config {setting}={right}",
    )  # fmt: skip
