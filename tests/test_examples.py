"""The examples work: a subscriber that loses nothing, and an adapter in a package of its own."""

import asyncio
import importlib.util
import json
import signal
import sqlite3
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from adapters.engine.pump import Pump
from adapters.port import Adapter, AdapterSystem
from adapters.testing import assert_versions_grow
from canonical import CareEpisode, Event, Name, Person
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.topics import ensure_topics
from ironbridge.settings import KafkaSettings
from ironbridge.store import StoredMemory, open_store
from tests.servers import Kafka

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOON = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)  # Kafka refuses a time more than an hour ahead of its clock
PATIENCE = 60.0


def loaded(name: str, file: Path) -> ModuleType:
    inside = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=inside)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


housing = loaded("housing", EXAMPLES / "own_adapter" / "housing" / "__init__.py")


def settings_of(kafka: Kafka, partitions: int = 3) -> KafkaSettings:
    prefix = f"{kafka.prefix()}canonical"
    return KafkaSettings(broker="none", bootstrap_servers=kafka.bootstrap, topic_prefix=prefix, partitions=partitions)


@asynccontextmanager
async def journal_of(settings: KafkaSettings) -> AsyncIterator[KafkaJournal]:
    await ensure_topics(settings, [Person, CareEpisode])
    journal = KafkaJournal(settings, "legacy", [Person, CareEpisode])
    await journal.open()
    try:
        yield journal
    finally:
        await journal.close()


def person_event(number: int, version: int = 1, *, deleted: bool = False) -> Event:
    key = f"legacy:person:{number}"
    data = Person(key=key, names=(Name(given="Wilhelmina", family="Darby"),), ethnicity="WBRI").to_bytes()
    return Event("person", "legacy", key, key, version, NOON, None if deleted else data, stream="people")


@asynccontextmanager
async def subscriber(settings: KafkaSettings) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example as a person would start it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / "subscribe.py"), "person", "care-episode",
        "--bootstrap", settings.bootstrap_servers, "--prefix", settings.topic_prefix, "--group", settings.topic_prefix,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=EXAMPLES.parent,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def lines(process: asyncio.subprocess.Process, count: int) -> list[str]:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        return [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(count)]


