"""Trouble in the platform's surroundings: clocks, releases, the state, a topic, a second installation."""

from __future__ import annotations

import asyncio
import shutil
import time

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from ironbridge.kafka.process import HOST
from tests.torture import scenes
from tests.torture.checker import Promise, Span, Violation
from tests.torture.servers import clock_library
from tests.torture.stage import PARTITIONS, PREFIX, Part
from tests.torture.torture import ADAPTERS, CHILDREN, FINANCE, PATIENCE, SPLIT, Torture
from tests.torture.witness import DFE

_HOURS = 2 * 3600
_TOPICS = ("person", "care-episode", "care-plan", "supplier", "invoice", "credit-note")


async def _start_anew(t: Torture) -> None:
    for part in t.cast:
        await t.kill(part)
        t.stage.run(part)


async def clocks(t: Torture, kills: int) -> None:
    """Every process has its own clock, up to two hours slow or fast, and another one after each start."""
    if clock_library() is None:
        t.scenes["clocks of their own: not done, as libfaketime is not installed"] += 1
        return
    t.scenes["clocks of their own"] += 1
    await t.take_the_stage(SPLIT)
    t.stage.clocks = lambda: t.rng.randint(-_HOURS, _HOURS)
    began = time.time()
    more = [Part(f"{part.name}-2", part.runs) for part in (CHILDREN, FINANCE)]
    try:
        await _start_anew(t)
        for part in more:
            t.stage.run(part)
        await scenes.storm(t, kills, most=2.0)
        for part in more:
            await t.stage.leave(part)
            t.doubt(part)
        await t.rest()
    finally:
        t.stage.clocks = lambda: 0
    t.mark("clock", "clocks up to two hours apart", began)
    await _start_anew(t)  # all clocks are right again


async def rolling(t: Torture, kills: int) -> None:
    """
    A later release of the flows starts, worker by worker, beside the earlier one; then the earlier one stops. Later the same
    happens the other way round, as a rollback.
    """
    t.scenes["a rolling upgrade and a rollback"] += 1
    await t.take_the_stage(SPLIT)
    for release in ("next", ""):
        began = time.time()
        await _roll(t, release, kills)
        t.mark("release", "a later release beside the earlier one" if release else "a rollback", began)
        if release:
            await t.rest()


async def _roll(t: Torture, release: str, kills: int) -> None:
    """Replace the pods of both flows by pods of another release; some of either die in the middle of it."""
    t.stage.legacy.working.set()
    arrived = [Part(f"{part.name}-{release or 'shipped'}", part.runs, release=release) for part in (CHILDREN, FINANCE)]
    for part in arrived:
        t.stage.run(part)
    for _ in range(kills):
        await asyncio.sleep(t.rng.uniform(0.5, 2.5))
        part = t.rng.choice([CHILDREN, FINANCE, *arrived])
        await t.kill(part)
        t.stage.run(part)
    for part in (CHILDREN, FINANCE):
        await t.stage.leave(part)
        t.doubt(part)
    t.stage.release = release
    await asyncio.sleep(2)
    await t.take_the_stage(SPLIT)


async def set_back(t: Torture, seconds: float) -> None:
    """
    Set the state back to a copy that was taken at work: under running processes (a failover that loses the last
    transactions), or while all are stopped (a backup that is put back).
    """
    alive = t.rng.random() < 0.5
    t.scenes[f"the state set back to a copy, {'under living workers' if alive else 'while all are stopped'}"] += 1
    await t.take_the_stage(SPLIT)
    t.stage.legacy.working.set()
    await asyncio.sleep(1)
    state, copy, began = t.stage.state, t.stage.work / "copy", time.time()
    state.kill()
    await asyncio.to_thread(state.copy, copy)
    state.begin()
    await state.ready()
    await scenes.storm(t, 2, most=seconds)
    if not alive:
        for part in t.cast:
            await t.kill(part)
    state.kill()
    await asyncio.to_thread(state.set_back, copy)
    state.begin()
    await state.ready()
    await asyncio.to_thread(shutil.rmtree, copy)
    t.mark("state", "set back to a copy", began)
    # The DfE's API shows nothing, so documents that were sent since the copy was taken are in doubt and are sent once more.
    t.doubts.append(Span(DFE, began - 1, time.time() + 1))
    await t.take_the_stage(SPLIT)


