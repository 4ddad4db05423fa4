"""From a hospital's message to its answer, which is sent once its events are in Kafka: the whole program, at a steady rate."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hl7.mllp import open_hl7_connection
from sqlalchemy.engine import make_url

from adapters.hospital.world import Hospital
from bench.job import environment
from bench.stage import PARTITIONS, Stage
from canonical import HospitalStay, Person
from ironbridge.kafka.process import free_port
from ironbridge.kafka.topics import ensure_topics
from ironbridge.settings import KafkaSettings
from ironbridge.store import open_store

RATE = 20.0  # messages a second
_CONNECTIONS = 4
_FIRST = 20  # messages that count for nothing: their code is imported and their connections are made meanwhile
_PATIENCE = 60.0  # seconds
_SETTINGS = """
[kafka]
broker = "none"
bootstrap_servers = "{bootstrap}"
topic_prefix = "{prefix}"
partitions = {partitions}

[state]
url = "{state}"

[adapters.hospital]
port = {port}
url = "{register}"
"""


async def answered(stage: Stage, messages: int) -> list[float]:
    """
    Seconds until each message was answered. State and register are databases of one PostgreSQL.

    :raises RuntimeError: a message was not accepted, or the program ended.
    """
    prefix, port = stage.prefix(), free_port()
    kafka = KafkaSettings(broker="none", bootstrap_servers=stage.bootstrap, topic_prefix=prefix, partitions=PARTITIONS)
    await ensure_topics(kafka, {Person, HospitalStay})
    async with stage.postgres.database() as state, stage.postgres.database() as register:
        await (await open_store(state)).close()
        plain = make_url(register).set(drivername="postgresql").render_as_string(hide_password=False)
        given = {"bootstrap": stage.bootstrap, "prefix": prefix, "partitions": PARTITIONS, "state": state}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "ironbridge.toml"
            file.write_text(_SETTINGS.format(**given, port=port, register=plain), encoding="utf-8")
            taken = await _sent(file, port, messages)
    found = await stage.count(f"{prefix}.hospital-stay")
    if not found.records:
        raise RuntimeError("all was answered, and no stay is in Kafka")
    await stage.forget(prefix)
    return taken


async def _sent(file: Path, port: int, messages: int) -> list[float]:
    program = Path(sys.executable).with_name("ironbridge")
    with (file.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "run", "--file", str(file)], stdout=log, stderr=log, env=environment(), cwd=file.parent
        )
        try:
            return await _timed(port, messages)
        except OSError as error:
            raise RuntimeError(f"no answer came:\n{(file.parent / 'log').read_text()[-3000:]}") from error
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)


async def _timed(port: int, messages: int) -> list[float]:
    """Send each message when it is due, on connections in turn, whether the one before it was answered or not."""
    links = [await _connected(port) for _ in range(_CONNECTIONS)]
    locks = [asyncio.Lock() for _ in links]
    began = time.perf_counter() + 0.5

    async def send(number: int, message: str) -> float:
        due = began + number / RATE
        await asyncio.sleep(due - time.perf_counter())
        (reader, writer), lock = links[number % _CONNECTIONS], locks[number % _CONNECTIONS]
        async with lock, asyncio.timeout(_PATIENCE):
            writer.writeblock(message.encode())
            said = (await reader.readblock()).decode()
        if "\rMSA|AA|" not in said:
            raise RuntimeError(f"a message was not accepted: {said}")
        return time.perf_counter() - due

    sent = Hospital(seed=1).messages(messages + _FIRST)
    taken = await asyncio.gather(*(send(number, message) for number, message in enumerate(sent)))
    for _, writer in links:
        writer.close()
    return list(taken[_FIRST:])


async def _connected(port: int) -> tuple:  # type: ignore[type-arg]
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                return await open_hl7_connection("127.0.0.1", port, encoding="utf-8")
            except ConnectionError:
                await asyncio.sleep(0.05)
