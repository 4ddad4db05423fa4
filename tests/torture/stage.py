"""The whole platform on one machine: servers behind proxies, the targets' sandboxes, and the program's processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from adapters.payables import world as payables_world
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
from flows.dfe_csc.sandbox import DfeCscSandbox, DfeCscSandboxSettings
from ironbridge.kafka.process import HOST, free_port, tail
from tests.torture.legacy import Legacy
from tests.torture.observer import Subscriber, Target
from tests.torture.servers import PostgresServer, ProxiedKafka, Proxies, SmallDisk, TlsFront, own_clocks
from tests.torture.witness import CENTRAL, DFE
from tests.zygote import Zygote

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "canonical"
PARTITIONS = 3


@dataclass
class Part:
    """
    One process of the program, as an operator would deploy it: the part that it runs and its worker's name; its release and
    its settings, if they are not the stage's.
    """

    name: str
    runs: tuple[str, ...]
    worker: str = ""
    release: str | None = None
    file: Path | None = None
    pid: int | None = None
    started: float = 0.0


@dataclass
class Stage:
    """
    Everything that runs. `file` is the program's settings; `parts` are its processes. `release` is the present release, and
    `clocks` gives the number of seconds by which the clock of a starting process is fast.
    """

    work: Path
    proxies: Proxies
    kafka: ProxiedKafka
    state: PostgresServer
    disk: SmallDisk
    warehouse: PostgresServer
    legacy: Legacy
    targets: dict[str, Target]
    fronts: dict[str, TlsFront]
    zygote: Zygote
    subscriber: Subscriber
    file: Path
    parts: list[Part] = field(default_factory=list)
    release: str = ""
    clocks: Callable[[], int] = lambda: 0
    switches: Counter[str] = field(default_factory=Counter)
    """How often, at most, each flow may have changed its release so far."""

    # -- the program's processes -------------------------------------------------------------------------------------

    def run(self, part: Part) -> Part:
        """Start it; whatever ran as this part before is no more."""
        return self._start(part, words=["run", *part.runs, "--file", str(part.file or self.file)])

    def run_mortal(self, part: Part, at: str, nth: int) -> Part:
        """Start it with ports that kill it at a step."""
        return self._start(part, mortal={"file": str(self.file), "names": part.runs, "at": at, "nth": nth})

    def _start(self, part: Part, **asked: Any) -> Part:
        self._count_releases(part)
        asked |= {"environment": self._environment(part), "release": self._release(part), "log": str(self.log(part))}
        part.pid = self.zygote.ask(**asked)["pid"]
        part.started = time.time()
        if part not in self.parts:
            self.parts.append(part)
        return part

    def _environment(self, part: Part) -> dict[str, str]:
        return {"IRONBRIDGE_WORKER": part.worker or part.name, "FAKETIME": f"{self.clocks():+d}"}

    def _release(self, part: Part) -> str:
        return self.release if part.release is None else part.release

    def _count_releases(self, part: Part) -> None:
        """
        A worker that starts beside one of another release may take its flow over at once. If it dies, the other one takes the
        flow back.
        """
        running = {self._release(other) for other in self.parts if other.pid is not None or other is part}
        if len(running | {self._release(part)}) > 1:
            self.switches.update(dict.fromkeys(set(part.runs or (DFE, CENTRAL)) & {DFE, CENTRAL}, 2))

    def run_cold(self, part: Part) -> subprocess.Popen[bytes]:
        """Start it as an operator does, loading everything anew."""
        command = [sys.executable, "-m", "ironbridge", "run", *part.runs, "--file", str(self.file)]
        environment = {**self.zygote.environment, **self._environment(part)}
        with self.log(part).open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        part.pid, part.started = process.pid, time.time()
        return process

    def log(self, part: Part) -> Path:
        return self.work / "logs" / f"{part.name}.log"

    def ended(self, part: Part) -> int | None:
        """Its exit status, once it has ended."""
        if part.pid is None:
            return 0
        status: int | None = self.zygote.ask(ended=part.pid)["status"]
        return status

    async def gone(self, part: Part, patience: float) -> int | None:
        deadline = time.monotonic() + patience
        while (status := self.ended(part)) is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if status is not None:
            part.pid = None
        return status

    async def kill(self, part: Part) -> int | None:
        """SIGKILL; its exit status, which is another where it had ended before."""
        if part.pid is None:
            return None
        self.signal(part, signal.SIGKILL)
        return await self.gone(part, 10)

    def signal(self, part: Part, sign: signal.Signals) -> None:
        if part.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(part.pid, sign)

    async def leave(self, part: Part, patience: float = 60.0) -> float:
        """Ask it to stop; how many seconds it took. It is killed where it does not."""
        began = time.monotonic()
        self.signal(part, signal.SIGTERM)
        if await self.gone(part, patience) is None:
            await self.kill(part)
        self.parts = [p for p in self.parts if p is not part]
        return time.monotonic() - began

    async def command(self, *words: str) -> Any:
        """What a command of the program prints as JSON; None where it fails."""
        out = self.work / f"answer-{time.monotonic_ns()}.json"
        pid = self.zygote.ask(words=[*words, "--json", "--file", str(self.file)], out=str(out), release=self.release,
                              log=str(self.work / "logs" / "commands.log"))["pid"]  # fmt: skip
        asked = Part("command", (), pid=pid)
        if await self.gone(asked, 60) not in (0, 1):
            return None
        try:
            return json.loads(out.read_text("utf-8"))
        except ValueError:
            return None
        finally:
            out.unlink(missing_ok=True)


@contextlib.asynccontextmanager
async def staged(work: Path, seed: int, *, children: int = 40, invoices: int = 80) -> AsyncIterator[Stage]:
    """Start all servers and fill the legacy systems. The program's processes are started by whoever tortures them."""
    (work / "logs").mkdir(parents=True)
    work.chmod(0o755)
    async with contextlib.AsyncExitStack() as stack:
        ca, trusted = trustme.CA(), work / "ca.pem"
        ca.cert_pem.write_to_path(str(trusted))
        zygote = Zygote.start(work / "logs", os.environ | {"SSL_CERT_FILE": str(trusted)} | own_clocks())
        stack.callback(zygote.stop)
        proxies = Proxies(work)
        stack.push_async_callback(proxies.stop)
        await proxies.start()
        port, disk = free_port(), SmallDisk(work / "disk", 512)
        stack.callback(disk.unmount)
        (disk.at / "state").mkdir()
        (work / "warehouse").mkdir()
        kafka = ProxiedKafka(work / "kafka", port, await proxies.add("kafka", port))
        state, warehouse = PostgresServer(disk.at / "state"), PostgresServer(work / "warehouse")
        for server in (state, warehouse):
            stack.callback(server.stop)
        stack.push_async_callback(kafka.stop)
        url = await _databases(state, warehouse)
        legacy = Legacy(url, work / "drop", seed)
        await asyncio.gather(kafka.start(), legacy.make(children, invoices))
        dfe, central = await _clouds(stack)
        fronts = {name: TlsFront(ca, _port(cloud.url)) for name, cloud in ((DFE, dfe), (CENTRAL, central))}
        for front in fronts.values():
            stack.callback(front.stop)
            await front.start()
        upstreams = {"state": state.port, "warehouse": warehouse.port} | {name: f.port for name, f in fronts.items()}
        for name, upstream in upstreams.items():
            await proxies.add(name, upstream)
        file = work / "ironbridge.toml"
        file.write_text(_settings(work, proxies.ports, dfe, central), "utf-8")
        targets = {DFE: Target(DFE, dfe.url), CENTRAL: Target(CENTRAL, central.url)}
        for target in targets.values():
            stack.push_async_callback(target.stop)
        await asyncio.to_thread(zygote.ready)
        subscriber = Subscriber(f"{HOST}:{proxies.ports['kafka']}", PREFIX, PARTITIONS)
        yield Stage(work, proxies, kafka, state, disk, warehouse, legacy, targets, fronts, zygote, subscriber, file)