async def restored(t: Torture, kills: int) -> None:
    """
    Both legacy systems go back to a backup that was made at work: what people did since is undone, and numbers are given anew.
    """
    t.scenes["the legacy systems restored from a backup"] += 1
    await t.take_the_stage(SPLIT)
    legacy, warehouse, copy = t.stage.legacy, t.stage.warehouse, t.stage.work / "backup"
    legacy.working.set()
    await asyncio.sleep(1)
    async with legacy.still():
        finance = legacy.backup()
        warehouse.kill()
        await asyncio.to_thread(warehouse.copy, copy)
        warehouse.begin()
        await warehouse.ready()
    await scenes.storm(t, kills, most=2.0)
    if t.rng.random() < 0.5:
        await t.rest()  # all of it has arrived; otherwise some of it is on its way
    began = time.time()
    async with legacy.still():
        warehouse.kill()
        await asyncio.to_thread(warehouse.set_back, copy)
        warehouse.begin()
        await warehouse.ready()
        legacy.leave_last(finance)
    await asyncio.to_thread(shutil.rmtree, copy)
    t.mark("legacy", "restored from a backup", began)
    await scenes.storm(t, kills, most=2.0)


async def short_file(t: Torture, kills: int) -> None:
    """
    A file comes once more, cut short: nothing is deleted, it is said, and the hold ends once the file is whole again. The guard
    is at its defaults meanwhile.
    """
    t.scenes["a file comes once more, cut short"] += 1
    await t.take_the_stage(SPLIT)
    await t.rest()
    file, legacy = t.stage.work / "guarded.toml", t.stage.legacy
    before, _, after = t.stage.file.read_text("utf-8").rpartition("guard_share = 1\n")
    file.write_text(before + after, "utf-8")
    guarded = Part("adapters-guarded", ADAPTERS.runs, file=file)
    await t.take_the_stage((guarded, CHILDREN, FINANCE))
    for documents in t.rng.sample((0, 2), 2):
        began = time.time()
        legacy.leave_short(documents)
        for _ in range(kills):
            await asyncio.sleep(t.rng.uniform(0.2, 2))
            await t.kill(guarded)
            t.stage.run(guarded)
        await _until_held(t, there=True)
        t.mark("legacy", f"a file cut short to {documents} documents", began)
        await t.rest()
    legacy.leave_last()
    await _until_held(t, there=False)
    await t.take_the_stage(SPLIT)


