"""A flow's inbox on real Apache Kafka: where it goes on, what it turns away, and what a rebalance may not lose."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from canonical import Event
from canonical.errors import UnavailableError
from canonical.event import topic_of
from flows.engine.agree import Agreement
from flows.engine.ledger import Arrivals, Stand, Task
from flows.engine.marks import marks_of
from flows.testing import ScriptedTarget
from ironbridge.kafka.hidden import Hidden, said
from ironbridge.kafka.inbox import KafkaInbox
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics, partition_of
from ironbridge.operate import insight
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store, StoredLedger, open_store
from ironbridge.store.standing import HiddenEvents
from tests.agreement import PurchaseFlow, World, invoice, supplier, supplier_key
from tests.servers import Kafka
from tests.states import state_file

PATIENCE = 40.0  # seconds


class HastyInbox(KafkaInbox):
    """An inbox whose group and topics are looked at more often."""

    session = 6.0
    renewed = 1.0


@dataclass
class Post:
    """Topics of their own on the shared broker, and a state beside them."""

    settings: KafkaSettings
    store: Store

    def topic(self, entity: str = "supplier") -> str:
        return topic_of(entity, self.settings.topic_prefix)

    async def publish(self, *events: Event) -> None:
        await self.send(*((topic_of(e.entity, self.settings.topic_prefix), self._place(e), e.key.encode(), e.data,
                           e.headers()) for e in events))  # fmt: skip

    def _place(self, event: Event) -> int:
        return partition_of(event.owner, self.settings.partitions)

    async def send(self, *records: tuple[str, int, bytes | None, bytes | None, Sequence[tuple[str, Any]]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.bootstrap_servers)
        await producer.start()
        try:
            for topic, partition, key, value, headers in records:
                await producer.send_and_wait(topic, value, key=key, partition=partition, headers=headers)
        finally:
            await producer.stop()

    @asynccontextmanager
    async def worker(
        self, name: str = "one", kind: type[KafkaInbox] = KafkaInbox, **more: Any
    ) -> AsyncIterator["Worker"]:
        ledger = StoredLedger(self.store, "purchasing")
        agreement = Agreement(PurchaseFlow(), ScriptedTarget(), ledger, edition="1")
        async with kind(self.settings, "purchasing", PurchaseFlow.entities, ledger, name, **more) as inbox:
            yield Worker(inbox, ledger, agreement)

    async def facts(self) -> dict[str, int]:
        rows = await World(self.store).rows("SELECT key, version FROM facts")
        return {row["key"].rpartition(":")[2]: row["version"] for row in rows}

    async def committed(self) -> dict[str, int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.bootstrap_servers)
        await admin.start()
        try:
            group = f"ironbridge.{self.settings.topic_prefix}.purchasing"
            found = await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
        return {f"{p.topic}/{p.partition}": meta.offset for p, meta in found.items()}

    async def forget(self, sql: str = "DELETE FROM ingested") -> None:
        await World(self.store).run(sql)

    async def rewrite(self, *events: Event) -> None:
        """The broker has lost its log, and something else is published."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_topics([self.topic(), self.topic("invoice")])
            async with asyncio.timeout(PATIENCE):
                while {self.topic(), self.topic("invoice")} & set(await admin.list_topics()):
                    await asyncio.sleep(0.1)
        finally:
            await admin.close()
        await ensure_topics(self.settings, PurchaseFlow.entities)
        await self.publish(*events)


@dataclass
class Worker:
    inbox: KafkaInbox
    ledger: StoredLedger
    agreement: Agreement

    async def take(self, limit: int) -> list[Task]:
        edition = await self.ledger.reopen("1")
        return [] if edition is None else await self.ledger.take(limit, edition)

    async def until(self, done: Callable[[], Any], *, quiet: int = 0) -> int:
        """Ingest until `done` holds, and then some polls more; how many events there were."""
        seen = 0
        async with asyncio.timeout(PATIENCE):
            while not await done():
                seen += await self.agreement.ingest(self.inbox)
            for _ in range(quiet):
                seen += await self.agreement.ingest(self.inbox)
        return seen


@pytest.fixture
async def post(apache_kafka: Kafka, tmp_path: Path) -> AsyncIterator[Post]:
    settings = KafkaSettings(
        broker="none",
        bootstrap_servers=apache_kafka.bootstrap,
        topic_prefix=apache_kafka.prefix().rstrip("."),
        partitions=3,
    )
    await ensure_topics(settings, PurchaseFlow.entities)
    store = await open_store(await state_file(tmp_path / "state.sqlite3"))
    yield Post(settings, store)
    await store.close()


