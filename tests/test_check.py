"""`ironbridge check` finds what `ironbridge run` would refuse, and changes nothing."""

from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy import text

from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from ironbridge.operate.checks import findings
from ironbridge.runtime import bridge
from ironbridge.settings import KafkaSettings, Settings, StateSettings
from ironbridge.store import open_store
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
        "has max.message.bytes=1048588", "has max.compaction.lag.ms", "has min.insync.replicas=2: nothing can be written",
    ):  # fmt: skip
        assert f"kafka: topic {prefix}.invoice {wrong}" in found, found
    assert f"topic {prefix}.supplier could not be created" in found, "this cluster has one broker"
