"""The benchmarks of single systems and targets: the kit's adapters, a large file, hospitals, open tables, Dataverse."""

from __future__ import annotations

import asyncio
import math
import tempfile
from statistics import median
from typing import Any

from bench import hospital, job
from bench.kit import KIT_SYSTEMS
from bench.plan import MOST_MEMORY, Plan, must, servers, worked
from bench.report import Line
from bench.stage import Stage

MOST_MEMORY_OF_TABLES = 512.0  # MB


async def kit(stage: Stage, plan: Plan) -> list[Line]:
    """The first sweep of each system that the kit reads from SQL, beside Liquidlogic's: rows, and the values in them."""
    rates: dict[str, list[float]] = {name: [] for name in KIT_SYSTEMS}
    values: dict[str, list[float]] = {name: [] for name in KIT_SYSTEMS}
    read: dict[str, int] = {}
    for run in range(1, plan.runs + 1):
        for name in KIT_SYSTEMS:
            plan.say(f"the first sweep of {name}, {plan.records:,} of its records, run {run} of {plan.runs}")
            async with stage.postgres.database() as state:
                prefix = stage.prefix()
                given = {"system": name, "size": plan.records, "state": state, "bootstrap": stage.bootstrap, "prefix": prefix}
                done = await worked(stage, plan, "kit", **given)
                await stage.forget(prefix)
            must(done["published"], done["live"], f"events of {name}, one for each record that is published")
            must(done["published"] >= 0.98 * done["read"], True, f"a few rows of {name} are bad, no more")
            rates[name].append(done["read"] / done["cpu"])
            values[name].append(done["values"] / done["cpu"])
            read[name] = done["read"]
    least = 0.9 * median(rates["liquidlogic"])
    lines = []
    for name, each in rates.items():
        note = f"{read[name]:,} rows; {median(values[name]):,.0f} values/s"
        line = Line(f"first sweep of {name}", "rows/s of CPU", each, note=note)
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
            each = await worked(stage, plan, "files", seconds=3600, **given)
        found = await stage.count(f"{prefix}.person")
        must((found.records, found.keys), (each["rows"], each["rows"]), "events and keys, one for each row")
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
            done.append(await worked(stage, plan, "tables", **given, folder=folder))
        wanted = (filled["living"], plan.events)
        must((done[-1]["person"], done[-1]["person_history"]), wanted, "rows of the latest table and of the history")
    await stage.forget(prefix)
    line = Line("open tables, all columns", "events/s", [plan.events / each["seconds"] for each in done])
    line.goal, line.memory, line.cpu = "20,000 events/s, 512 MB", [d["memory"] for d in done], [d["cpu"] for d in done]
    line.reached = line.median >= 20_000 and max(line.memory) <= MOST_MEMORY_OF_TABLES
    line.note = f"{plan.events:,} events, latest and history, {done[-1]['size']:.0f} MB of files; {servers(done)}"
    return [line]


# -- a cloud's limits --------------------------------------------------------------------------------------------


async def dataverse(stage: Stage, plan: Plan) -> list[Line]:
    """New contacts for Dataverse by two workers, once: what they use of its 6,000 requests in 300 s, by a fast clock."""
    plan.say(f"{plan.contacts:,} contacts for Dataverse, whatever the number of runs is")
    async with stage.postgres.database() as state:
        done = await worked(stage, plan, "contacts", seconds=7_200, state=state, subjects=plan.contacts)
    one_each = (plan.contacts, plan.contacts, plan.contacts)
    must((done["held"], done["made"], done["different"]), one_each, "contacts that are held, were made, and differ")
    must((done["turned_away"], done["worked"]), (0, 2), "requests that were turned away, and workers that confirmed some")
    allowed = 6_000 / 300 * done["seconds"]
    line = Line("contacts for Dataverse, of what its limits allow", "%", [100 * plan.contacts / allowed], "95 %")
    line.memory, line.cpu = [done["memory"]], [done["cpu"]]
    line.note = (
        f"{plan.contacts:,} in {done['seconds'] / 3600:.2f} h by the fast clock, {done['real']:.0f} s by the wall; two workers, "
        f"{done['lost']} answers lost, none turned away, none there twice; CPU and memory with the sandbox's"
    )
    line.reached = line.median >= 95
    return [line]


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