def suppliers(count: int, version: int = 1) -> list[Event]:
    return [supplier(n, version) for n in range(1, count + 1)]


async def has(post: Post, count: int, version: int = 1) -> bool:
    facts = await post.facts()
    return len(facts) == count and set(facts.values()) == {version}


async def test_what_was_published_becomes_facts_and_then_the_offsets_follow(post: Post) -> None:
    await post.publish(*suppliers(20), *(invoice(n, of=n) for n in range(101, 111)))
    async with post.worker() as worker:
        assert await worker.until(lambda: has(post, 30), quiet=3) == 30
        stands = await worker.ledger.ingested()
    assert sum(stand.behind for stand in stands.values()) == 30
    assert sum(offset for offset in (await post.committed()).values() if offset > 0) == 30


async def test_a_poll_tells_what_is_left_in_all_partitions(post: Post) -> None:
    await post.publish(*suppliers(300))
    taken = 0
    async with post.worker(most=20) as worker, asyncio.timeout(PATIENCE):
        while taken < 300:
            arrived = await worker.inbox.poll()
            taken += len(arrived.events)
            assert not arrived.events or taken + arrived.behind == 300


async def test_the_same_worker_goes_on_behind_what_it_has(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10))
    await post.publish(*suppliers(10, 2))
    async with post.worker() as worker:
        assert await worker.until(lambda: has(post, 10, 2), quiet=3) == 10


async def test_a_state_that_was_lost_reads_all_again_whatever_the_group_has_committed(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10))
    for table in ("ingested", "facts", "subjects"):
        await post.forget(f"DELETE FROM {table}")
    async with post.worker() as worker:
        assert await worker.until(lambda: has(post, 10), quiet=3) == 10


async def test_what_a_lost_state_had_read_is_in_doubt_also_after_a_kill_in_the_middle(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    await post.publish(*suppliers(10), *(supplier(n, 2, deleted=True) for n in (1, 2, 3)))
    known = {supplier(n).key for n in range(1, 11)}

    async def doubted() -> set[str]:
        rows = await World(post.store).rows("SELECT subject FROM subjects WHERE doubtful IS NOT NULL")
        return {row["subject"] for row in rows}

    async with post.worker() as worker:
        await worker.until(lambda: _read(post, 13), quiet=3)
        assert await doubted() == set()
    for table in ("ingested", "facts", "subjects"):
        await post.forget(f"DELETE FROM {table}")
    async with post.worker(most=4) as worker:
        async with asyncio.timeout(PATIENCE):
            while not await worker.agreement.ingest(worker.inbox):  # some of it, and not the rest
                pass
        assert 0 < len(await doubted()) < 10
        assert await worker.take(100) == [], "facts that are not read to the end yet would send old states"
        assert await worker.ledger.due() is None
    async with post.worker() as worker:
        await worker.agreement._reopen()
        assert await worker.take(100) == []
        await worker.until(lambda: _read(post, 13), quiet=3)
        assert await doubted() == known
        assert len(await worker.take(100)) == 10
        await post.publish(supplier(11))
        await worker.until(lambda: _read(post, 14), quiet=3)
    assert await doubted() == known
    assert sum(offset for offset in (await post.committed()).values() if offset > 0) == 14
    assert "the state was lost" in caplog.text


async def test_markers_of_transactions_behind_the_last_event_are_no_lost_state(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    journal = KafkaJournal(post.settings, "payables", PurchaseFlow.entities)
    await journal.open()
    try:
        await journal.publish(suppliers(10), None)
        async with post.worker() as worker:
            await worker.until(lambda: has(post, 10), quiet=5)
            await journal.publish([supplier(11)], None)
            await worker.until(lambda: has(post, 11), quiet=5)
        stood = sum(stand.behind for stand in (await worker.ledger.ingested()).values())
        assert sum(offset for offset in (await post.committed()).values() if offset > 0) > stood
        async with post.worker() as worker:
            await worker.until(lambda: has(post, 11), quiet=5)
            assert len(await worker.take(100)) == 11
            await journal.publish(suppliers(11, 2), None)
            await worker.until(lambda: has(post, 11, 2), quiet=3)
    finally:
        await journal.close()
    assert "the state was lost" not in caplog.text


async def _read(post: Post, count: int) -> bool:
    rows = await World(post.store).rows("SELECT next FROM ingested")
    return sum(row["next"] for row in rows) == count


async def test_a_state_restored_from_an_older_copy_reads_what_it_lacks(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10))
        copy = {table: await World(post.store).rows(f"SELECT * FROM {table}") for table in ("facts", "ingested")}
        await post.publish(*suppliers(10, 2))
        await worker.until(lambda: has(post, 10, 2))
    for table, rows in copy.items():
        await post.forget(f"DELETE FROM {table}")
        names = ", ".join(f'"{name}"' for name in rows[0])
        for row in rows:
            marks = ", ".join(f":{name}" for name in row)
            await World(post.store).run(f"INSERT INTO {table} ({names}) VALUES ({marks})", **row)
    assert await has(post, 10, 1)
    async with post.worker() as worker:
        assert await worker.until(lambda: has(post, 10, 2), quiet=3) == 10


@pytest.mark.parametrize("count", [2, 10, 25], ids=["shorter", "as long", "longer"])
async def test_a_log_that_was_cut_off_and_written_anew_is_read_from_its_start(post: Post, count: int) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10))
    # The same ids at the same places: only their time tells that they are others.
    anew = [event._replace(time=event.time + timedelta(days=1)) for event in suppliers(count)]
    await post.rewrite(*anew)
    await post.forget("DELETE FROM facts")
    async with post.worker() as worker:
        await worker.until(lambda: has(post, count))


