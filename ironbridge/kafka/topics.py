"""The topics that adapters and flows need: their names, how they are made, and how they are checked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any
from zlib import crc32

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, TopicAuthorizationFailedError

from adapters.engine.journal import LARGEST_RECORD, TOMBSTONES
from canonical import Entity
from canonical.errors import MisconfiguredError, UnavailableError
from canonical.event import topic_of
from ironbridge.kafka.client import client_options, connecting
from ironbridge.kafka.rights import KafkaOperation, KafkaRight
from ironbridge.settings import KafkaSettings

log = logging.getLogger(__name__)
Topics = dict[str, tuple[int, dict[str, str]]]
"""By name, the partitions and the settings that a topic should have."""

_SIZE = "max.message.bytes"
_LAG = "max.compaction.lag.ms"
_DELETIONS = "delete.retention.ms"
_TOPIC = {
    "cleanup.policy": "compact",
    _SIZE: str(LARGEST_RECORD),
    _DELETIONS: str(int(TOMBSTONES.total_seconds() * 1000)),
    # Brokers compact a topic at least once a week, also one that is seldom written to: then old contents leave their disks.
    _LAG: str(7 * 24 * 3600 * 1000),
}
_TRAIL = {
    # Every record counts, also several of one flow: compaction would keep only the newest.
    "cleanup.policy": "delete",
    # The longest age of a copy that is restored. For an older copy every subject is looked at: that costs more and is safe.
    "retention.ms": str(90 * 24 * 3600 * 1000),
    "retention.bytes": "-1",
    _SIZE: str(LARGEST_RECORD),
}


class LateErasureError(MisconfiguredError):
    """A topic of others' or of an older release's making keeps what was deleted for longer. It loses nothing: no start fails."""


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


def topics(settings: KafkaSettings, entities: Iterable[type[Entity]]) -> Topics:
    """Every topic that these entities' adapters and flows need, with its partitions and settings."""
    claims = {claims_topic(settings): (1, _TOPIC | _in_sync(settings))}
    return journal_topics(settings, entities) | claims | trail_topics(settings)


def journal_topics(settings: KafkaSettings, entities: Iterable[type[Entity]]) -> Topics:
    """The topics that an adapter of these entities publishes to."""
    kept = _TOPIC | _in_sync(settings)
    found = {topic_of(entity, settings.topic_prefix): (settings.partitions, kept) for entity in entities}
    return found | {cursors_topic(settings): (1, kept)}


def trail_topics(settings: KafkaSettings) -> Topics:
    """The topic of the trail."""
    return {trail_topic(settings): (1, _TRAIL | _in_sync(settings))}


def _in_sync(settings: KafkaSettings) -> dict[str, str]:
    # A record counts as written once so many brokers have it; one of three may be away, and nothing is lost with another.
    return {"min.insync.replicas": "2" if settings.replication > 2 else "1"}


async def ensure_topics(settings: KafkaSettings, entities: Iterable[type[Entity]]) -> list[str]:
    """
    Create the topics that are missing and check the others; the names of those created.

    :raises MisconfiguredError: a topic has other partitions or settings than flows rely on, or takes too small records.
    """
    wanted = topics(settings, entities)
    made, sizes = await _ensured(settings, wanted)
    for fault in _too_small(sizes):
        raise fault
    return made


def _too_small(sizes: Mapping[str, int]) -> list[MisconfiguredError]:
    small = {name: size for name, size in sizes.items() if size < LARGEST_RECORD}
    return [_other(n, _SIZE, str(size), LARGEST_RECORD, "a large record would be left out") for n, size in small.items()]


async def largest_records(settings: KafkaSettings, wanted: Topics) -> dict[str, int]:
    """
    Create those of the topics that are missing, and tell of each how many bytes the largest record has that it takes. Who
    runs already goes on with a topic that was made smaller meanwhile, and whatever is wrong with topics of others.

    :raises MisconfiguredError: a topic has other partitions or settings than flows rely on.
    """
    _, sizes = await _ensured(settings, wanted)
    return sizes


