"""The servers that are killed and cut off: Apache Kafka and PostgreSQL behind proxies, and a disk that can be filled."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import trustme

from ironbridge.kafka.broker import ApacheKafka
from ironbridge.kafka.distribution import cache_dir
from ironbridge.kafka.process import HOST, free_port, spawn, tail
from tests.servers import Absent, _postgres_binaries, _run

TOXIPROXY = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"


class ProxiedKafka(ApacheKafka):
    """Apache Kafka that tells its clients to come through a proxy."""

    def __init__(self, data: Path, port: int, told: int) -> None:
        super().__init__(data, port)
        self._told = told

    async def _command(self) -> list[str]:
        command = await super()._command()
        settings = self.data_dir / "server.properties"
        own = f"advertised.listeners=PLAINTEXT://{HOST}:"
        text = settings.read_text("utf-8").replace(f"{own}{self.port}", f"{own}{self._told}")
        settings.write_text(text, "utf-8")
        return command

    async def kill_and_restart(self, pause: float) -> None:
        self.kill()
        await asyncio.sleep(pause)
        await self.start()


class PostgresServer:
    """PostgreSQL in a directory of its own, to be killed and started again. What it says is committed is on disk."""

    def __init__(self, work: Path) -> None:
        self.port = free_port()
        self._work = work
        self._user = "nobody" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        if self._user:
            shutil.chown(self._work, self._user)
        _run([_postgres_binaries() / "initdb", "-D", self._work / "data", "-U", "ironbridge", "--auth=trust", "-E", "UTF8",
              "--no-sync"], self._user)  # fmt: skip

    def begin(self) -> None:
        """Start it; `ready` tells when it answers. No fsync: the machine stays up, whatever happens to the process."""
        command = [
            str(_postgres_binaries() / "postgres"), "-D", str(self._work / "data"), "-p", str(self.port), "-h", HOST,
            "-k", "", "-F", "-c", "full_page_writes=off", "-c", "shared_buffers=32MB", "-c", "max_connections=150",
            "-c", "max_wal_size=64MB", "-c", "min_wal_size=32MB", "-c", "wal_segment_size=16MB",
        ][:-2]  # fmt: skip
        self._process = spawn(command, log=self._work / "log", user=self._user, cwd=self._work)

    async def ready(self, patience: float = 60.0) -> None:
        deadline = time.monotonic() + patience
        while not await self._answers():
            if self._process is None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{tail(self._work / 'log', 30)}")
            if self._process.poll() is not None:
                await asyncio.sleep(0.2)
                self.begin()  # what was killed may still hold its memory for a moment
            await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(host=HOST, port=self.port, user="ironbridge", database="postgres", timeout=5)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close()
        return True

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    async def kill_and_restart(self, pause: float) -> None:
        self.kill()
        await asyncio.sleep(pause)
        self.begin()
        await self.ready()

    def copy(self, to: Path) -> None:
        """Copy its files as they are on disk, like a snapshot. It has to be killed first."""
        subprocess.run(["cp", "-a", str(self._work / "data"), str(to)], check=True)

    def set_back(self, copy: Path) -> None:
        """Replace its files by a copy. It has to be killed first."""
        shutil.rmtree(self._work / "data")
        subprocess.run(["cp", "-a", str(copy), str(self._work / "data")], check=True)

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def clock_library() -> Path | None:
    """The path of libfaketime, if it is installed (Debian: libfaketime)."""
    return next(iter(sorted(Path("/usr").glob("lib*/**/faketime/libfaketime.so.1"))), None)


def own_clocks() -> dict[str, str]:
    """
    The environment of processes each of which may have its own clock: FAKETIME gives the difference in seconds.

    Steady clocks and the times of files are not changed.
    """
    library = clock_library()
    if library is None:
        return {}
    settings = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1", "NO_FAKE_STAT": "1", "FAKETIME": "+0"}
    return {"LD_PRELOAD": str(library), **settings}


class SmallDisk:
    """A file system of its own, in memory, that can be filled to the last byte. Needs root."""

    def __init__(self, at: Path, megabytes: int) -> None:
        self.at = at
        at.mkdir(parents=True)
        mount = shutil.which("mount")
        command = [str(mount), "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(at)]
        done = subprocess.run(command, capture_output=True, check=False) if mount else None
        self.mounted = done is not None and done.returncode == 0

    def fill(self) -> None:
        with contextlib.suppress(OSError), (self.at / "ballast").open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 65536)
        with contextlib.suppress(OSError), (self.at / "ballast").open("ab", buffering=0) as file:
            while True:
                file.write(b"\0" * 512)

    def free(self) -> None:
        (self.at / "ballast").unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.at)], check=False)


def toxiproxy_program() -> str:
    """Toxiproxy: the one on the PATH, or one that Go builds, once, into the user's cache."""
    if there := shutil.which("toxiproxy-server"):
        return there
    built = cache_dir() / TOXIPROXY.rpartition("@")[2].replace("v", "toxiproxy-", 1) / "server"
    if not built.exists():
        go = shutil.which("go")
        if go is None:
            raise Absent("toxiproxy, or Go to build it")
        built.parent.mkdir(parents=True, exist_ok=True)
        settings = {"GOBIN": str(built.parent), "CGO_ENABLED": "0", "GOFLAGS": ""}
        subprocess.run(
            [go, "install", "-ldflags=-s -w", TOXIPROXY],
            env=os.environ | settings,
            cwd=built.parent,
            check=True,
            timeout=600,
        )
    return str(built)


