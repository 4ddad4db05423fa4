"""Events that an adapter called `legacy` publishes, for tests of those who follow them on a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from canonical import CareEpisode, Person
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.settings import KafkaSettings
from tests.servers import Kafka


def settings_of(kafka: Kafka, partitions: int = 3) -> KafkaSettings:
    prefix = f"{kafka.prefix()}canonical"
    return KafkaSettings(broker="none", bootstrap_servers=kafka.bootstrap, topic_prefix=prefix, partitions=partitions)


@asynccontextmanager
async def journal_of(settings: KafkaSettings) -> AsyncIterator[KafkaJournal]:
    await ensure_topics(settings, [Person, CareEpisode])
    journal = KafkaJournal(settings, "legacy", [Person, CareEpisode])
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()
