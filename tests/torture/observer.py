"""What can be seen from outside: the topics as a read_committed subscriber, and what the targets say of themselves."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.torture import witness
from tests.torture.checker import Effect, Told


class Subscriber:
    """
    A service that subscribes to every canonical topic, read_committed, and keeps what it was told, in order.

    It goes on by its own offsets whatever becomes of the broker, and so would notice an event that comes twice.
    """

    def __init__(self, bootstrap: str, prefix: str, partitions: int) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._partitions = partitions
        self._reached: dict[TopicPartition, int] = {}
        self._alive = 0.0
        self._eras: Counter[str] = Counter()
        self._turned = 0
        self.told: list[Told] = []
        self.last: dict[str, Told] = {}

    async def listen(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._alive = time.monotonic()
            listening = asyncio.ensure_future(self._listen(stop))
            # aiokafka may wait for ever for a broker that went away in the middle of an answer.
            while not listening.done() and time.monotonic() - self._alive < 12:
                await asyncio.wait({listening}, timeout=0.5)
            listening.cancel()
            await asyncio.wait({listening}, timeout=5)
            if listening.done() and not listening.cancelled():
                listening.exception()  # whatever it was: the next try begins where this one had come to
            await asyncio.sleep(0.5)

    def forget(self, topic: str) -> None:
        """The topic was deleted: from now on its name stands for another one, which is read from its start."""
        self._reached = {partition: at for partition, at in self._reached.items() if partition.topic != topic}
        self._eras[topic] += 1
        self._turned += 1

    async def _listen(self, stop: asyncio.Event) -> None:
        async with self._consumer() as (consumer, partitions):
            heard, turned = time.monotonic(), self._turned
            while not stop.is_set() and partitions:
                now = self._alive = time.monotonic()
                # Where nothing comes, look again: for topics that were not there yet, or for a broker that is another.
                if now - heard > 5:
                    return
                brought = await consumer.getmany(timeout_ms=200, max_records=5000)
                if turned != self._turned:
                    return  # and read again from the right place
                for partition, records in brought.items():
                    heard = now
                    for record in records:
                        self._heard(_told(record, self._eras[record.topic]))
                    self._reached[partition] = records[-1].offset + 1

    def _heard(self, told: Told) -> None:
        self.told.append(told)
        had = self.last.get(told.key)
        if had is None or had.version < told.version:
            self.last[told.key] = told

    @contextlib.asynccontextmanager
    async def _consumer(self) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, isolation_level="read_committed", auto_offset_reset="earliest",
            request_timeout_ms=10_000,
        )  # fmt: skip
        try:
            async with asyncio.timeout(20):
                await consumer.start()
            own = {f"{self._prefix}.{name}" for name in ("cursors", "claims", "trail")}
            names = [t for t in await consumer.topics() if t.startswith(f"{self._prefix}.") and t not in own]
            partitions = [TopicPartition(t, p) for t in names for p in range(self._partitions)]
            consumer.assign(partitions)
            for partition in partitions:
                if partition in self._reached:
                    consumer.seek(partition, self._reached[partition])
            yield consumer, partitions
        finally:
            await asyncio.sleep(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await consumer.stop()

    async def all(self) -> list[Told]:
        """Everything from the start, as a service would see it that subscribes now."""
        fresh = Subscriber(self._bootstrap, self._prefix, self._partitions)
        fresh._eras = self._eras
        async with fresh._consumer() as (consumer, partitions):
            ends = await consumer.end_offsets(partitions)
            while any([await consumer.position(p) < end for p, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200, max_records=5000)).values():
                    for record in records:
                        fresh._heard(_told(record, fresh._eras[record.topic]))
        return fresh.told


def _told(record: Any, era: int) -> Told:
    headers = {name: value.decode() for name, value in record.headers}
    key, entity = record.key.decode(), headers["ce_type"].split(".")[1]
    value = None if record.value is None else witness.of_event(entity, json.loads(record.value))
    content = None if record.value is None else hashlib.blake2b(record.value, digest_size=12).hexdigest()
    place = (record.topic, record.partition, record.offset)
    version, owner = int(headers["ce_sequence"]), headers["ce_partitionkey"]
    return Told(*place, key, headers["ce_id"], version, value, content, era, owner, record.timestamp / 1000)


class Target:
    """A sandbox, asked over HTTP what it received and what it holds."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._url = url
        self.seen: list[Effect] = []
        self.releases: dict[str, str | None] = {}
        """The release that wrote each document that was held at the last look, by the key of its subject."""
        self._asking = asyncio.Lock()
        self._http = httpx.AsyncClient(timeout=60)  # one for all that is asked: each client reads all certificates of the machine

    async def stop(self) -> None:
        await self._http.aclose()

    async def effects(self) -> list[Effect]:
        """Everything that was done there so far, in order."""
        async with self._asking:
            found, after = self.seen, self.seen[-1].sequence if self.seen else 0
            while page := (await self._http.get(f"{self._url}/_sandbox/log", params={"after": after, "limit": 2000})).json():
                found += [self._effect(row) for row in page]
                after = page[-1]["sequence"]
        return list(found)

    def _effect(self, row: Mapping[str, Any]) -> Effect:
        document = row["document"]
        shown = json.loads(document) if document else None
        parts = self._parts(row["kind"], shown) if document else {}
        return Effect(
            self.name, row["sequence"], row["at"], row["request"], self._subject(row["kind"], row["subject"]), row["operation"],
            bool(row["changed"]), parts, witness.release_of(row["kind"], shown) if document else None,
        )  # fmt: skip

    async def holds(self) -> dict[str, dict[str, str]]:
        """What is held, by the key of its subject."""
        documents = (await self._http.get(f"{self._url}/_sandbox/documents")).json()
        found, releases = {}, {}
        for kind, rows in documents.items():
            if kind in ("accounts", "dimensions", "dimensionValues"):
                continue
            for row in rows.values():
                parts = self._parts(kind, row)
                found[next(iter(parts))] = parts
                releases[next(iter(parts))] = witness.release_of(kind, row)
        self.releases = releases
        return found

    async def misbehave(self, *faults: Mapping[str, Any]) -> None:
        (await self._http.post(f"{self._url}/_sandbox/faults", json=list(faults))).raise_for_status()

    async def forgive(self) -> None:
        (await self._http.delete(f"{self._url}/_sandbox/faults")).raise_for_status()

    def _parts(self, kind: str, row: Any) -> dict[str, str]:
        return witness.of_child(row) if self.name == witness.DFE else witness.of_purchase(kind, row)

    def _subject(self, kind: str, subject: str) -> str:
        if self.name == witness.DFE:
            return f"{witness.LIQUIDLOGIC}:person:{subject}"
        entity = {"vendors": "supplier", "purchaseInvoices": "invoice", "purchaseCreditMemos": "credit-note"}[kind]
        return f"{witness.PAYABLES}:{entity}:{subject}"
