"""
Makes good two faults of the embedded broker (noida-db 0.2.3) in our own consumers, and touches no other broker.

With each fetch a broker names the aborted transactions that lie in the records that it gives. The embedded broker names all
transactions that began before the end of those records, also those that had ended before their beginning. aiokafka believes
that they are still open and passes over everything that the same producer has committed since: events would be lost in
silence. And if there is nothing to give, the embedded broker answers at once, however long it was asked to wait: a client
would ask it 1,300 times a second.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

CLUSTER = "MkU3OEVBNTctOEUyRi00"
"""The cluster's name that every embedded broker gives. Apache Kafka's names are 22 letters long, so none of them is this one."""
_PAUSE = 0.05  # seconds after an answer that came at once and holds nothing


def make_good(client: Any) -> None:
    """Make the faults good for an aiokafka client, as soon as its broker turns out to be the embedded one, and never before."""
    heard = client.cluster.update_metadata

    def update_metadata(metadata: Any) -> Any:
        if getattr(metadata, "cluster_id", None) == CLUSTER:
            client.cluster.update_metadata = heard
            client.send = _good(client.send)
        return heard(metadata)

    client.cluster.update_metadata = update_metadata


def _good(ask: Any) -> Any:
    async def send(node: Any, request: Any, **other: Any) -> Any:
        began = time.monotonic()
        answer = await ask(node, request, **other)
        if isinstance(request, FetchRequest):
            _forget_what_had_ended(request, answer)
            if time.monotonic() - began < _PAUSE and not any(given[-1] for _, each in answer.topics for given in each):
                await asyncio.sleep(_PAUSE)
        return answer

    return send


def _forget_what_had_ended(request: FetchRequest, answer: Any) -> None:
    place = -2 if answer.API_VERSION < 11 else -3  # of the aborted transactions; the records are the last
    for topic, partitions in answer.topics:
        for partition, *rest in partitions:
            if not (told := rest[place]):
                continue
            begin = next(at for name, asked in request.topics if name == topic for p, at, _ in asked if p == partition)
            if earlier := {producer for producer, first in told if first < begin}:
                over = _committed_next(rest[-1], earlier)
                told[:] = [(producer, first) for producer, first in told if first >= begin or producer not in over]


def _committed_next(records: bytes, producers: set[int]) -> set[int]:
    """Return those producers whose next end of a transaction is a commit: so none of their aborted ones was still open."""
    batches, ended, committed = MemoryRecords(records), set[int](), set[int]()
    while batches.has_next() and ended != producers:
        batch = batches.next_batch()
        if batch.is_control_batch and batch.producer_id in producers - ended:
            ended.add(batch.producer_id)
            if ControlRecord.parse(next(batch).key) != ABORT_MARKER:
                committed.add(batch.producer_id)
    return committed
