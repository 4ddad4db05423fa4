"""
The demonstration: legacy systems, cloud systems, and everything between them, on one machine with nothing but pip.

Its world lies in one folder and outlives a kill at any moment: the legacy systems, the broker, the state, and what the
sandboxes of the cloud systems hold. Started again, it goes on; finished, it begins anew.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ironbridge.cli import render
from ironbridge.console import serve
from ironbridge.demo import legacy
from ironbridge.demo.agreement import compare
from ironbridge.demo.idle import idle
from ironbridge.demo.world import DemoWorld, clouds, make, settings_of, write_settings
from ironbridge.observe import spans as kept_spans
from ironbridge.observe import telemetry
from ironbridge.operate import insight, stuck
from ironbridge.runtime import bridge
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import HttpSettings, TelemetrySettings
from ironbridge.store import traffic
from ironbridge.store.standing import StreamStanding

PATIENCE = 600.0  # seconds without agreement after which the demonstration gives up and says so


async def play(
    out: Console, data: Path, *, sizes: Mapping[str, int], seed: int, traces: bool, targets: Iterable[str] = (),
    console: str | None = None,
) -> int:  # fmt: skip
    """
    Play it; 0 where every cloud system holds what it should and every exception has its reason. With `console`, an
    address, it is served there meanwhile, and everything goes on until somebody presses Ctrl-C.
    """
    began = time.monotonic()
    stage = data / "stage"
    if stage.exists() and stage.read_text() == "finished":
        shutil.rmtree(data)
    elif data.exists():
        out.print(f"Going on with what lies in {data}.")
    data = data.absolute()
    data.mkdir(parents=True, exist_ok=True)
    async with clouds(data, {name: {} for name in sizes}, targets) as world:
        out.print(f"A small council: {legacy.described(world.adapters, sizes)}, seed {seed}.")
        await make(world, sizes, seed)
        settings = settings_of(world, http=HttpSettings(listen=console))
        flush = telemetry.start(TelemetrySettings(), SimpleSpanProcessor(world.spans), *kept_spans.processors(settings))
        write_settings(world, settings)
        async with (
            bridge.platform(settings, say=lambda said: out.print(f"[dim]{said}[/dim]", highlight=False)) as built,
            serve.served_beside(built) as url,
        ):
            stop = asyncio.Event()
            running = asyncio.create_task(bridge.run(built, stop))
            try:
                if url:
                    out.print(f"The console is at [bold]{url}[/bold].")
                status = await _acts(out, world, built, running, seed, traces)
                if url:
                    await _until_told(out, running, url)
            finally:
                stop.set()
                await running
        flush()
    stage.write_text("finished")
    _farewell(out, data, list(settings.targets), time.monotonic() - began)
    return status


async def _until_told(out: Console, running: asyncio.Task[None], url: str) -> None:
    """Keep everything going for whoever looks at the console."""
    out.print(f"Everything goes on. Look round at [bold]{url}[/bold]; Ctrl-C ends it.")
    told = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, told.set)
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _acts(
    out: Console, world: DemoWorld, built: Platform, running: asyncio.Task[None], seed: int, traces: bool
) -> int:
    out.rule("[bold]1. First load: everything that the legacy systems hold", align="left")
    await _watch(out, built, running)
    await _table(out, world, built)
    out.rule("[bold]2. Somebody works in the legacy systems", align="left")
    world.spans.clear()
    before, since = await readings(built), time.time()
    if world.stage.read_text() == "made":
        for sentence in await legacy.change(world.adapters, seed):
            out.print(f"  • {sentence}")
        world.stage.write_text("changed")
    arrived = await _arrivals(out, built, running, before, since)
    out.print(f"Arrived in the cloud {arrived:.1f} s after the last of it was done. Nobody typed anything.")
    if traces:
        _one_trace(out, world.spans.get_finished_spans())
    out.rule("[bold]3. What every system holds now", align="left")
    differing = await _table(out, world, built)
    render.parked(out, await stuck.groups(built.store))
    return 0 if not differing else 1


# -- watching -------------------------------------------------------------------------------------------------------


async def _watch(out: Console, built: Platform, running: asyncio.Task[None]) -> None:
    """Live progress until every stream has been read and nothing is left to do."""
    started = time.monotonic()
    with Live(console=out, refresh_per_second=4, transient=True) as live:
        while not await settled(built, {}):
            live.update(Group(*await _progress(built, time.monotonic() - started)))
            await _or_failure(running, 0.25, started)
    for line in await _progress(built, time.monotonic() - started):
        out.print(line)


async def _progress(built: Platform, took: float) -> list[Text]:
    streams, flows = await insight.streams(built.store), await insight.flows(built.store)
    records, bad = sum(s.records for s in streams), sum(s.quarantined for s in streams)
    lines = [Text(f"{took:5.1f} s  {records:,} records published from {len(streams)} streams, {bad} quarantined")]
    for flow in flows:
        apart = f"{flow.waiting:,} waiting, {flow.parked:,} parked"
        lines.append(Text(f"         {flow.flow}: {flow.agreed:,} agreed, {flow.todo:,} to do, {apart}"))
    return lines


async def _arrivals(
    out: Console, built: Platform, running: asyncio.Task[None], before: dict[str, int], since: float
) -> float:
    """Wait until all of it has been read and has arrived; seconds from `since` to the last confirmation."""
    started = time.monotonic()
    with Live(console=out, refresh_per_second=4, transient=True) as live:
        while not await settled(built, before):
            live.update(Group(*await _progress(built, time.monotonic() - started)))
            await _or_failure(running, 0.2, started)
    confirmed = await traffic.last_confirmed(built.store) or since
    for each in await traffic.outcomes(built.store, since):
        out.print(f"  {each.flow}: {each.attempts} {each.outcome}")
    return max(confirmed - since, 0.0)


async def readings(built: Platform) -> dict[str, int]:
    """Tell how often each stream has been read, begun readings counted."""
    return {each.name: each.sweep for each in await insight.streams(built.store)}


async def settled(built: Platform, before: dict[str, int]) -> bool:
    """
    Tell whether everything has been read since `before` and has arrived.

    A reading that had begun may have passed the place already, and a file must lie still under the adapter's eyes: the third
    reading from now is sure to have seen all.
    """
    names = [f"{name}.{stream.name}" for name, (_, streams) in built.pumps.items() for stream in streams]
    now = await readings(built)
    read = all(now.get(name, 0) > before.get(name, 0) + 3 for name in names)
    return read and await idle(built)


async def _or_failure(running: asyncio.Task[None], seconds: float, started: float) -> None:
    if time.monotonic() - started > PATIENCE:
        raise TimeoutError(f"no agreement after {PATIENCE:.0f} s; `ironbridge status` tells what is the matter")
    await asyncio.wait([running], timeout=seconds)
    if running.done():
        running.result()


# -- the table ------------------------------------------------------------------------------------------------------


async def _table(out: Console, world: DemoWorld, built: Platform) -> int:
    """The director's table; how many documents differ without a reason."""
    legacy = render.table(
        "What the legacy systems hold",
        "system",
        "records",
        "published",
        "quarantined",
        right=("records", "published", "quarantined"),
    )
    for system, rows in _by_system(await insight.streams(built.store)):
        records, bad = sum(r.records for r in rows), sum(r.quarantined for r in rows)
        legacy.add_row(system, f"{records + bad:,}", f"{records:,}", f"{bad:,}")
    numbers = ("should hold", "holds", "the same", "differs")
    out.print(legacy)
    compared = await compare(world, built)
    for name in dict.fromkeys(row.cloud for row in compared):
        cloud = render.table(f"What {name} holds", "documents", *numbers, "agreement", right=numbers)
        for row in compared:
            if row.cloud == name:
                verdict = "[green]agrees[/green]" if not row.differs else "[red]differs[/red]"
                counts = (f"{n:,}" for n in (row.should, row.holds, row.same, row.differs))
                cloud.add_row(row.kind, *counts, verdict)
        out.print(cloud)
    apart = [f"{f.flow}: {f.parked} parked, {f.waiting} waiting" for f in await insight.flows(built.store)]
    out.print(f"Not counted above, each with its reason (`ironbridge parked list`): {'; '.join(apart)}.")
    return sum(row.differs for row in compared)