async def _ensured(
    settings: KafkaSettings, wanted: Topics
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
                await _create(admin, settings, new)
            # The others' too, which may have been made by another worker since we looked.
            found, sizes = await _check(admin, settings, wanted)
            for fault in found:
                if not isinstance(fault, LateErasureError):
                    raise fault
                log.warning("%s", fault)
            return missing, sizes
        finally:
            await admin.close()


async def faults(
    settings: KafkaSettings, entities: Iterable[type[Entity]], hidden: Collection[str] = ()
) -> list[MisconfiguredError]:
    """
    What `ensure_topics` would refuse, all of it, and changing nothing: Kafka is asked whether it would make what is missing.
    Nothing can be said about `hidden` topics, which our user may not see.

    :raises UnavailableError: nobody answers. :raises MisconfiguredError: Kafka refuses us.
    """
    wanted = {name: made for name, made in topics(settings, entities).items() if name not in hidden}
    admin = AIOKafkaAdminClient(**client_options(settings))
    async with connecting(settings, "kafka"):
        await admin.start()
        try:
            there = set(await admin.list_topics())
            missing = {name: made for name, made in wanted.items() if name not in there}
            found = await _unmakeable(admin, settings, missing)
            if known := {name: made for name, made in wanted.items() if name in there}:
                wrong, sizes = await _check(admin, settings, known)
                found += wrong + _too_small(sizes)
            return found
        finally:
            await admin.close()


async def _unmakeable(
    admin: AIOKafkaAdminClient, settings: KafkaSettings, missing: Topics
) -> list[MisconfiguredError]:
    if not missing:
        return []
    new = [NewTopic(name, count, settings.replication, topic_configs=each) for name, (count, each) in missing.items()]
    answer = await admin.create_topics(new, validate_only=True)
    return _refusals(settings, answer)


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


async def _create(admin: AIOKafkaAdminClient, settings: KafkaSettings, topics: list[NewTopic]) -> None:
    try:
        answer = await admin.create_topics(topics)
    except TopicAlreadyExistsError:
        return  # another worker was faster
    for refusal in _refusals(settings, answer):
        raise refusal


def _refusals(settings: KafkaSettings, answer: Any) -> list[MisconfiguredError]:
    found = {name: code for name, code, *_ in getattr(answer, "topic_errors", [])}
    return [_refusal(settings, n, c) for n, c in sorted(found.items()) if c not in (0, TopicAlreadyExistsError.errno)]


def _refusal(settings: KafkaSettings, topic: str, code: int) -> MisconfiguredError:
    if code == TopicAuthorizationFailedError.errno:
        right = KafkaRight("topic", topic, KafkaOperation.Create)
        return MisconfiguredError(
            "kafka", f"the topic is missing, and our user lacks {right}", fix=f"create it by hand, or {right.granting(settings)}"
        )
    return MisconfiguredError(
        "kafka", f"topic {topic} could not be created (Kafka error {code})",
        fix="create it by hand; `kafka.replication` may not exceed the number of brokers",
    )  # fmt: skip


async def _described(admin: AIOKafkaAdminClient, names: list[str], patience: float = 15.0) -> list[dict[str, Any]]:
    """The topics, once every broker that we ask has heard of them: a new one takes a moment to get about."""
    for _ in range(int(patience / 0.1)):
        found: list[dict[str, Any]] = await admin.describe_topics(names)
        if len(found) == len(names) and all(topic["error_code"] == 0 and topic["partitions"] for topic in found):
            return found
        if hidden := [topic["topic"] for topic in found if topic["error_code"] == TopicAuthorizationFailedError.errno]:
            raise TopicAuthorizationFailedError(hidden)
        await asyncio.sleep(0.1)
    raise UnavailableError("kafka", "topics that were made do not appear", fix="look at the brokers' logs")


async def _check(
    admin: AIOKafkaAdminClient, settings: KafkaSettings, wanted: Topics
) -> tuple[list[MisconfiguredError], dict[str, int]]:
    """Give a sentence for each fault of partitions, replicas and settings, and by topic the bytes of the largest record."""
    found, replicas, sizes = [], {}, {}
    for topic in await _described(admin, list(wanted)):
        name, count = topic["topic"], len(topic["partitions"])
        # A new partition has no leader for a moment, and then nobody tells its replicas.
        if told := [len(partition["replicas"]) for partition in topic["partitions"] if partition["replicas"]]:
            replicas[name] = min(told)
        if count != wanted[name][0]:
            found.append(MisconfiguredError(
                "kafka", f"topic {name} has {count} partitions, wanted {wanted[name][0]}",
                fix="set `kafka.partitions` to what is there, or recreate the topic: "
                "an owner's events must stay together",
            ))  # fmt: skip
        if replicas.get(name, settings.replication) < settings.replication:
            found.append(MisconfiguredError(
                "kafka", f"topic {name} is kept on {replicas[name]} brokers, wanted {settings.replication}",
                fix="give it more with kafka-reassign-partitions, or set `kafka.replication` to what is there",
            ))  # fmt: skip
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]):
        for _code, _message, _kind, name, entries in answer.resources:
            right = wanted[name][1]
            # A managed service may not tell all of them.
            there = right | {entry[0]: entry[1] for entry in entries if entry[1]}
            sizes[name] = int(there[_SIZE])
            found += [
                _other(name, setting, there[setting], right[setting], what)
                for setting, what in _wrong(there, right, replicas.get(name, settings.replication))
            ]
    return found, sizes


def _wrong(there: Mapping[str, str], right: Mapping[str, str], replicas: int) -> Iterator[tuple[str, str]]:
    """The settings of a topic with which it does not keep what we promise, and what would happen."""
    if there["cleanup.policy"] != right["cleanup.policy"]:
        yield "cleanup.policy", "old records would be lost"
    if _LAG in right and int(there[_LAG]) > int(right[_LAG]):
        yield _LAG, "what was deleted would stay on the brokers' disks"
    if _DELETIONS in right and int(there[_DELETIONS]) < int(right[_DELETIONS]):
        yield _DELETIONS, "a flow or a subscriber that is away for longer would never hear of a deletion"
    in_sync = int(there["min.insync.replicas"])
    if in_sync < int(right["min.insync.replicas"]):
        yield "min.insync.replicas", "a record would count as written that one broker alone has"
    elif in_sync > replicas:
        yield "min.insync.replicas", f"nothing can be written to {replicas} replicas"


def _other(topic: str, setting: str, there: str, right: object, what: str) -> MisconfiguredError:
    kind = LateErasureError if setting == _LAG else MisconfiguredError
    return kind(
        "kafka", f"topic {topic} has {setting}={there}: {what}",
        fix=f"kafka-configs --alter --entity-type topics --entity-name {topic} --add-config {setting}={right}",
    )  # fmt: skip
