"""The examples work: a subscriber that loses nothing, and a package with an entity, an adapter, a flow and a target."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer

from canonical import CareEpisode, Event, Name, Person
from flows.business_central.sandbox import BusinessCentralSandbox
from ironbridge.cli.sample import sample
from ironbridge.kafka.process import HOST, free_port
from ironbridge.runtime import systems
from ironbridge.runtime.installed import found
from ironbridge.settings import KafkaSettings, Settings
from tests.own_package import COUNCIL_HOUSING, ROOT, installed
from tests.published import journal_of, settings_of
from tests.servers import Kafka

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOON = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)  # Kafka refuses a time more than an hour ahead of its clock
PATIENCE = 180.0  # seconds; the programs of these tests start slowly on a machine that is busy


def person_event(number: int, version: int = 1, *, deleted: bool = False) -> Event:
    key = f"legacy:person:{number}"
    data = Person(key=key, names=(Name(given="Wilhelmina", family="Darby"),), ethnicity="WBRI").to_bytes()
    return Event("person", "legacy", key, key, version, NOON, None if deleted else data, stream="people")


@asynccontextmanager
async def python(
    *command: str, folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python program in a process of its own, which is killed if it still runs at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=folder, env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def subscriber(settings: KafkaSettings) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example as a person would start it."""
    command = (
        str(EXAMPLES / "subscribe.py"), "person", "care-episode", "--bootstrap", settings.bootstrap_servers,
        "--prefix", settings.topic_prefix, "--group", settings.topic_prefix,
    )  # fmt: skip
    async with python(*command, folder=EXAMPLES.parent) as process:
        yield process


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


# -- a package of a council's own ------------------------------------------------------------------------------------

TENANTS = [(1, "Abraham", "Darby", "1957-04-24", "AB123456C"), (2, "Hannah ", "Rose", "1957-01-02 00:00:00", None)]
LETTINGS = [
    (11, 1, "T-00/11", "1 High Street, Coalbrookdale", "tf87dt", "2020-04-06", None, 80),
    (12, 2, "T-00/12", "2 High Street, Coalbrookdale", None, "2019-01-07", "2026-03-29", -120.5),
]


