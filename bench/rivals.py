"""Other programs that move the same table into the same Kafka: a Debezium engine and mq-bridge, each from PyPI."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from bench.job import peak
from bench.people import TABLE

# What a careful operator would set: large batches, compressed, acknowledged, once. (mq-bridge is built without zstd.)
_PRODUCER = {
    "acks": "all",
    "enable.idempotence": "true",
    "compression.type": "lz4",
    "batch.size": "524288",
    "linger.ms": "5",
}


def mq_bridge(source: str, bootstrap: str, topic: str, rows: int, batch: int = 5000) -> dict[str, Any]:
    """The table, read by a cursor on its key, each row as JSON; nothing is mapped, checked or kept in step."""
    import mq_bridge as bridge

    url = make_url(source).set(drivername="postgres").render_as_string(hide_password=False)
    with tempfile.TemporaryDirectory() as folder:
        sqlx = {
            "url": url, "table": TABLE, "cursor_column": "dim_person_id", "cursor_id": topic,
            "checkpoint_store": f"file://{folder}/cursors.json",
        }  # fmt: skip
        producer = [[name, value] for name, value in _PRODUCER.items()]
        route = bridge.Route.from_config(
            {
                "input": {"sqlx": sqlx},
                "output": {"kafka": {"url": bootstrap, "topic": topic, "producer_options": producer}},
                "batch_size": batch,
                "exit_on_empty": True,
            },
            "people",
        )
        began, cpu = time.perf_counter(), time.process_time()
        route.start()
        route.join()
        return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu, "memory": peak()}


def debezium(source: str, bootstrap: str, topic: str, rows: int, publish: bool = True) -> dict[str, Any]:
    """
    The engine's own snapshot of the table, handed over in batches, published by Kafka's own Java producer beside it.

    `seconds` counts from when the engine is told to run, the JVM being up already; `flowing` from its first batch.
    """
    import jpype  # type: ignore[import-untyped]
    from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine
    from pydbzengine.engine.jvm import ensure_jvm_started

    os.chdir(tempfile.mkdtemp())  # the engine logs into the folder that it starts in
    ensure_jvm_started()

    class Handler(BasePythonChangeHandler):
        def __init__(self) -> None:
            self.seen, self.first, self.last = 0, 0.0, 0.0
            self._producer = _java_producer(jpype, bootstrap) if publish else None
            self._record = jpype.JClass("org.apache.kafka.clients.producer.ProducerRecord")

        def handleJsonBatch(self, records: Any) -> None:  # noqa: N802 (Java's name)
            self.first = self.first or time.perf_counter()
            count = 0
            for record in records:
                count += 1
                if self._producer is not None:
                    self._producer.send(self._record(topic, record.key(), record.value()))
            if self._producer is not None:
                self._producer.flush()
            self.seen += count
            if self.seen >= rows:
                self.last = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder:
        handler = Handler()
        engine = DebeziumJsonEngine(properties=_engine(source, Path(folder)), handler=handler)
        began, cpu = time.perf_counter(), time.process_time()
        _run_until(engine, lambda: handler.seen >= rows)
        return {
            "seconds": handler.last - began,
            "flowing": handler.last - handler.first,
            "cpu": time.process_time() - cpu,
            "memory": peak(),
            "seen": handler.seen,
        }


def _run_until(engine: Any, done: Callable[[], bool]) -> None:
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    while thread.is_alive() and not done():
        time.sleep(0.02)


def _java_producer(jpype: Any, bootstrap: str) -> Any:
    properties = jpype.JClass("java.util.Properties")()
    text = "org.apache.kafka.common.serialization.StringSerializer"
    for name, value in _PRODUCER.items():
        properties.setProperty(name, value)
    for name, value in {"bootstrap.servers": bootstrap, "key.serializer": text, "value.serializer": text}.items():
        properties.setProperty(name, value)
    return jpype.JClass("org.apache.kafka.clients.producer.KafkaProducer")(properties)


def _engine(source: str, folder: Path) -> dict[str, str]:
    url = make_url(source)
    return {
        "name": "bench",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": str(url.host),
        "database.port": str(url.port),
        "database.user": str(url.username),
        "database.password": "none",
        "database.dbname": str(url.database),
        "plugin.name": "pgoutput",
        "topic.prefix": "bench",
        "table.include.list": f"public.{TABLE}",
        "snapshot.mode": "initial_only",
        "snapshot.fetch.size": "10000",
        "max.batch.size": "8192",
        "max.queue.size": "32768",
        "poll.interval.ms": "50",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(folder / "offsets.dat"),
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": str(folder / "history.dat"),
        "key.converter.schemas.enable": "false",
        "value.converter.schemas.enable": "false",
        "transforms": "unwrap",
        "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
    }