class Proxies:
    """Toxiproxy: each server is reached through a port of its own, which can be cut, slowed or made deaf."""

    def __init__(self, work: Path) -> None:
        self._port = free_port()
        self._url = f"http://{HOST}:{self._port}"
        self._log = work / "toxiproxy.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.AsyncClient(timeout=20)
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        program = await asyncio.to_thread(toxiproxy_program)
        self._process = spawn([program, "-host", HOST, "-port", str(self._port)], log=self._log)
        for _ in range(200):
            with contextlib.suppress(httpx.TransportError):
                (await self._http.get(f"{self._url}/version")).raise_for_status()
                return
            await asyncio.sleep(0.05)
        raise RuntimeError(f"toxiproxy did not start:\n{tail(self._log, 20)}")

    async def add(self, name: str, upstream: int) -> int:
        """Stand before a port; gives the port to connect to."""
        self.ports[name] = free_port()
        given = {
            "name": name,
            "listen": f"{HOST}:{self.ports[name]}",
            "upstream": f"{HOST}:{upstream}",
            "enabled": True,
        }
        await self._ask("POST", "/proxies", given)
        return self.ports[name]

    async def cut(self, name: str) -> None:
        await self._ask("POST", f"/proxies/{name}", {"enabled": False})

    async def half_open(self, name: str) -> None:
        """Connections stay, and nothing comes through them, either way."""
        for stream in ("upstream", "downstream"):
            await self._toxic(name, "timeout", stream, {"timeout": 0})

    async def deaf(self, name: str) -> None:
        """What is asked arrives and is done; no answer comes back."""
        await self._toxic(name, "timeout", "downstream", {"timeout": 0})

    async def slow(self, name: str, milliseconds: int) -> None:
        await self._toxic(name, "latency", "downstream", {"latency": milliseconds, "jitter": milliseconds // 2})

    async def reset(self, name: str) -> None:
        """Every connection is torn down at once, with what lies in it."""
        await self._toxic(name, "reset_peer", "downstream", {"timeout": 0})

    async def mend(self) -> None:
        await self._ask("POST", "/reset", {})

    async def _toxic(self, name: str, kind: str, stream: str, attributes: dict[str, Any]) -> None:
        given = {"name": f"{kind}_{stream}", "type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes}
        await self._ask("POST", f"/proxies/{name}/toxics", given)

    async def _ask(self, method: str, path: str, given: dict[str, Any]) -> None:
        (await self._http.request(method, f"{self._url}{path}", json=given)).raise_for_status()

    async def stop(self) -> None:
        await self._http.aclose()
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class TlsFront:
    """TLS before a cloud's sandbox: with the certificate that our programs trust or, for a while, with one for another name."""

    def __init__(self, ca: trustme.CA, upstream: int) -> None:
        self.port = free_port()
        self._upstream = upstream
        self._ours, self._another = ca.issue_cert(HOST), ca.issue_cert("elsewhere.example")
        self._shown = self._ours
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._shown.configure_cert(self._context)
        self._server = await asyncio.start_server(self._serve, HOST, self.port, ssl=self._context)

    def mismatch(self) -> None:
        """Every connection ends, and each new one meets a certificate for another name."""
        self._show(self._another)

    def mend(self) -> None:
        self._show(self._ours)

    def _show(self, certificate: trustme.LeafCert) -> None:
        if certificate is self._shown:
            return
        self._shown = certificate
        certificate.configure_cert(self._context)  # OpenSSL takes the one that was loaded last
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection(HOST, self._upstream)
            ways = [asyncio.ensure_future(way) for way in (_pipe(reader, back), _pipe(there, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.close()
        except OSError:
            pass  # the sandbox does not answer: nor do we
        finally:
            self._open.discard(writer)
            writer.close()

    def stop(self) -> None:
        self._server.close()


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while piece := await source.read(1 << 16):
        sink.write(piece)
        await sink.drain()


@contextlib.contextmanager
def stopping(*servers: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for server in servers:
            server.stop()