async def _until_held(t: Torture, *, there: bool) -> None:
    """Wait until deletions of a file are held back, or until none are any more."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        rows = await t.stage.command("held", "list")
        if rows is not None and there == any(row["file"] and row["what"] == "deleted" for row in rows):
            return
        await asyncio.sleep(0.5)
    said = "a file lacks most of it, and nobody is told" if there else "a file is whole, and deletions of it are held"
    t.note([Violation(Promise.SILENCE, "payables", said)])


_RECOGNISED = 8
"""Sweeps within which all is known again: each may be overtaken and read once more, and waits for the streams that it names."""


async def _until_swept(t: Torture, sweeps: int = 2) -> None:
    """
    Wait for so many sweeps of every stream of the warehouse. The one that is at work now may have begun before; the second one
    behind it begins when another has ended.
    """
    had: dict[str, int] = {}
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        told = await t.stage.command("status")
        there = {s["stream"]: s["sweep"] for s in told["streams"] if s["adapter"] == "liquidlogic"} if told else {}
        had = had or there
        if there and all(there[name] >= number + sweeps for name, number in had.items()):
            return
        await asyncio.sleep(0.5)
    t.odd(f"within {PATIENCE:.0f} s the warehouse was not swept {sweeps} times")


async def renumbered(t: Torture, kills: int) -> None:
    """
    The warehouse numbers all its rows anew overnight: nobody is told anything, and what changes later goes to the same records.

    This comes last. A state that is lost afterwards does not know a row again whose number and content both changed.
    """
    t.scenes["a warehouse that numbers its rows anew"] += 1
    await t.take_the_stage(SPLIT)
    await t.rest()
    await t.stage.legacy.mend()
    await _until_swept(t)  # what had lain aside is read: until then its last state may be missing
    await t.rest()
    began = time.time()
    await t.stage.legacy.number_anew()
    for _ in range(kills):
        await asyncio.sleep(t.rng.uniform(0.2, 2))
        await t.kill(ADAPTERS)
        t.stage.run(ADAPTERS)
    # Whose content changes before its new number is known is another record: people come to work once all are known again.
    await _until_swept(t, _RECOGNISED)
    await t.rest()
    t.mark("legacy", "all rows numbered anew", began)
    await scenes.storm(t, kills)


async def recreated(t: Torture) -> None:
    """Delete a topic and make it anew, while all are at work or while all are stopped."""
    topic, alive = f"{PREFIX}.{t.rng.choice(_TOPICS)}", t.rng.random() < 0.5
    t.scenes[f"a topic made anew, {'under living processes' if alive else 'while all are stopped'}"] += 1
    await t.take_the_stage(SPLIT)
    t.stage.legacy.working.set()
    await asyncio.sleep(2)
    began = time.time()
    if not alive:
        for part in t.cast:
            await t.kill(part)
    admin = AIOKafkaAdminClient(bootstrap_servers=f"{HOST}:{t.stage.proxies.ports['kafka']}")
    await admin.start()
    try:
        await admin.delete_topics([topic])
        t.stage.subscriber.forget(topic)
        await _made(admin, topic)
    finally:
        await admin.close()
    t.mark("topic", f"{topic} made anew", began)
    await t.take_the_stage(SPLIT)


async def _made(admin: AIOKafkaAdminClient, topic: str) -> None:
    """Make it again as soon as the broker has let go of the old one, unless a process of ours was faster."""
    for _ in range(200):
        try:
            settings = {"cleanup.policy": "compact", "max.message.bytes": "8388608", "delete.retention.ms": "2592000000"}
            made = await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=settings)])
        except KafkaError:
            await asyncio.sleep(0.1)
            continue
        if all(code in (0, 36) for _, code, *_ in made.topic_errors):  # 36: the topic exists
            return
        await asyncio.sleep(0.1)
    raise RuntimeError(f"{topic} could not be made anew")


async def installations(t: Torture) -> None:
    """Start a second installation with the same prefix and a state of its own: it is refused, and names the first one."""
    t.scenes["a second installation with the same prefix"] += 1
    await t.take_the_stage(SPLIT)
    t.stage.legacy.working.set()
    connection = await asyncpg.connect(f"postgresql://ironbridge@{HOST}:{t.stage.state.port}/postgres")
    await connection.execute("DROP DATABASE IF EXISTS elsewhere WITH (FORCE)")
    await connection.execute("CREATE DATABASE elsewhere")
    await connection.close()
    file = t.stage.work / "elsewhere.toml"
    port = t.stage.proxies.ports["state"]
    settings = t.stage.file.read_text("utf-8")
    file.write_text(settings.replace(f":{port}/postgres", f":{port}/elsewhere"), "utf-8")
    began = time.time()
    others = [Part(f"{part.name}-elsewhere", part.runs, file=file) for part in (CHILDREN, FINANCE, ADAPTERS)]
    silent = [(part, _size(t, part)) for part in others]
    for part in others:
        t.stage.run(part)
    while silent and time.time() - began < 30:
        await asyncio.sleep(0.5)
        silent = [(p, size) for p, size in silent if b"installation" not in t.stage.log(p).read_bytes()[size:]]
    for part, _ in silent:
        t.odd(f"{part.name} did not say that another installation has its part")
    for part in others:
        await t.kill(part)
        t.stage.parts.remove(part)
    t.mark("copies", "a second installation", began)


def _size(t: Torture, part: Part) -> int:
    log = t.stage.log(part)
    return log.stat().st_size if log.exists() else 0
