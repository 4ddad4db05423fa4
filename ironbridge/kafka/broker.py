"""
The brokers that one command starts, with nothing but pip: a small embedded one, and real Apache Kafka without Docker.

Both listen on 127.0.0.1 only, keep their data in a directory over a restart, end when the program that started them
ends (even by `kill -9`), and stop a broker that such a kill left behind before they start their own.
"""

import asyncio
import base64
import contextlib
import importlib.util
import json
import os
import re
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from ironbridge.kafka.distribution import KAFKA_VERSION, Progress, java_runtime, kafka_jars, no_progress
from ironbridge.kafka.process import (
    HOST,
    STOP_PATIENCE,
    command_of,
    end_process,
    free_port,
    is_free,
    parent_of,
    spawn,
    tail,
)

START_PATIENCE = 90.0  # seconds until a broker that does not answer is given up: a cold, busy machine needs 20
DEVELOPMENT_WARNING = (
    "the embedded broker is for development and demonstrations only, never for production: "
    "it may lose its last half second when it is killed, it hides from other subscribers what follows an aborted transaction, "
    "and it never evicts a dead member of a consumer group"
)


class Broker(ABC):
    """
    A Kafka broker that runs as a child process for the length of an `async with` block.

    `data_dir` holds its data, its log (`server.log`) and its pid file; `port` 0 means a free one, chosen at the first
    start and kept for this object's later starts. `progress` is told each step of the start in a short phrase.
    Start it from a thread that lives as long as the broker should: it ends with the thread that started it.
    """

    name: ClassVar[str]
    is_development: ClassVar[bool] = False
    warning: ClassVar[str] = ""

    def __init__(self, data_dir: Path | str, port: int = 0, *, progress: Progress = no_progress) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.log = self.data_dir / "server.log"
        self._pid_file = self.data_dir / "broker.pid"
        self._wanted_port = port
        self._port = port
        self._progress = progress
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port it listens on; 0 before the first start when a free one was asked for."""
        return self._port

    @property
    def bootstrap(self) -> str:
        """The address to which a Kafka client connects."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """
        Return once a Kafka client gets metadata from it.

        Raises MisconfiguredError when it can never start like this (no Java, port or directory taken) and
        UnavailableError, with the end of its log, when it did not come up.
        """
        if self.pid:
            return
        began = time.monotonic()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        await self._stop_left_over()
        self._choose_port()
        command = await self._command()
        self._progress(f"starting {self.name} on {self.bootstrap}")
        self._process = spawn(command, log=self.log)
        try:
            self._write_pid_file(self._process.pid, command)
            await self._until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise
        self._progress(f"{self.name} answers on {self.bootstrap} after {time.monotonic() - began:.1f} s")

    async def stop(self) -> None:
        """Ask it to stop, so that it saves everything, and kill it if it has not after STOP_PATIENCE seconds."""
        if self._process is None:
            return
        try:
            if self.pid:
                self._process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wait(), STOP_PATIENCE)
        finally:
            self.kill()
            self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it at once, as a power cut would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def wait(self) -> int:
        """Return its exit status once it has ended by itself, for a program that lives as long as its broker."""
        if self._process is None:
            raise MisconfiguredError(self.name, "was never started", fix="call start() before wait()")
        while (status := self._process.poll()) is None:  # noqa: ASYNC110 (a process sets no event when it ends)
            await asyncio.sleep(0.05)
        return status

    @abstractmethod
    async def _command(self) -> list[str]:
        """Make everything ready and return the command that runs the server in the foreground on `self.port`."""

    def _choose_port(self) -> None:
        if self._port == 0:
            self._port = free_port()
        elif not is_free(self._port):
            raise MisconfiguredError(
                self.name, f"cannot listen on {self.bootstrap}: another program does",
                fix="stop that program, or choose another port (0 takes a free one)",
            )  # fmt: skip

    def _write_pid_file(self, pid: int, command: list[str]) -> None:
        record = json.dumps({"pid": pid, "parent": os.getpid(), "command": command})
        self._pid_file.write_text(record, encoding="utf-8")

    async def _stop_left_over(self) -> None:
        try:
            record = json.loads(self._pid_file.read_text(encoding="utf-8"))
            pid, parent, command = int(record["pid"]), int(record["parent"]), record["command"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return  # never written, or torn by a kill in the midst of writing: there is nothing to go by
        if command_of(pid) != command:
            return  # it ended, or the system gave its number to another program
        if parent_of(pid) == parent:
            raise MisconfiguredError(
                self.name, f"{self.data_dir} is in use by a running broker (process {pid}, started by {parent})",
                fix="stop that one, or choose another data directory",
            )  # fmt: skip
        self._progress(f"stopping a broker left behind by a killed program (process {pid})")
        await end_process(pid, command)

    async def _until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while not await _answers(self.bootstrap):
            if process.poll() is not None:
                raise self._did_not_start(f"ended with status {process.returncode} instead of starting")
            if time.monotonic() > deadline:
                raise self._did_not_start(f"did not answer within {START_PATIENCE:.0f} s")
            await asyncio.sleep(0.1)

    def _did_not_start(self, what: str) -> IronbridgeError:
        end = tail(self.log)
        if re.search(r"address already in use", end, re.IGNORECASE):
            return MisconfiguredError(
                self.name, f"{what}: {self.bootstrap} is taken", fix="choose another port (0 takes a free one)"
            )
        return UnavailableError(
            self.name, f"{what}. The end of its log:\n{end or '(it wrote nothing)'}", fix=f"read {self.log}"
        )


class EmbeddedBroker(Broker):
    """The small Kafka-compatible broker of the `noida-db` wheel: for development, never for production."""

    name = "embedded broker"
    is_development = True
    warning = DEVELOPMENT_WARNING

    async def _command(self) -> list[str]:
        if importlib.util.find_spec("noida_db") is None:
            raise MisconfiguredError(
                self.name, "is not installed", fix="pip install noida-db (Linux only), or run Apache Kafka instead"
            )
        binary = Path(str(files("noida_db") / "noida-db"))
        if not os.access(binary, os.X_OK):
            binary.chmod(0o755)  # wheels do not always keep the executable bit
        return [
            str(binary), "start", "--only", "kafka", "--kafka-port", str(self.port), "--host", HOST,
            "--data-dir", str(self.data_dir / "noida-db"),
        ]  # fmt: skip


class ApacheKafka(Broker):
    """
    Apache Kafka from its own jars: one node, broker and controller in one process (KRaft), every replication factor 1.

    `heap` is the Java heap as Java writes it. The jars (45 MB) are fetched once, from the Maven repository into
    the user's cache (IRONBRIDGE_CACHE).
    """

    name = f"Apache Kafka {KAFKA_VERSION}"
    java_options: Sequence[str] = ()
    format_options: Sequence[str] = ()

    def __init__(
        self, data_dir: Path | str, port: int = 0, heap: str = "512m", *, progress: Progress = no_progress
    ) -> None:
        super().__init__(data_dir, port, progress=progress)
        self._heap = heap

    async def _command(self) -> list[str]:
        java = await asyncio.to_thread(java_runtime)
        jars = await asyncio.to_thread(kafka_jars, self._progress)
        settings = self.data_dir / "server.properties"
        lines = (f"{key}={value}\n" for key, value in self.server_settings(free_port()).items())
        settings.write_text("".join(lines), encoding="utf-8")
        logging = self.data_dir / "log4j2.properties"
        logging.write_text(_LOG4J, encoding="utf-8")
        java_command = [
            str(java), f"-Xmx{self._heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={logging}", *self.java_options, "-cp", f"{jars}/*",
        ]  # fmt: skip
        if not (self.data_dir / "log" / "meta.properties").exists():
            self._progress("formatting the data directory")
            await asyncio.to_thread(self._format, java_command, settings)
        return [*java_command, "kafka.Kafka", str(settings)]

    def server_settings(self, controller_port: int) -> dict[str, object]:
        """Return the settings that go into server.properties."""
        return _kafka_settings(self.data_dir, self.port, controller_port)

    def _format(self, java_command: list[str], settings: Path) -> None:
        # Kafka's own spelling of a cluster id; one that begins with a dash would read as an option.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster, "-c", str(settings)]
        tool += self.format_options
        patience = START_PATIENCE
        try:
            done = subprocess.run(  # noqa: S603
                [*java_command, *tool], capture_output=True, text=True, check=False, timeout=patience
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(self.name, f"could not format {self.data_dir} within {patience:.0f} s") from None
        if done.returncode != 0:
            end = (done.stdout + done.stderr)[-2000:]
            raise UnavailableError(self.name, f"could not format {self.data_dir}:\n{end}", fix="empty that directory")


_LOG4J = """\
status = warn
shutdownHook = disable
appender.err.type = Console
appender.err.name = err
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d{ISO8601} %-5p %m (%c)%n
rootLogger.level = info
rootLogger.appenderRef.err.ref = err
logger.settings.name = org.apache.kafka.common.config
logger.settings.level = warn
"""


def _kafka_settings(data_dir: Path, port: int, controller_port: int) -> dict[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": data_dir / "log",
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # A broker that was killed may register again only once its last session has run out: 9 s by default.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,  # 128 MB by default, a quarter of our heap
        "num.network.threads": 2,
        "num.io.threads": 4,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
    }


async def _answers(bootstrap: str) -> bool:
    host, port = bootstrap.rsplit(":", 1)
    try:  # first without a Kafka client, which would log an error for every port that is not open yet
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["brokers"])
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await admin.close()

