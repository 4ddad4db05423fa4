"""Each thing that is done to the platform, while people work in the legacy systems."""

from __future__ import annotations

import asyncio
import time

import asyncpg

from tests.torture.checker import Span
from tests.torture.mortal import AGREEMENT, PUMP
from tests.torture.stage import Part
from tests.torture.torture import ADAPTERS, CHILDREN, EVERYTHING, FINANCE, SPLIT, Torture
from tests.torture.witness import CENTRAL, DFE

OFTEN = {"save", "publish", "take", "facts", "regions", "progress", "lookup", "members", "settle", "due"}
"""What every reading or batch calls; the rest happens once in a process's life, or seldom."""


async def storm(t: Torture, kills: int, most: float = 0.8) -> None:
    """SIGKILL at random instants, one process after another, each started again at once."""
    t.scenes["storm"] += 1
    t.stage.legacy.working.set()
    until = t.all_kills() + kills
    while t.all_kills() < until:
        await asyncio.sleep(t.rng.uniform(0.05, most))
        part = t.rng.choice(t.cast)
        await t.kill(part)
        t.stage.run(part)


async def all_in_one(t: Torture, kills: int) -> None:
    """The same to the process that runs everything."""
    await t.take_the_stage((EVERYTHING,))
    await storm(t, kills, most=2.5)
    await asyncio.sleep(1)
    await t.take_the_stage(SPLIT)


def steps() -> list[tuple[Part, str]]:
    """Every place between two steps of the pump and of agreement."""
    pump = [(ADAPTERS, f"{when} {name}") for name in PUMP for when in ("before", "after")]
    return pump + [
        (part, f"{when} {name}") for name in AGREEMENT for when in ("before", "after") for part in (CHILDREN, FINANCE)
    ]


async def between_steps(t: Torture, chosen: list[tuple[Part, str]], patience: float = 8.0) -> None:
    """A process that kills itself, by SIGKILL, before or after one call of its journal, memory, ledger or target."""
    t.scenes["between two steps"] += 1
    t.stage.legacy.working.set()
    for part, at in chosen:
        await t.take_the_stage(SPLIT)
        await t.stage.kill(part)
        t.doubt(part)
        # Catching up asks the memory things that a reading does not; the second time is then the reading's.
        t.stage.run_mortal(part, at, nth=t.rng.choice((1, 1, 2)) if at.split()[1] in OFTEN else 1)
        began = time.time()
        status = await t.stage.gone(part, patience)
        if status == -9:
            t.kills["between two steps"] += 1
            t.doubt(part, began)
            t.mark("kill", f"{part.name} {at}")
        elif status is not None:
            t.odd(f"{part.name} ended by itself before it came to {at} (status {status})")
        else:
            t.scenes[f"not reached in time: {at}"] += 1
            await t.kill(part)
        t.stage.run(part)


async def broker(t: Torture) -> None:
    """The broker is killed and comes back."""
    await _server(t, "broker", t.stage.kafka)


async def state(t: Torture) -> None:
    """The state's database is killed and comes back."""
    began = time.time()
    await _server(t, "state", t.stage.state)
    t.doubts.append(Span(DFE, began, time.time()))


async def warehouse(t: Torture) -> None:
    """The legacy database goes away in the middle of a page, and comes back."""
    await _server(t, "warehouse", t.stage.warehouse)


async def _server(t: Torture, name: str, server: object) -> None:
    t.scenes[f"{name} killed"] += 1
    t.stage.legacy.working.set()
    await asyncio.sleep(t.rng.uniform(0.3, 1.5))
    began = time.time()
    await server.kill_and_restart(t.rng.uniform(0.0, 2.0))  # type: ignore[attr-defined]
    t.kills[name] += 1
    t.mark("kill", name, began)


async def full_disk(t: Torture, seconds: float = 3.0) -> None:
    """Not a byte is left on the disk of the state, and then there is room again."""
    if not t.stage.disk.mounted:
        t.scenes["full disk: not done, as no file system may be mounted here"] += 1
        return
    t.scenes["full disk"] += 1
    t.stage.legacy.working.set()
    began = time.time()
    await asyncio.to_thread(t.stage.disk.fill)
    await asyncio.sleep(seconds)
    t.stage.disk.free()
    await asyncio.sleep(0.5)
    if not t.stage.state.alive():
        t.stage.state.begin()
    await t.stage.state.ready()
    t.mark("disk", "full disk under the state", began)
    t.doubts.append(Span(DFE, began, time.time()))


