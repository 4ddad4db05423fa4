"""A large CSV file of invented people, read by the pump through a delimited stream of the kit."""

from __future__ import annotations

import asyncio
import csv
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from adapters.engine.pump import Pump
from adapters.kit.delimited import Delimited
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.rows import row_of
from adapters.kit.typed import row_key
from canonical import Address, Name, Person
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.runtime.bridge import collect_seldom
from ironbridge.settings import KafkaSettings
from ironbridge.store import StoredMemory, open_store

_LOOK = 0.02  # seconds between two looks at the memory
_LETTERS = 4000  # of a note at most: an extract has columns that nobody reads
_BYTES = _LETTERS // 2 + 50  # of a row, on the average
_FORENAMES, _SURNAMES = ("Ada", "Bilal", "Carys", "Dylan", "Esther"), ("Ahmed", "Bennett", "Clarke", "Davies", "Evans")
_STREETS, _TOWNS = ("Mill Lane", "Station Road", "Wyle Cop", "Severn Way"), ("Shrewsbury", "Oswestry", "Ludlow", "Telford")


@row_of("people", key="number")
class FiledPerson(NamedTuple):
    number: int
    forename: str | None
    surname: str | None
    street: str | None
    town: str | None


def filed_person(source: str, row: FiledPerson) -> Person:
    lines = tuple(line for line in (row.street, row.town) if line)
    addresses = (Address(lines=lines),) if lines else ()
    return Person(key=row_key(source, "person", row), names=(Name(given=row.forename, family=row.surname),), addresses=addresses)


def write_people(path: Path, megabytes: int, seed: int = 1) -> int:
    """Write a CSV file of about that size. Gives the number of its rows."""
    count, random, note = megabytes * 1_000_000 // _BYTES, Random(seed), "x" * _LETTERS
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow([*FiledPerson._fields, "notes"])
        for number in range(1, count + 1):
            person = [random.choice(each) for each in (_FORENAMES, _SURNAMES, _STREETS, _TOWNS)]
            lines.writerow([number, *person, note[: random.randrange(_LETTERS)]])
    return count


def files(**arguments: Any) -> dict[str, Any]:
    return asyncio.run(_files(**arguments))


async def _files(megabytes: int, state: str, bootstrap: str, prefix: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people_2026.csv"
        count = await asyncio.to_thread(write_people, path, megabytes)
        size = path.stat().st_size
        given = {"folders": [folder], "settle": 0, "max_megabytes": 4000}
        stream = FileStream("people", filed_person, Delimited(FiledPerson), r"people_(?P<extract>\d+)\.csv")
        adapter = FilesAdapter("filed", FilesSettings.model_validate(given), [stream])
        settings = KafkaSettings(broker="none", bootstrap_servers=bootstrap, topic_prefix=prefix)
        await ensure_topics(settings, [Person])
        store = await open_store(state)
        pump = Pump(adapter, KafkaJournal(settings, adapter.name, [Person]), StoredMemory(store, adapter.name), edition="1")
        collect_seldom()
        await pump.ready()
        with PeakOfAll() as memory:
            began = time.perf_counter()
            swept = await pump.read(adapter.streams()[0])
            seconds = time.perf_counter() - began
        result = {
            "seconds": seconds, "rows": count, "read": swept.read, "published": swept.published, "bytes": size,
            "memory": memory.most / 1e6, "reader": memory.others / 1e6,
        }  # fmt: skip
        await pump.close()
        await adapter.close()
        await store.close()
    return result


class PeakOfAll:
    """
    The most memory that this process and its children have had together, in bytes, looked at every 20 ms: what is theirs alone,
    and their part of what they share (the proportional set size of Linux). `others` is the most of the children.
    """

    def __init__(self) -> None:
        self.most, self.others = 0, 0
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look)

    def __enter__(self) -> PeakOfAll:
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._ended.wait(_LOOK):
            ours, theirs = _used(os.getpid()), sum(map(_used, _children(os.getpid())))
            self.most, self.others = max(self.most, ours + theirs), max(self.others, theirs)


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found = (task / "children").read_text().split()
        except OSError:
            continue
        for child in map(int, found):
            yield child
            yield from _children(child)


def _used(pid: int) -> int:
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0  # it has ended
    return sum(int(line.split()[1]) * 1024 for line in told.splitlines() if line.startswith("Pss:"))