async def test_a_log_made_anew_in_which_a_marker_lies_where_the_last_event_lay_is_read_from_its_start(post: Post) -> None:
    """No more records come: the consumer's position passes the marker, and no record shows it."""
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10))
        stands = await worker.ledger.ingested()
    behind = {number: stand.behind for (topic, number), stand in stands.items() if topic == post.topic()}
    # Each partition gets so many events in one transaction that its marker lies at the remembered offset.
    anew: list[Event] = []
    count = dict(behind)
    for number in range(1, 500):
        place = partition_of(supplier_key(number), 3)
        if count.get(place, 0) > 1:
            count[place] -= 1
            anew.append(supplier(number, 2))
    await post.rewrite()
    journal = KafkaJournal(post.settings, "payables", PurchaseFlow.entities)
    await journal.open()
    await journal.publish(anew, None)
    await journal.close()
    await post.forget("DELETE FROM facts")
    async with post.worker() as worker:
        await worker.until(lambda: has(post, len(anew), 2))


async def test_a_topic_that_is_made_anew_while_the_worker_runs_is_read_from_its_start(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker(kind=HastyInbox) as worker:
        await worker.until(lambda: has(post, 10))
        stop = asyncio.Event()

        async def ingesting() -> None:
            while not stop.is_set():
                await worker.agreement.ingest(worker.inbox)

        running = asyncio.create_task(ingesting())
        await post.rewrite(*suppliers(25, 2))
        async with asyncio.timeout(PATIENCE):
            while not await has(post, 25, 2):
                await asyncio.sleep(0.1)
        stop.set()
        await running


async def test_a_partition_whose_fetch_failed_goes_on_only_behind_the_record_that_it_had_read(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10), quiet=2)
        worker.inbox._disturbed.update(worker.inbox._placed)
        assert await worker.until(lambda: has(post, 10), quiet=5) == 0
        for partition, (behind, _) in worker.inbox._stood.items():
            worker.inbox._stood[partition] = (behind, "another log's")
        worker.inbox._disturbed.update(worker.inbox._placed)
        assert await worker.until(lambda: has(post, 10), quiet=10) == 10


async def test_a_state_that_goes_back_under_a_living_worker_is_noticed_with_the_next_event(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10), quiet=2)
        copy = await World(post.store).rows("SELECT * FROM ingested")
        await post.publish(*suppliers(10, 2))
        await worker.until(lambda: has(post, 10, 2), quiet=2)
        # The database is like a standby that lacked the last second.
        await post.forget("UPDATE facts SET version = 1")
        for row in copy:
            await World(post.store).run(
                'UPDATE ingested SET next = :next, last = :last WHERE topic = :topic AND "partition" = :partition',
                **{name: row[name] for name in ("next", "last", "topic", "partition")},
            )
        worker.inbox._look_due = time.monotonic() + PATIENCE
        await post.publish(supplier(11))
        with pytest.raises(UnavailableError, match=r"it went back: purchasing had read .* to \d+, and the state knows it to"):
            await worker.until(lambda: has(post, 11))
    async with post.worker() as worker:
        await worker.until(lambda: _read(post, 21))
    assert await post.facts() == {str(n): 1 if n == 11 else 2 for n in range(1, 12)}


