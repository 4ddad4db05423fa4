"""
Writes the tables from the topics, until it is told to stop.

Nothing is kept but in the tables: each says in its own commits up to where it has its topic. So a writer that was killed goes on
where each table stands, and one that another writer has overtaken begins again there.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind

from canonical import Entity
from canonical.errors import BadRecordError
from canonical.event import topic_of
from ironbridge.settings import KafkaSettings, TablesSettings
from ironbridge.tables.choice import PLACE, entities_of, plans, storage_of
from ironbridge.tables.reader import BYTES, PART, Gathered, Read, TopicReader
from ironbridge.tables.rows import rows, sorted_out
from ironbridge.tables.table import OpenTable
from ironbridge.tables.upkeep import keep_up

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
tracer = trace.get_tracer(__name__)
meter = metrics.get_meter(__name__)
_written = meter.create_counter("ironbridge.tables.rows", unit="{row}", description="Rows written to open tables")
_left_out = meter.create_counter(
    "ironbridge.tables.left_out", unit="{record}", description="Records that are no events and stand in no open table"
)
_committing = meter.create_histogram(
    "ironbridge.tables.commit.duration", unit="s", description="Writing one table's rows with the offsets behind them"
)
_lag = meter.create_gauge("ironbridge.tables.lag", unit="{event}", description="Events that the open tables do not have yet")
_M_ARENA_MAX = -8
"""The number of glibc's setting for the most pools of memory that it keeps; see mallopt(3)."""
_PIECE = 5_000
"""The number of events of which rows are made at once, while more events are read."""


def _spare_memory() -> None:
    """
    Let all threads share what is free. Else Arrow and each thread of delta-rs keep for themselves what they have let go of:
    a third more memory for the same work. Only glibc can be told so.
    """
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


@dataclass
class TablesWriter:
    """The part `tables`: one process that writes all tables of its settings."""

    settings: TablesSettings
    kafka: KafkaSettings
    tables: dict[str, list[OpenTable]] = field(default_factory=dict)
    """By topic, the open tables of its entity."""
    trouble: str = ""
    """Why nothing is written now; empty if all is well."""

    async def run(self, stop: asyncio.Event) -> None:
        """
        Write until told to stop. What was read and not yet written is read again by the next one.

        :raises UnavailableError: Kafka or the store is away, or another writer was faster: begin again.
        :raises MisconfiguredError: a table does not have the columns that it should have, or its topic was made anew.
        """
        await asyncio.to_thread(self._open)
        self._writing = asyncio.ensure_future(asyncio.sleep(0))
        async with TopicReader(self.kafka, entities_of(self.settings)) as reader:
            await reader.seek(await asyncio.to_thread(self._stands, reader.partitions))
            try:
                await self._write_on(reader, stop)
            finally:
                # Nobody is to begin anew while a thread is at work on the tables.
                await asyncio.gather(self._writing, return_exceptions=True)

    async def _write_on(self, reader: TopicReader, stop: asyncio.Event) -> None:
        """Read on while what was read before is written."""
        tidied = time.monotonic()
        while not stop.is_set():
            found = await self._gathered(reader, stop)
            await self._written()
            self._writing = asyncio.ensure_future(self.write(found))
            _lag.set(reader.ahead() + found.events)
            if time.monotonic() - tidied >= self.settings.upkeep:
                await self._written()
                await asyncio.to_thread(self._keep_up)
                tidied = time.monotonic()
        await self._written()

    async def _written(self) -> None:
        """Wait for what is being written. That goes on to its end even if this is cancelled."""
        await asyncio.shield(self._writing)

    def _open(self) -> None:
        """Open all tables; those that are not there are made."""
        _spare_memory()
        storage, self.tables = storage_of(self.settings), {}
        for plan in plans(self.settings):
            table = OpenTable(plan, storage)
            table.open()
            self.tables.setdefault(topic_of(plan.entity, self.kafka.topic_prefix), []).append(table)

    def _stands(self, partitions: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """By topic and partition, the place behind which a table of that topic still lacks events."""
        return {(t, p): min(table.offset(t, p) for table in self.tables[t]) for t, p in partitions}

    async def _gathered(self, reader: TopicReader, stop: asyncio.Event) -> Gathered:
        """Read until there is enough to write, or until the first of it has waited long enough."""
        found = Gathered()
        while found.events < self.settings.batch and found.bytes < BYTES and not stop.is_set() and not self._failed():
            await reader.poll(found)
            await self._make_rows(found, _PIECE)
            if found.since and time.monotonic() - found.since >= self.settings.every:
                break
        return found

    def _failed(self) -> bool:
        return self._writing.done() and self._writing.exception() is not None

    async def write(self, found: Gathered) -> None:
        """Write what was gathered, each table by a commit of its own."""
        for reject in found.rejects:
            self._leave_out(reject.what)
        await self._make_rows(found, 1)
        for topic, read in found.topics.items():
            if read.rows:
                await asyncio.to_thread(self._write, topic, read)
        self.trouble = ""

    async def _make_rows(self, found: Gathered, least: int) -> None:
        """Make rows of the events, of each topic that has so many."""
        for topic, read in found.topics.items():
            if len(read.events) >= least:
                made = await asyncio.to_thread(self._rows, self.tables[topic][0].plan.entity, read.take())
                read.rows.append(made)

    def _write(self, topic: str, read: Read) -> None:
        import pyarrow as pa

        placed = pa.concat_tables(read.rows)
        with tracer.start_as_current_span(f"write {topic}", kind=SpanKind.CONSUMER) as span:
            span.set_attributes({"messaging.system": "kafka", "messaging.batch.message_count": placed.num_rows})
            for table in self.tables[topic]:
                began = time.perf_counter()
                written = table.write(topic, placed)
                _committing.record(time.perf_counter() - began, {"ironbridge.table": table.plan.view})
                _written.add(written, {"ironbridge.table": table.plan.view})

    def _rows(self, entity: type[Entity], read: Read) -> pa.Table:
        """The rows of the events, without those that are not the entity; each with its place."""
        import pyarrow as pa

        try:
            places: Sequence[int] = range(len(read.events))
            made = rows(entity, read.events)
        except BadRecordError:
            good, bad = sorted_out(entity, read.events)
            for error in bad:
                self._leave_out(str(error))
            made, places = rows(entity, [read.events[place] for place in good]), good
        for name, values, kind in ((PLACE[0], read.partitions, pa.int32()), (PLACE[1], read.offsets, pa.int64())):
            made = made.append_column(pa.field(name, kind, nullable=False), pa.array([values[p] for p in places], kind))
        return made

    def _leave_out(self, why: str) -> None:
        _left_out.add(1)
        log.warning("%s: left out: %s", PART, why)

    def _keep_up(self) -> None:
        for table in (each for some in self.tables.values() for each in some):
            keep_up(table, self.settings)