async def network(t: Torture, to: str, how: str, seconds: float) -> None:
    """The way to a server is cut, slow, reset, deaf (asked and done, never answered) or half-open for a while."""
    t.scenes[f"network to {to}: {how}"] += 1
    t.stage.legacy.working.set()
    proxies, began = t.stage.proxies, time.time()
    if how == "slow":
        await proxies.slow(to, 400)
    else:
        await getattr(proxies, how)(to)
    await asyncio.sleep(seconds)
    await proxies.mend()
    t.mark("network", f"{to} {how}", began)
    if to in ("state", DFE):
        t.doubts.append(Span(DFE, began, time.time() + 1))


async def faults(t: Torture, seconds: float) -> None:
    """Every way in which a target misbehaves, to both, for a while."""
    t.scenes["targets misbehave"] += 1
    t.stage.legacy.working.set()
    began = time.time()
    ways = [
        {"kind": "cut", "when": "after", "times": 2},
        {"kind": "status", "status": 429, "times": 4},
        {"kind": "status", "status": 429, "retry_after": 1, "times": 3},
        {"kind": "status", "status": 500, "times": 2},
        {"kind": "status", "status": 500, "when": "after", "times": 2},
        {"kind": "garbage", "when": "after", "times": 2},
        {"kind": "garbage", "times": 1},
        {"kind": "slow", "seconds": 1.5, "times": 2},
        {"kind": "expired_token", "times": 1},
        {"kind": "cut", "times": 2},
        {"kind": "status", "status": 503, "retry_after": 1, "times": 1},
        *[{"kind": "status", "status": status, "when": "after", "times": 1} for status in (408, 429, 502, 503)],
        {"kind": "status", "status": 503, "when": "after", "retry_after": 1, "times": 2},
    ]
    for name, target in t.stage.targets.items():
        order = t.rng.sample(ways, len(ways))
        key = "500001" if name == DFE else "INV700002"
        await target.misbehave({"kind": "refuse", "keys": [key], "times": None}, *order)
    await asyncio.sleep(seconds)
    for target in t.stage.targets.values():
        await target.forgive()
    t.mark("target", "both targets misbehave", began)
    t.doubts.append(Span(DFE, began, time.time() + 1))
    await t.stage.command("parked", "retry", "--all")


async def certificate(t: Torture) -> None:
    """Both targets answer with a certificate for another name: nothing is told to whoever that is, and it is said."""
    t.scenes["a certificate that does not match"] += 1
    t.stage.legacy.working.set()
    began = time.time()
    silent = [(part, t.stage.log(part).stat().st_size) for part in (CHILDREN, FINANCE)]
    for front in t.stage.fronts.values():
        front.mismatch()
    while silent and time.time() - began < 40:  # one that had trouble before may be resting for half a minute
        await asyncio.sleep(0.5)
        said = b"is not trusted or not in that name"
        silent = [(part, size) for part, size in silent if said not in t.stage.log(part).read_bytes()[size:]]
    for part, _ in silent:
        t.odd(f"{part.name} did not say that the certificate does not match")
    for front in t.stage.fronts.values():
        front.mend()
    t.mark("target", "a certificate for another name", began)
    t.doubts.append(Span(DFE, began, time.time() + 1))


async def two_copies(t: Torture) -> None:
    """A second copy of the adapters starts: the first is fenced off and says so."""
    t.scenes["two copies of one adapter"] += 1
    t.stage.legacy.working.set()
    first, second = ADAPTERS, Part("adapters-2", ADAPTERS.runs)
    await asyncio.sleep(2)
    t.stage.run(second)
    began = time.time()
    if await t.stage.gone(first, 20) is None:
        t.odd("the first copy still runs 20 s after the second has started")
    t.mark("copies", "the second fences off the first", began)
    said = t.stage.log(first).read_text("utf-8")
    if "a newer copy of it has taken over" not in said:
        t.odd("the first copy did not say that a newer one has taken over")
    await asyncio.sleep(1)
    await t.kill(second)
    t.stage.parts.remove(second)
    await t.take_the_stage(SPLIT)


async def workers(t: Torture, seconds: float) -> None:
    """Two and three workers of each flow join, leave and die under load."""
    t.scenes["two and three workers of one flow"] += 1
    t.stage.legacy.working.set()
    more = [Part(f"{part.name}-{n}", part.runs) for part in (CHILDREN, FINANCE) for n in (2, 3)]
    until = time.monotonic() + seconds
    for part in more:
        t.stage.run(part)
    while time.monotonic() < until:
        await asyncio.sleep(t.rng.uniform(0.5, 2))
        part = t.rng.choice([*more, CHILDREN, FINANCE])
        if t.rng.random() < 0.5:
            await t.kill(part)
        else:
            took = await t.stage.leave(part)
            t.doubt(part)
            t.mark("leave", part.name)
            if took > 10:
                t.odd(f"{part.name} took {took:.0f} s to stop")
        t.stage.run(part)
    for part in more:
        await t.stage.leave(part)
        t.doubt(part)


