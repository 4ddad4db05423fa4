"""`ironbridge check` finds what `ironbridge run` would refuse, and changes nothing."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy import text

from canonical import Invoice, Supplier
from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from ironbridge.kafka.claims import KafkaClaims
from ironbridge.kafka.process import HOST
from ironbridge.kafka.topics import claims_topic, ensure_topics
from ironbridge.operate.checks import findings
from ironbridge.runtime import bridge
from ironbridge.settings import KafkaSettings, Settings, StateSettings
from ironbridge.store import open_store
from ironbridge.store.installation import Installation, installation
from tests.secure_kafka import Secure
from tests.servers import Kafka


def settings_of(kafka: KafkaSettings, folder: Path) -> Settings:
    state = StateSettings.model_validate({"url": f"sqlite+aiosqlite:///{folder / 'state.sqlite3'}"})
    drop = folder / "drop"
    drop.mkdir(exist_ok=True)
    payables = {"folders": [str(drop)], "layouts": ["payments-list"]}
    return Settings(data=folder, kafka=kafka, state=state, adapters={"payables": payables})


async def said(settings: Settings) -> list[str]:
    return [finding.what for finding in await everything(settings) if not finding.well]


async def everything(settings: Settings) -> list[Finding]:
    return [finding async for finding in findings(settings)]


async def test_a_state_without_tables_is_well_and_none_are_made(tmp_path: Path) -> None:
    settings = settings_of(KafkaSettings(), tmp_path)
    whats = [finding.what for finding in await everything(settings)]
    assert "state answers; its tables: there are none yet, `ironbridge migrate` or the next `run` sees to it" in whats
    assert not (tmp_path / "state.sqlite3").exists()


async def test_systems_can_be_looked_at_by_name_without_the_state_and_kafka(tmp_path: Path) -> None:
    away = KafkaSettings(broker="none", bootstrap_servers="127.0.0.1:1")
    settings = settings_of(away, tmp_path)
    section = settings.adapters["payables"] | {"system": "payables"}
    settings = settings.model_copy(update={"adapters": {"payables": section, "school": section}})
    named = [finding.what async for finding in findings(settings, ["payables"])]
    assert named
    assert all(what.startswith("payables") for what in named)
    with pytest.raises(MisconfiguredError, match=r"paybles is no adapter, target or flow.*there are: payables, school"):
        assert not [finding async for finding in findings(settings, ["paybles"])]


async def test_a_state_of_another_prefix_is_found_and_refused(tmp_path: Path) -> None:
    settings = settings_of(KafkaSettings(broker="none", bootstrap_servers="127.0.0.1:1", topic_prefix="council"), tmp_path)
    store = await open_store(settings.state_url)
    async with store.write() as connection:
        into = 'INSERT INTO ingested (flow, topic, "partition", next, last)'
        await connection.execute(text(f"{into} VALUES ('cloud', 'council.live.invoice', 0, 1, '')"))
    await store.close()
    wrong = "it belongs to the topics `council.live.*`, and `kafka.topic_prefix` is council: nothing would come"
    assert f"state: {wrong}" in await said(settings)
    with pytest.raises(MisconfiguredError) as refused:
        async with bridge.platform(settings):
            raise AssertionError
    assert refused.value.what == wrong


async def test_what_is_wrong_with_the_topics_is_found_all_of_it_and_none_is_made(apache_kafka: Kafka, tmp_path: Path) -> None:
    prefix = apache_kafka.prefix() + "c"
    kafka = KafkaSettings(broker="none", bootstrap_servers=apache_kafka.bootstrap, topic_prefix=prefix, partitions=4)
    settings = settings_of(kafka, tmp_path)
    assert [what for what in await said(settings) if what.startswith("kafka")] == []
    client = AIOKafkaAdminClient(bootstrap_servers=apache_kafka.bootstrap)
    await client.start()
    try:
        assert not [name for name in await client.list_topics() if name.startswith(prefix)]
        made = {"cleanup.policy": "delete", "max.message.bytes": "1048588", "min.insync.replicas": "2"}
        await client.create_topics([NewTopic(f"{prefix}.invoice", 3, 1, topic_configs=made)])
    finally:
        await client.close()
    three = settings.model_copy(update={"kafka": kafka.model_copy(update={"replication": 3})})
    found = "\n".join(await said(three))
    for wrong in (
        "has 3 partitions, wanted 4", "is kept on 1 brokers, wanted 3", "has cleanup.policy=delete",
        "has max.message.bytes=1048588", "has max.compaction.lag.ms", "has delete.retention.ms=86400000",
        "has min.insync.replicas=2: nothing can be written",
    ):  # fmt: skip
        assert f"kafka: topic {prefix}.invoice {wrong}" in found, found
    assert f"topic {prefix}.supplier could not be created" in found, "this cluster has one broker"


# -- who else runs our parts, and what is asked of whom -----------------------------------------------------------------

PART = "adapter/payables"


@asynccontextmanager
async def running(settings: Settings, mine: Installation, host: str) -> AsyncIterator[KafkaClaims]:
    claims = KafkaClaims(settings.kafka, mine, host)
    try:
        await claims.hold(PART)
        yield claims
    finally:
        await claims.close()


async def about(settings: Settings) -> list[Finding]:
    return [finding for finding in await everything(settings) if finding.what.startswith(PART)]


async def test_an_adapter_that_runs_already_is_said_and_is_no_fault(apache_kafka: Kafka, tmp_path: Path) -> None:
    settings = settings_of(broker_of(apache_kafka), tmp_path)
    await ensure_topics(settings.kafka, [Invoice, Supplier])
    store = await open_store(settings.state_url)
    mine = await installation(store)
    await store.close()
    async with running(settings, mine, "bridge-1"):
        before = await size(settings)
        (twin,) = await about(settings)
        assert twin.well
        assert re.fullmatch(
            r"adapter/payables: worker bridge-1 runs it since \d{4}-\d\d-\d\d \d\d:\d\d UTC, or was killed\. "
            r"A second one takes over, and that one stops", twin.what,
        )  # fmt: skip
        assert await size(settings) == before, "nothing is written, and nobody has to answer"
        async with running(settings, mine, "bridge-2"):
            assert [each.what.split(" runs")[0] for each in await about(settings)] == [f"{PART}: worker bridge-2"]
    assert await about(settings) == [], "both said that they ended"


async def test_another_installation_that_has_claimed_a_part_is_named_before_run_is_refused(
    apache_kafka: Kafka, tmp_path: Path
) -> None:
    settings = settings_of(broker_of(apache_kafka), tmp_path)
    await ensure_topics(settings.kafka, [Invoice, Supplier])
    async with running(settings, Installation("production"), "bridge-9"):
        before = await size(settings)
        (other,) = await about(settings)
        assert not other.well
        assert other.what.startswith(f"{PART}: another installation has claimed it (production on bridge-9, as of 2")
        assert other.what.endswith(" UTC): while that one lives, `run` is refused")
        assert "`kafka.topic_prefix`" in other.fix
        assert await size(settings) == before
        with pytest.raises(MisconfiguredError, match="another installation runs it with these topics: production on bridge-9"):
            async with running(settings, Installation("test"), "here"):
                raise AssertionError


def broker_of(kafka: Kafka) -> KafkaSettings:
    return KafkaSettings(broker="none", bootstrap_servers=kafka.bootstrap, topic_prefix=kafka.prefix() + "c", partitions=1)


async def size(settings: Settings) -> int:
    """How far the log of claims goes."""
    topic = TopicPartition(claims_topic(settings.kafka), 0)
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers) as reading:
        return int((await reading.end_offsets([topic]))[topic])


async def test_a_kafka_that_refuses_our_sign_in_or_is_away_keeps_nobody_else_from_being_asked(
    secure_kafka: Secure, tmp_path: Path
) -> None:
    refused, away = secure_kafka.broker.settings(password="not-it"), KafkaSettings(broker="none", bootstrap_servers=f"{HOST}:1")
    for kafka, what in (
        (refused, "Kafka does not know our user or its password (SCRAM-SHA-512)"),
        (away, "Kafka does not answer (KafkaConnectionError)"),
    ):
        began = time.monotonic()
        found = await everything(settings_of(kafka, tmp_path))
        assert time.monotonic() - began < 30
        assert [f.what for f in found if f.what.startswith("kafka")] == [f"kafka at {kafka.bootstrap_servers}: {what}"]
        assert any(each.what.startswith("state answers") for each in found)
        assert any(each.what.startswith("payables: ") for each in found)
        assert not any("not-it" in each.what + each.fix for each in found)