async def _databases(state: PostgresServer, warehouse: PostgresServer) -> str:
    for server in (state, warehouse):
        await asyncio.to_thread(server.make)
        server.begin()
    await asyncio.gather(state.ready(), warehouse.ready())
    return f"postgresql+asyncpg://ironbridge@{HOST}:{warehouse.port}/postgres"


async def _clouds(stack: contextlib.AsyncExitStack) -> tuple[DfeCscSandbox, BusinessCentralSandbox]:
    dfe = await stack.enter_async_context(DfeCscSandbox(DfeCscSandboxSettings(history=True)))
    central = BusinessCentralSandbox(BusinessCentralSandboxSettings(history=True))
    chart = payables_world.CHART
    central.company.seed(chart["accounts"], chart["dimensions"])
    return dfe, await stack.enter_async_context(central)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _settings(work: Path, ports: dict[str, int], dfe: DfeCscSandbox, central: BusinessCentralSandbox) -> str:
    state = f"postgresql+asyncpg://ironbridge@{HOST}:{ports['state']}/postgres"
    warehouse = f"postgresql+asyncpg://ironbridge@{HOST}:{ports['warehouse']}/postgres"
    clouds = {name: f"https://{HOST}:{ports[name]}" for name in (DFE, CENTRAL)}
    # Files and tables here are small and lose much in a day, and there is no person to let held changes through.
    return f"""\
data = "{work}"
[kafka]
broker = "none"
bootstrap_servers = "{HOST}:{ports["kafka"]}"
partitions = {PARTITIONS}
[state]
url = "{state}"
[adapters.liquidlogic]
url = "{warehouse}"
every = 1
page_size = 40
statement_timeout = 5
guard_share = 1
tail = {{ care-episode = "LAST_UPDATED_DTTM" }}
tail_overlap = 5
sweep_every = 6
[adapters.payables]
folders = ["{work / "drop"}"]
layouts = {json.dumps(list(payables_world.LAYOUTS))}
settle = 1
every = 1
guard_share = 1
[targets.{DFE}]
la_code = 893
api_endpoint = "{clouds[DFE]}"
token_url = "{clouds[DFE]}/token"
client_id = "{dfe.settings.client_id}"
client_secret = "{dfe.settings.client_secret}"
supplier_key = "{dfe.settings.supplier_key}"
batch = 20
[targets.{CENTRAL}]
base_url = "{clouds[CENTRAL]}"
company = "{central.settings.company}"
token_url = "{clouds[CENTRAL]}/token"
client_id = "{central.settings.client_id}"
client_secret = "{central.settings.client_secret}"
default_account = "6010"
accounts = {{ "*" = "6010" }}
dimensions = {{ COSTCENTRE = "COSTCENTRE" }}
batch = 20
"""


def last_words(stage: Stage, part: Part) -> str:
    return tail(stage.log(part), 8)


def proportion(numbers: Sequence[float], share: float) -> float:
    ordered = sorted(numbers)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0