async def sleeper(t: Torture, seconds: float = 13.0) -> None:
    """A worker is paused longer than the session timeout (10 s) while another goes on; then it wakes up."""
    import signal

    t.scenes["a paused worker wakes up"] += 1
    t.stage.legacy.working.set()
    other = t.stage.run(Part("dfe-2", CHILDREN.runs))
    again = t.stage.run(Part("central-2", FINANCE.runs))
    await asyncio.sleep(3)
    began = time.time()
    for part in (CHILDREN, FINANCE, ADAPTERS):
        t.stage.signal(part, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    for part in (CHILDREN, FINANCE, ADAPTERS):
        t.stage.signal(part, signal.SIGCONT)
    t.mark("pause", "a worker of each flow and the adapters, paused", began)
    t.doubts.append(Span(DFE, began, time.time() + 1))
    await asyncio.sleep(2)
    for part in (other, again):
        await t.stage.leave(part)
        t.doubt(part)


async def legacy_trouble(t: Torture) -> None:
    """A table is locked, a column is dropped and comes back, another one is added, a day of the shipped world passes."""
    t.scenes["trouble in the legacy system"] += 1
    t.stage.legacy.working.set()
    began, legacy = time.time(), t.stage.legacy
    await legacy.lock_table("FACT_REFERRALS", 3)
    await legacy.drop_column("FACT_S47", "END_DTTM", 2.5)
    await legacy.a_day()
    t.mark("legacy", "locked table, dropped and added column", began)


async def state_lost(t: Torture) -> None:
    """The state is dropped, all of it: it is rebuilt from Kafka and from what the targets can be asked."""
    t.scenes["state lost entirely"] += 1
    for part in list(t.stage.parts):
        await t.kill(part)
    connection = await asyncpg.connect(f"postgresql://ironbridge@127.0.0.1:{t.stage.state.port}/postgres")
    await connection.execute("DROP SCHEMA public CASCADE")
    await connection.execute("CREATE SCHEMA public")
    await connection.close()
    t.mark("state", "the state was dropped")
    # The DfE's API shows nothing: what it holds is in doubt from here on, and all of it is sent once more.
    t.doubts.append(Span(DFE, 0.0, time.time()))
    t.stage.legacy.working.set()
    await t.take_the_stage(SPLIT)
    said: set[str] = set()
    for _ in range(100):
        await asyncio.sleep(0.2)
        for part, flow in ((CHILDREN, DFE), (FINANCE, CENTRAL)):
            log = t.stage.log(part).read_text("utf-8")
            # Either the topics or the trail prove it first.
            if f"{flow}: the state was lost" in log or f"{flow}: the state is older" in log:
                said.add(flow)
        if len(said) == 2:
            break
    else:
        t.odd("a flow did not say that its state was lost")
    if DFE in said:
        t.forgotten.add(DFE)  # it says what it cannot mend; Business Central can be asked


async def replaced(t: Torture) -> None:
    """
    How long until a worker that was killed under load is replaced and delivers again, with default settings, by a process that
    starts from nothing under another name, as a pod would.
    """
    t.stage.legacy.working.set()
    await asyncio.sleep(3)
    for part, target in ((CHILDREN, DFE), (FINANCE, CENTRAL)):
        began = time.time()
        await t.kill(part)
        new = Part(f"{part.name}-replacement", part.runs)
        process = t.stage.run_cold(new)
        try:
            took = await _delivers(t, target, began)
        finally:
            process.kill()
            process.wait()
        t.doubt(part)
        t.mark("kill", f"{new.name} after {took:.1f} s")
        t.measured[f"{target}: a killed worker is replaced and delivers what changed after the kill, in seconds"] = took
        t.stage.run(part)
    t.scenes["replacement measured"] += 1


async def _delivers(t: Torture, target: str, since: float) -> float:
    """Until something is delivered that was committed after the kill: the new worker has its partitions and its subjects."""
    legacy = t.stage.legacy
    after = {key: len(states) for key, states in legacy.history.items()}
    while time.time() - since < 60:
        for effect in reversed(await t.stage.targets[target].effects()):
            if effect.at < since:
                break
            for key, value in effect.parts.items():
                if value in legacy.history.get(key, ())[after.get(key, 0) :]:
                    return effect.at - since
        await asyncio.sleep(0.1)
    t.odd(f"{target}: nothing that changed was delivered within 60 s of the kill")
    return 60.0
