"""From the start of `ironbridge run` to the first committed event that a subscriber sees; servers and tables are there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy.engine import make_url

from adapters.liquidlogic.adapter import LiquidlogicAdapter
from adapters.liquidlogic.settings import LiquidlogicSettings
from adapters.liquidlogic.world import create
from bench.job import environment
from bench.stage import PARTITIONS, Stage
from canonical.event import topic_of
from ironbridge.kafka.topics import ensure_topics
from ironbridge.settings import KafkaSettings
from ironbridge.store import open_store

_SETTINGS = """
[kafka]
broker = "none"
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
partitions = {partitions}

[state]
url = "{state}"

[adapters.liquidlogic]
url = "{source}"
"""
_PATIENCE = 60.0  # seconds


async def start(stage: Stage, runs: int, children: int) -> list[float]:
    """Seconds of each run; an untimed one goes before them, so that bytecode is compiled as it is where pip has been."""
    async with stage.postgres.database() as world:
        source = make_url(world).set(drivername="postgresql").render_as_string(hide_password=False)
        await create(source, children)
        taken = [await _once(stage, source) for _ in range(runs + 1)]
    return taken[1:]


async def _once(stage: Stage, source: str) -> float:
    prefix = stage.prefix()
    adapter = LiquidlogicAdapter("liquidlogic", LiquidlogicSettings.model_validate({"url": source}))
    kafka = KafkaSettings(broker="none", bootstrap_servers=stage.bootstrap, topic_prefix=prefix, partitions=PARTITIONS)
    entities = {entity for stream in adapter.streams() for entity in stream.entities}
    await ensure_topics(kafka, entities)
    topics = [topic_of(entity, prefix) for entity in entities]
    async with stage.postgres.database() as state:
        await (await open_store(state)).close()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "ironbridge.toml"
            settings = {"bootstrap": stage.bootstrap, "prefix": prefix, "partitions": PARTITIONS, "state": state}
            file.write_text(_SETTINGS.format(**settings, source=source), encoding="utf-8")
            seconds = await _timed(stage, topics, file)
    await stage.forget(prefix)
    return seconds


async def _timed(stage: Stage, topics: list[str], file: Path) -> float:
    consumer = AIOKafkaConsumer(bootstrap_servers=stage.bootstrap, isolation_level="read_committed")
    await consumer.start()
    consumer.assign([TopicPartition(topic, n) for topic in topics for n in range(PARTITIONS)])
    await consumer.seek_to_beginning()
    program = Path(sys.executable).with_name("ironbridge")
    began = time.perf_counter()
    with (file.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "run", "--file", str(file)], stdout=log, stderr=log, env=environment(), cwd=file.parent
        )
        try:
            while time.perf_counter() - began < _PATIENCE and process.poll() is None:
                if await consumer.getmany(timeout_ms=100):
                    return time.perf_counter() - began
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)
            await consumer.stop()
    raise RuntimeError(f"no event came:\n{(file.parent / 'log').read_text()[-3000:]}")