async def stopped(process: asyncio.subprocess.Process) -> str:
    """End it as an operator would; what it said on the side."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE):
        _, said = await process.communicate()
    assert process.returncode == 0
    return said.decode()


async def test_the_subscriber_prints_a_masked_line_for_every_event(embedded_broker: Kafka) -> None:
    settings = settings_of(embedded_broker)
    child = "legacy:person:1"
    episode = CareEpisode(key="legacy:care-episode:9", person=child, primary_need="N1")
    about = Event("care-episode", "legacy", episode.key, child, 1, NOON, episode.to_bytes())
    async with journal_of(settings) as journal, subscriber(settings) as process:
        await journal.publish([person_event(1), about, person_event(1, 2, deleted=True)], None)
        told = await lines(process, 3)
        said = await stopped(process)
    hidden = repr(Person.from_bytes(person_event(1).data or b""))
    assert sorted(told) == sorted(
        [
            f"2026-03-29 12:00:00 legacy:person:1 version 1: {hidden}",
            "2026-03-29 12:00:00 legacy:person:1 version 2: deleted",
            f"2026-03-29 12:00:00 legacy:care-episode:9 version 1: {episode!r}",
        ]
    )
    assert "names=<identifying>" in hidden
    assert "primary_need=<special>" in repr(episode)
    assert not [word for word in ("Wilhelmina", "Darby", "WBRI", "N1") if word in said + "".join(told)]


async def test_the_subscriber_leaves_out_what_is_no_event_and_goes_on(embedded_broker: Kafka) -> None:
    settings = settings_of(embedded_broker, partitions=1)
    topic = f"{settings.topic_prefix}.person"
    async with journal_of(settings) as journal, subscriber(settings) as process:
        await journal.publish([person_event(1)], None)
        producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
        await producer.start()
        try:
            await producer.send_and_wait(topic, b"Wilhelmina", key=b"x", headers=[("spanId", b"\xff\xfe")])
            await producer.send_and_wait(topic, b'{"names":7}', key=b"x", headers=person_event(2).headers())
        finally:
            await producer.stop()
        await journal.publish([person_event(3)], None)
        told = await lines(process, 2)
        said = [line for line in (await stopped(process)).splitlines() if line.startswith("left out: ")]
    assert [line.split()[2] for line in told] == ["legacy:person:1", "legacy:person:3"]
    assert said == [
        f"left out: {topic}[0]@2: header ce_specversion: is missing (its shape: nothing). "
        "To do: publish to this topic through an Ironbridge adapter only",
        f"left out: Event(legacy:person:2@1) of {topic}[0]@3: person: key: Field required (its shape: nothing)",
    ]


async def test_a_subscriber_that_is_killed_misses_nothing(apache_kafka: Kafka) -> None:
    settings = settings_of(apache_kafka)
    keys = {f"legacy:person:{number}" for number in range(3000)}
    async with journal_of(settings) as journal:
        for start in range(0, 3000, 1000):
            await journal.publish([person_event(number) for number in range(start, start + 1000)], None)
        async with subscriber(settings) as first:
            before = [line.split()[2] for line in await lines(first, 700)]
            first.kill()
            await first.wait()
        assert len(set(before)) == 700
        async with subscriber(settings) as second:
            seen = set(before)
            while not keys <= seen:
                seen |= {line.split()[2] for line in await lines(second, 1)}
            await stopped(second)


# -- an adapter of one's own ---------------------------------------------------------------------------------------

ROWS = [
    (1, "Abraham", "Darby", "1750-04-24", "AB123456C", "1 High Street, Coalbrookdale", "tf87dt"),
    (2, "Hannah ", "Rose", "1957-01-02 00:00:00", None, None, None),
    (3, "Thomas", "Telford", "1757-08-09", "QQ123456C", None, None),
]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "housing.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.execute(
            "CREATE TABLE TENANTS (TENANT_NO INTEGER PRIMARY KEY, FORENAMES, SURNAME, BORN, NINO, ADDRESS, POSTCODE)"
        )
        connection.executemany("INSERT INTO TENANTS VALUES (?, ?, ?, ?, ?, ?, ?)", ROWS)
    connection.close()
    return file


def built(database: Path) -> Any:
    system: AdapterSystem[Any] = housing.system
    adapter: Adapter = system.build("housing", system.settings.model_validate({"url": f"sqlite:///{database}"}))
    return adapter


async def published(settings: KafkaSettings) -> list[Event]:
    """All that lies in the topic of people now."""
    topic = f"{settings.topic_prefix}.person"
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=settings.bootstrap_servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        found: list[Event] = []
        while batches := await consumer.getmany(timeout_ms=1000):
            found += [Event.from_kafka("test", r.value, r.headers) for each in batches.values() for r in each]
        return sorted(found, key=lambda event: (event.key, event.version))
    finally:
        await consumer.stop()


async def test_an_adapter_of_ones_own_publishes_what_its_table_holds_and_what_changes(
    embedded_broker: Kafka, database: Path, tmp_path: Path
) -> None:
    settings = settings_of(embedded_broker)
    adapter = built(database)
    await ensure_topics(settings, [Person])
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'state.sqlite3'}")
    pump = Pump(adapter, KafkaJournal(settings, "housing", [Person]), StoredMemory(store, "housing"), edition="1")
    [stream] = adapter.streams()
    try:
        await pump.ready()
        await pump.read(stream)
        first = await published(settings)
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE TENANTS SET SURNAME = 'Reynolds' WHERE TENANT_NO = 2")
            connection.execute("DELETE FROM TENANTS WHERE TENANT_NO = 1")
        connection.close()
        await pump.read(stream)
        await pump.read(stream)
        again = await published(settings)
    finally:
        await pump.close()
        await store.close()
    assert [event.key for event in first] == ["housing:person:1", "housing:person:2"]
    darby = json.loads(first[0].data or b"")
    assert darby["addresses"] == [{"lines": ["1 High Street", "Coalbrookdale"], "postcode": "TF8 7DT"}]
    assert (darby["birth_date"], darby["nino"]) == ("1750-04-24", "AB123456C")
    assert [(event.key, event.data is None) for event in again] == [
        ("housing:person:1", False),
        ("housing:person:1", True),
        ("housing:person:2", False),
        ("housing:person:2", False),
    ]
    assert_versions_grow(again)


async def test_an_adapter_of_ones_own_checks_its_table(database: Path) -> None:
    adapter = built(database)
    try:
        findings = await adapter.check()
    finally:
        await adapter.close()
    assert [(finding.what, finding.well) for finding in findings] == [
        ("housing: answers", True),
        ("TENANTS: 7 columns can be read", True),
    ]


def test_the_package_of_the_own_adapter_names_its_entry_point() -> None:
    project = tomllib.loads((EXAMPLES / "own_adapter" / "pyproject.toml").read_text("utf-8"))
    points = project["project"]["entry-points"]["ironbridge.adapters"]
    assert points == {"housing": "housing:system"}
    package, _, attribute = points["housing"].partition(":")
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [package]
    assert (EXAMPLES / "own_adapter" / package / "__init__.py").is_file()
    section = tomllib.loads(getattr(housing, attribute).sample)["adapters"]["housing"]
    assert housing.system.settings.model_validate(section)
