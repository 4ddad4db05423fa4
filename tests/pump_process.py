"""A pump in a process of its own, which a test kills: `python -m tests.pump_process` with its settings on stdin, as JSON."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from adapters.engine.guard import Guard
from adapters.engine.pump import Pump
from adapters.testing.table import Line, TableAdapter
from canonical import CareEpisode
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store, StoredMemory, open_store


def load(adapter: TableAdapter, file: Path) -> None:
    """The table as a file of [number, child, need]."""
    adapter.lines = {n: Line(child, need) for n, child, need in json.loads(file.read_text())}


def save(adapter: TableAdapter, file: Path) -> None:
    whole = file.with_suffix(".new")
    whole.write_text(json.dumps([[n, line.child, line.need] for n, line in adapter.lines.items()]))
    whole.rename(file)


def small_steps(adapter: TableAdapter, kafka: KafkaSettings, store: Store) -> Pump:
    """A pump of many small transactions, so that a kill seldom falls between them."""
    journal = KafkaJournal(kafka, adapter.name, [CareEpisode])
    memory = StoredMemory(store, adapter.name)
    return Pump(adapter, journal, memory, edition="1", guard=Guard(share=1), mean_region=32)


async def main(given: dict[str, Any]) -> None:
    adapter = TableAdapter(page=100)
    pump = small_steps(adapter, KafkaSettings(**given["kafka"]), await open_store(given["state"]))
    await pump.ready()
    print("ready", flush=True)
    while True:
        load(adapter, Path(given["table"]))
        for stream in adapter.streams():
            await pump.read(stream)
        print("read", flush=True)
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.read())))