def _by_system(streams: Sequence[StreamStanding]) -> list[tuple[str, list[StreamStanding]]]:
    systems: dict[str, list[StreamStanding]] = {}
    for each in streams:
        systems.setdefault(each.adapter, []).append(each)
    return list(systems.items())


def _one_trace(out: Console, spans: Sequence[ReadableSpan]) -> None:
    """The fullest story of one change that was traced; a write of many subjects at once is joined by its links."""
    traces: dict[int, list[ReadableSpan]] = {}
    for span in spans:
        if span.context is not None:
            traces.setdefault(span.context.trace_id, []).append(span)
    whole = []
    for rows in traces.values():
        if any(s.name.startswith("agree") for s in rows) and any(s.name.startswith("read") for s in rows):
            joined = {link.context.trace_id for s in rows for link in s.links if s.name.startswith("agree")}
            whole.append(rows + [s for other in joined for s in traces.get(other, [])])
    if whole:
        out.print(render.spans(max(whole, key=len)))


def _farewell(out: Console, data: Path, flows: Sequence[str], took: float) -> None:
    file = data / "ironbridge.toml"
    out.rule(align="left")
    out.print(f"Done in {took:.0f} s. Its world stays in {data}; look round in it:", highlight=False)
    for command in ("status", "parked list", "explain 1042", *(f"plan {flow}" for flow in flows)):
        out.print(f"  ironbridge {command} --file {file}", highlight=False, soft_wrap=True)