async def test_a_state_that_goes_back_under_an_idle_worker_is_noticed_too(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10), quiet=2)
        await post.forget("UPDATE ingested SET next = next - 1")
        worker.inbox._look_due = 0.0
        with pytest.raises(UnavailableError, match="it went back"):
            await worker.inbox.poll()


async def test_what_somebody_has_proven_to_be_old_is_read_to_its_end_and_then_delivered(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10), quiet=2)
        stands = await worker.ledger.ingested()
        await worker.ledger.forgotten({partition: stand.behind for partition, stand in stands.items()})
        assert await worker.take(100) == []

        async def there() -> bool:
            worker.inbox._look_due = 0.0
            return all(not stand.again for stand in (await worker.ledger.ingested()).values())

        await worker.until(there)
        assert len(await worker.take(100)) == 10


async def test_a_topic_that_a_release_reads_no_more_holds_nothing_up_that_is_read_again(post: Post) -> None:
    """The state was lost, and the release that ran then read a topic more: nobody will ever come there again."""
    await post.publish(*suppliers(3))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 3))
        await worker.ledger.forgotten({(post.topic("former"), 0): 5})
        assert await worker.take(10) == []

        async def there() -> bool:
            return all(not stand.again for stand in (await worker.ledger.ingested()).values())

        await worker.until(there)
        assert len(await worker.take(10)) == 3


async def test_a_worker_that_has_less_than_the_state_takes_nothing_away_from_it(post: Post) -> None:
    """Records that a partition's former worker had polled reached the state after the new worker had asked where it stands."""
    ledger = StoredLedger(post.store, "purchasing")
    place = ("canonical.supplier", 0)
    await ledger.ingest(Arrivals([], [], {place: (10, "ten")}, since={place: 0}), [])
    await ledger.ingest(Arrivals([], [], {place: (7, "seven")}, since={place: 5}), [])
    assert (await ledger.ingested())[place] == Stand(10, "ten")
    await ledger.ingest(Arrivals([], [], {place: (12, "twelve")}, since={place: 7}), [])
    assert (await ledger.ingested())[place] == Stand(12, "twelve")
    await ledger.ingest(Arrivals([], [], {place: (3, "anew")}, since={place: 12}), [])
    assert (await ledger.ingested())[place] == Stand(3, "anew")


async def test_an_open_transaction_that_hides_events_is_told_and_forgotten_when_it_ends(post: Post) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=post.settings.bootstrap_servers, transactional_id=post.settings.topic_prefix)
    await producer.start()
    try:
        async with post.worker(patience=0.0) as worker:
            await producer.begin_transaction()
            await producer.send_and_wait(post.topic(), b"somebody else's", b"key", partition=1)
            await post.publish(*suppliers(10))

            async def told() -> str | None:
                worker.inbox._look_due = 0.0
                (row,) = await insight.standing(post.store)
                return row.error

            await worker.ledger.reopen("1")
            await worker.until(told)
            assert f"in {post.topic()}[1] since" in str(await told())
            await producer.abort_transaction()

            async def forgotten() -> bool:
                return await told() is None and await has(post, 10)

            await worker.until(forgotten)
    finally:
        await producer.stop()


def test_what_is_hidden_is_told_once_it_has_stood_still_for_long_enough() -> None:
    hidden, place = Hidden(patience=30.0), ("canonical.person", 3)
    assert hidden.see({place: (5, 9)}, 100.0) == {}
    assert hidden.see({place: (6, 9)}, 129.0) == {}, "it has moved"
    assert hidden.see({place: (6, 20)}, 158.0) == {}
    assert hidden.see({place: (6, 20)}, 159.0) == {place: 14}
    assert hidden.see({place: (6, 30)}, 160.0) == {}, "a larger number alone is no news"
    assert hidden.see({place: (30, 30)}, 161.0) == {place: 0}
    assert Hidden({place: 3}).see({place: (30, 30)}, 0.0) == {place: 0}, "told by a process that is gone"
    since = HiddenEvents("cloud", "canonical.person", 3, hidden=1400, hidden_since=1_700_000_000.0)
    assert said([replace(since, partition=4, hidden_since=1_700_000_060.0), since]) == (
        "some program began a transaction and has not ended it: it hides 1,400 records in canonical.person[3] and in 1 other "
        "partitions since 2023-11-14 22:13 UTC; the records behind it wait. To do: if it does not end by itself within minutes, "
        "run `kafka-transactions.sh find-hanging --topic canonical.person --partition 3`, then its `abort`"
    )


async def test_a_kill_between_the_poll_and_the_facts_is_read_again(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        while not (await worker.inbox.poll()).events:
            pass
    assert await post.facts() == {}
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10))