@dataclass
class Housing:
    """A council that has installed the package: its housing system, the contractor's folder, and a settings file for both."""

    folder: Path
    broker: Kafka
    sandbox: BusinessCentralSandbox
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.garages = self.folder / "garages"
        self.garages.mkdir()
        self.do("CREATE TABLE TENANTS (TENANT_NO INTEGER PRIMARY KEY, FORENAMES, SURNAME, BORN, NINO)")
        self.do(
            "CREATE TABLE LETTINGS (LETTING_NO INTEGER PRIMARY KEY, TENANT_NO INTEGER, AGREEMENT, ADDRESS, POSTCODE, BEGAN, "
            "ENDED, BALANCE NUMERIC)"
        )
        for tenant in TENANTS:
            self.do("INSERT INTO TENANTS VALUES (?, ?, ?, ?, ?)", *tenant)
        for letting in LETTINGS:
            self.do("INSERT INTO LETTINGS VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *letting)
        (self.folder / "ironbridge.toml").write_text(self._settings(), "utf-8")
        paths = [str(ROOT), *installed(COUNCIL_HOUSING, self.folder / "site")]
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"}

    def do(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.folder / "housing.sqlite3")) as connection, connection:
            connection.execute(statement, values)

    def _settings(self) -> str:
        company = self.sandbox.settings
        return f"""
            data = "{self.folder / "data"}"
            http.listen = "{HOST}:{self.port}"
            [kafka]
            broker = "none"
            bootstrap_servers = "{self.broker.bootstrap}"
            topic_prefix = "{self.broker.prefix()}canonical"
            [adapters.housing]
            url = "sqlite:///{self.folder / "housing.sqlite3"}"
            every = "PT0.5S"
            [targets.repairs]
            folder = "{self.garages}"
            [targets.business_central]
            base_url = "{self.sandbox.url}/v2.0/tenant/production/api/v2.0"
            company = "{company.company}"
            token_url = "{self.sandbox.url}/tenant/oauth2/v2.0/token"
            client_id = "{company.client_id}"
            client_secret = "{company.client_secret}"
            [flows.refunds]
            target = "business_central"
        """

    @asynccontextmanager
    async def running(self, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command of the program, in a process that has found the package by its entry points alone."""
        async with python("-m", "ironbridge", *command, folder=self.folder, environment=self._environment) as process:
            yield process

    async def said(self, *command: str) -> str:
        async with self.running(*command) as process, asyncio.timeout(PATIENCE):
            answer, complaint = await process.communicate()
        assert process.returncode == 0, (answer.decode(), complaint.decode())
        return answer.decode()

    async def until(self, garages: Any, vendors: Any) -> None:
        """Wait until the contractor's folder and the company hold this."""

        def held() -> tuple[dict[str, Any], dict[str, str]]:
            files = {file.name: json.loads(file.read_text("utf-8")) for file in sorted(self.garages.glob("*.json"))}
            return files, {v["number"]: v["displayName"] for v in self.sandbox.documents("vendors").values()}

        await waited(lambda: held() == (garages, vendors), held)


async def waited(reached: Callable[[], bool], shown: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not reached():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(shown()) from None


@pytest.fixture
async def housing(embedded_broker: Kafka, tmp_path: Path) -> AsyncIterator[Housing]:
    async with BusinessCentralSandbox(None) as sandbox:
        yield Housing(tmp_path, embedded_broker, sandbox)


GARAGE = {"agreement": "T-00/11", "since": "2020-04-06", "address": "1 High Street, Coalbrookdale", "postcode": "TF8 7DT"}


async def test_a_council_s_own_entity_goes_from_its_own_adapter_through_its_own_flows_into_two_targets(housing: Housing) -> None:
    assert "housing: answers" in await housing.said("check")
    async with housing.running("run") as process:
        await housing.until({"11.json": GARAGE}, {"HT-2": "Hannah Rose"})
        await shown_in_the_console(f"http://{HOST}:{housing.port}")
        housing.do("UPDATE LETTINGS SET ENDED = '2026-03-29', BALANCE = -5 WHERE LETTING_NO = 11")
        housing.do("UPDATE LETTINGS SET BALANCE = 0 WHERE LETTING_NO = 12")
        await housing.until({}, {"HT-1": "Abraham Darby"})
        await stopped(process)

    stands = json.loads(await housing.said("status", "--json"))
    assert {row["stream"] for row in stands["streams"] if row["adapter"] == "housing"} == {"tenants", "lettings"}
    assert {row["flow"] for row in stands["flows"]} == {"repairs", "refunds"}
    story = await housing.said("explain", "t-00/12")
    assert "housing:garage-letting:12" in story
    assert "refunds" in story
    assert "2 High Street" not in story
    await housing.said("contracts", "export", "contracts")
    schema = json.loads((housing.folder / "contracts" / "garage-letting.v1.json").read_text("utf-8"))
    assert schema["properties"]["garage"]["x-sensitivity"] == "identifying"
    assert "garage-letting" in json.loads((housing.folder / "contracts" / "asyncapi.json").read_text("utf-8"))["channels"]


async def shown_in_the_console(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE, follow_redirects=True) as visitor:
        home = (await visitor.get("/")).text
        for name in ("housing", "repairs", "refunds"):
            assert name in home
        form = re.search(r'name="token" value="([^"]+)"', (await visitor.get("/records")).text)
        assert form is not None
        found = await visitor.post("/records", data={"words": "T-00/12", "token": form[1]})
        assert "housing:garage-letting:12" in found.text
        assert "2 High Street" not in found.text


@pytest.mark.usefixtures("council_housing")
def test_the_samples_of_the_package_are_shown_by_init_and_hold() -> None:
    shown, own = sample(), [("adapters", "housing"), ("targets", "repairs"), ("flows", "refunds")]
    samples = {group: found(f"ironbridge.{group}")[name].load().sample for group, name in own}
    assert all(f"[{group}.{name}]" in shown for group, name in own)
    settings = Settings(**{group: tomllib.loads(samples[group])[group] for group in ("adapters", "targets")})
    assert systems.adapters(settings)["housing"].adapter.name == "housing"
    assert list(systems.flows(settings)) == ["repairs"]


def test_nothing_of_ours_knows_the_package_and_its_adapter_is_short() -> None:
    rooms = ("canonical", "adapters", "flows", "ironbridge")
    assert [f for room in rooms for f in (ROOT / room).rglob("*.py") if "council_housing" in f.read_text("utf-8")] == []
    adapter = (COUNCIL_HOUSING / "council_housing" / "lettings" / "__init__.py").read_text("utf-8")
    assert len(adapter.splitlines()) <= 60
