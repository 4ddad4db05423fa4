"""Runs a real Debezium engine on a PostgreSQL table, and writes what it says to a file: a message's key and value in a line."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import make_url


def engine_properties(source: str, table: str, folder: Path, more: dict[str, str]) -> dict[str, str]:
    url = make_url(source)
    return {
        "name": "housing",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": str(url.host),
        "database.port": str(url.port),
        "database.user": str(url.username),
        "database.password": "none",
        "database.dbname": str(url.database),
        "plugin.name": "pgoutput",
        "slot.name": f"s_{url.database}",
        "slot.drop.on.stop": "true",
        "publication.autocreate.mode": "filtered",
        "topic.prefix": "housing",
        "table.include.list": f"public.{table}",
        "skipped.operations": "none",
        "poll.interval.ms": "50",
        "offset.flush.interval.ms": "0",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(folder / "offsets.dat"),
        **more,
    }


def main() -> None:
    """`python -m tests.debezium_engine URL TABLE FILE {"more": "properties"}` runs until its standard input ends."""
    import jpype
    from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine
    from pydbzengine.engine.jvm import ensure_jvm_started

    source, table, file, more = sys.argv[1:]
    os.chdir(tempfile.mkdtemp())  # it logs into the folder that it starts in
    ensure_jvm_started()

    class Handler(BasePythonChangeHandler):
        def handleJsonBatch(self, records: Any) -> None:  # noqa: N802 (Java's name)
            with Path(file).open("a", encoding="utf-8") as told:
                for record in records:
                    key, value = record.key(), record.value()
                    said = [record.destination(), key and str(key), None if value is None else str(value)]
                    told.write(json.dumps([said[0] and str(said[0]), *said[1:]]) + "\n")

    properties = engine_properties(source, table, Path(tempfile.mkdtemp()), json.loads(more))
    engine = DebeziumJsonEngine(properties=properties, handler=Handler())
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    sys.stdin.read()
    engine.close() if hasattr(engine, "close") else None
    assert jpype.isJVMStarted()
    os._exit(0)  # the JVM's own threads would keep it


if __name__ == "__main__":
    main()
