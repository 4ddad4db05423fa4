"""
Canaries: a word that occurs nowhere else is planted wherever a legacy system may hold somebody's data, good rows and bad ones,
and everything that the platform says about them is searched for it.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console

from flows.kit.sandbox_faults import Fault
from ironbridge.cli import render
from ironbridge.cli.parts import plain
from ironbridge.cli.story import print_story
from ironbridge.demo.play import settled
from ironbridge.demo.world import DemoWorld, clouds, make, settings_of
from ironbridge.observe.log_lines import log_to_stderr
from ironbridge.operate import gauges, insight
from ironbridge.operate.health import Health
from ironbridge.operate.stuck import groups
from ironbridge.runtime import bridge
from ironbridge.runtime.bridge import Platform
from tests.fixtures import Metered

CANARY = "zqx7canary"
PLAIN_COLUMNS = {  # classified as plain: where a row comes from, not whom it is about
    "ADDSS_TYPE_CODE", "NO_UPN_CODE", "DEPARTMENT_NAME", "DIM_LOOKUP_INVOLVEMENT_TYPE_CODE", "OFSTED_URN",
}  # fmt: skip
NAMES = {"FORENAME", "SURNAME", "STREET", "TOWN", "BUILDING", "HOUSE_NO", "LEGACY_ID"}


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What `ironbridge run --verbose` would log, as lines for a person and as JSON."""
    text = io.StringIO()
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    log_to_stderr(logging.DEBUG, "json")
    (as_json,) = root.handlers
    log_to_stderr(logging.DEBUG)
    root.addHandler(as_json)
    for handler in root.handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(text)
    yield text
    root.handlers[:] = before
    for name in ("adapters", "flows", "ironbridge", "canonical"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    root.setLevel(level)  # not `root.level =`: loggers remember what they may log


def plant(world: DemoWorld) -> int:
    """Names and streets everywhere; codes, identifiers and answers in every third row; how many values were planted."""
    planted = 0
    with sqlite3.connect(world.data / "liquidlogic.sqlite3") as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if "CHAR" in row[2]]
            if table.startswith("DIM_LOOKUP"):
                continue
            for place, column in enumerate(sorted(set(columns) - PLAIN_COLUMNS)):
                some = "1" if column in NAMES else f"rowid % 40 = {place % 40}"
                done = connection.execute(
                    f"UPDATE {table} SET {column} = '{CANARY}' || rowid WHERE {some} AND {column} IS NOT NULL"
                )
                planted += done.rowcount
    for file in (world.data / "drop").glob("*.csv"):
        lines = file.read_bytes().splitlines(keepends=True)
        for index in range(5, len(lines)):
            for word in (b"Ltd", b"LLP", b"CIC", b"Fees", b"Vehicle"):
                lines[index] = lines[index].replace(word, CANARY.encode())
            if index % 17 == 0:
                lines[index] = lines[index].replace(b".", b"." + CANARY.encode(), 1)  # an amount that is none
        file.write_bytes(b"".join(lines))
        planted += b"".join(lines).count(CANARY.encode())
    return planted


def misbehave(world: DemoWorld) -> None:
    """Every kind of unhappy answer, and refusals of records that hold canaries."""
    for cloud in world.clouds.values():
        cloud.sandbox.faults += [
            Fault(kind="status", status=500), Fault(kind="garbage", when="after"), Fault(kind="cut", when="after"),
            Fault(kind="cut"), Fault(kind="status", status=429, retry_after=1), Fault(kind="expired_token"),
        ]  # fmt: skip
    world.clouds["dfe_csc"].sandbox.faults.append(Fault(kind="refuse", times=None, keys=frozenset({"1003", "1009", "1012"})))


def said(spans: list[ReadableSpan]) -> str:
    return "\n".join(span.to_json() for span in spans)


async def shown(built: Platform) -> str:
    """What every command prints for somebody who did not ask to see personal fields."""
    console = Console(file=io.StringIO(), width=200)
    console.print(render.Status(await insight.streams(built.store), await insight.flows(built.store)))
    stuck = await insight.parked(built.store)
    render.parked(console, await groups(built.store, None))
    render.reasons(console, stuck)
    for delivery in built.deliveries.values():
        async with built.store.write() as connection:  # as before go-live: nothing confirmed, everything to write
            await connection.exec_driver_sql("UPDATE subjects SET digest = NULL, document = NULL")
        changes = [change async for change in insight.plan(delivery.agreement, delivery.ledger)]
        assert changes
        for as_json in (False, True):
            render.plan(console, changes, as_json=as_json, reveal=False, most=10_000)
    async with built.store.read() as connection:
        keys = [key for (key,) in await connection.exec_driver_sql("SELECT key FROM records")]
    for key in keys[::7]:
        story = await insight.story(built.store, key)
        print_story(console, story)
        console.print(json.dumps(story, default=plain))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_no_personal_data_reaches_a_log_a_span_a_metric_an_error_or_a_page(
    tmp_path: Path, spans: InMemorySpanExporter, metered: Metered, logged: io.StringIO,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    async with clouds(tmp_path) as world:
        await make(world, {"liquidlogic": 120, "payables": 120}, seed=5)
        assert plant(world) > 500
        misbehave(world)
        async with bridge.platform(settings_of(world)) as built:
            stop = asyncio.Event()
            running = asyncio.create_task(bridge.run(built, stop))
            try:
                began = time.monotonic()
                while not await settled(built, {}):
                    assert time.monotonic() - began < 120, await insight.flows(built.store)
                    await asyncio.wait([running], timeout=0.25)
                    if running.done():
                        running.result()
                stuck = await insight.parked(built.store)
                pages = await shown(built)
                await gauges.observe(built, Health(built))
            finally:
                stop.set()
                await running
        there = json.dumps([cloud.sandbox.held.all(None) for cloud in world.clouds.values()])
    assert there.count(CANARY) > 50, "the canaries did not reach the clouds: the test proves nothing"
    assert len([row for row in stuck if row.state == "quarantined"]) > 10, "no bad row was met"
    assert [row for row in stuck if row.state == "parked"], "nothing was refused"
    finished = list(spans.get_finished_spans())
    assert len(finished) > 100
    measured = metered.read()
    assert {
        "ironbridge.stream.rows.quarantined",
        "ironbridge.flow.settled",
        "ironbridge.flow.subjects",
    } <= measured.keys()
    assert '"logger": "ironbridge.' in logged.getvalue(), "nothing was logged as JSON"
    assert "unavailable" in pages or logged.getvalue() or stuck
    out, err = capfd.readouterr()
    for where, text in {
        "spans": said(finished), "metrics": repr(measured),
        "log": logged.getvalue(), "pages": pages, "reasons": json.dumps(stuck, default=asdict), "output": out + err,
    }.items():  # fmt: skip
        leaks = [line for line in text.splitlines() if CANARY in line.lower()]
        assert leaks == [], f"{where}: {leaks[:3]}"