async def test_a_kill_between_the_facts_and_the_offsets_repeats_nothing(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        while not await has(post, 10):
            arrived = await worker.inbox.poll()
            await worker.ledger.ingest(arrived, marks_of(worker.agreement.flow, arrived, [None] * len(arrived.events)))
    assert all(offset <= 0 for offset in (await post.committed()).values())
    await post.publish(supplier(11))
    async with post.worker() as worker:
        assert await worker.until(lambda: has(post, 11), quiet=3) == 1


async def test_an_ingest_that_failed_leaves_no_offsets_behind_for_the_next(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        while not (await worker.inbox.poll()).events:
            pass
        await worker.ledger.ingest(Arrivals([(supplier(11), 0)], [], {}), [])
        assert await worker.ledger.ingested() == {}


async def test_records_that_are_no_events_of_ours_are_turned_away_one_by_one(post: Post) -> None:
    well = supplier(1)
    headers = dict(well.headers())
    topic, place = post.topic(), partition_of(well.owner, 3)

    def with_headers(**changed: Any) -> tuple[str, int, bytes, bytes | None, list[tuple[str, Any]]]:
        return topic, place, b"k", well.data, list({**headers, **changed}.items())

    bad = [
        (topic, place, b"k", b"hello", []),
        (topic, place, b"k", well.data, [("ce_type", None)]),
        with_headers(ce_type=None),
        with_headers(ce_sequence=b"9" * 30),
        with_headers(ce_sequence=b"0"),
        with_headers(ce_subject=b"payables:supplier:1\x00"),
        with_headers(ce_time=b"0001-01-01T00:00:00+14:00"),
        with_headers(ce_type=b"ironbridge.invoice.v1"),
        with_headers(ce_type=b"ironbridge.nothing.v1"),
        with_headers(ce_id=b"\xff\xfe", ce_subject=b"\xff\xfe"),
    ]
    await post.send(*bad)
    await post.publish(well)
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 1), quiet=2)
    rows = await World(post.store).rows("SELECT place, what FROM rejects ORDER BY place")
    assert len(rows) == len(bad)
    assert all(row["place"].startswith(f"{topic}[{place}]@") for row in rows)
    async with post.worker() as worker:
        assert await worker.until(lambda: has(post, 1), quiet=5) == 0


async def test_a_state_that_is_away_when_partitions_come_is_told_and_nothing_is_skipped(post: Post) -> None:
    await post.publish(*suppliers(10))
    async with post.worker() as worker:
        await worker.until(lambda: has(post, 10))
    await post.publish(*suppliers(10, 2))

    class Away:
        async def forgotten(self, until: Any) -> None:
            raise AssertionError

        async def hidden(self, hidden: Any) -> None:
            raise AssertionError

        async def ingested(self) -> dict[tuple[str, int], Stand]:
            raise UnavailableError("state", "the database does not answer")

    async def polled(inbox: KafkaInbox) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                assert not (await inbox.poll()).events

    async with KafkaInbox(post.settings, "purchasing", PurchaseFlow.entities, Away(), "one") as inbox:
        with pytest.raises(UnavailableError, match="does not answer"):
            await polled(inbox)


async def test_a_rebalance_between_two_workers_loses_nothing(post: Post) -> None:
    count, stop = 300, asyncio.Event()

    async def ingesting(worker: Worker) -> int:
        seen = 0
        while not stop.is_set():
            seen += await worker.agreement.ingest(worker.inbox)
        return seen

    async def publishing() -> None:
        for start in range(1, count + 1, 10):
            await post.publish(*(supplier(n) for n in range(start, start + 10)))
            await asyncio.sleep(0.1)

    publisher = asyncio.create_task(publishing())
    async with post.worker("one", HastyInbox) as one:
        first = asyncio.create_task(ingesting(one))
        await asyncio.sleep(1)
        async with post.worker("two", HastyInbox) as two:
            second = asyncio.create_task(ingesting(two))
            await publisher
            async with asyncio.timeout(PATIENCE):
                while not await has(post, count):
                    await asyncio.sleep(0.2)
            assert two.inbox._placed, "the second worker has a part of the work"
            assert not one.inbox._placed & two.inbox._placed
            stop.set()
            await asyncio.gather(first, second)
        stop.clear()
        await post.publish(*(supplier(n, 2) for n in range(1, count + 1)))
        first = asyncio.create_task(ingesting(one))
        async with asyncio.timeout(PATIENCE):
            while not await has(post, count, 2):
                await asyncio.sleep(0.2)
        stop.set()
        await first
