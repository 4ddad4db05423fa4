"""
What operations sees, as a real OpenTelemetry collector receives it: every change traced from the row to the answer, and every
count right; and log lines that say in which trace they were said.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import ValidationError

from canonical import Event
from canonical.errors import UnavailableError
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
from ironbridge.observe import telemetry
from ironbridge.observe.log_lines import log_to_stderr
from ironbridge.settings import TelemetrySettings
from tests.fixtures import needed
from tests.otlp import Collector, Span, attributes, collecting
from tests.servers import Kafka
from tests.test_alerts import labels_of, queries
from tests.traced_process import CHANGED, SUPPLIERS

ROOT = Path(__file__).resolve().parents[1]
CHANGES = SUPPLIERS + 2 * CHANGED
WRITES = SUPPLIERS + CHANGED
PARTS = {"adapter/finance": 0, "flow/business_central": 0, "flow/elsewhere": 1}
"""The parts that should run, and whether they run nowhere."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with needed(), collecting() as collector:
        yield collector


async def bridged(collector: Collector, kafka: Kafka, data: Path) -> list[str]:
    """Run the traced process against real servers; its log lines."""
    sandbox = BusinessCentralSandbox(BusinessCentralSandboxSettings(data=None))
    sandbox.company.seed({"6010": "Professional Fees"})
    async with sandbox:
        target = {
            "base_url": sandbox.url, "company": sandbox.settings.company, "token_url": f"{sandbox.url}/token",
            "client_id": sandbox.settings.client_id, "client_secret": sandbox.settings.client_secret,
            "default_account": "6010", "accounts": {"*": "6010"}, "dimensions": {},
        }  # fmt: skip
        settings = {
            "data": str(data), "targets": {"business_central": target}, "expected": [*PARTS],
            "kafka": {"broker": "none", "bootstrap_servers": kafka.bootstrap, "topic_prefix": kafka.prefix() + "c"},
            "telemetry": {"endpoint": collector.endpoint, "traces_a_second": "all", "metrics_every": 3600},
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.traced_process", cwd=Path(__file__).parents[1],
            stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await asyncio.wait_for(process.communicate(json.dumps(settings).encode()), 150)
        assert process.returncode == 0, said.decode()
        assert len(sandbox.documents("vendors")) == SUPPLIERS
    return said.decode().splitlines()


async def test_each_of_a_thousand_changes_has_a_trace_without_a_gap_and_every_count_is_right(
    collector: Collector, apache_kafka: Kafka, tmp_path: Path
):
    said = await bridged(collector, apache_kafka, tmp_path)
    spans = collector.spans()
    changes = [span for span in spans.values() if "ironbridge.key" in span.attributes]
    assert len(changes) == len({span.trace for span in changes}) == CHANGES
    by_trace: dict[str, list[Span]] = {}
    for span in spans.values():
        by_trace.setdefault(span.trace, []).append(span)
    for change in changes:
        joined(change, by_trace[change.trace], spans)
    counted(collector.metrics(), {change.trace for change in changes})
    labelled(collector.metrics())
    assert all(json.loads(line)["level"] for line in said)
    assert "Canary" not in collector.text() + "".join(said)


def joined(change: Span, within: list[Span], spans: dict[tuple[str, str], Span]) -> None:
    """From the row to the answer, each span hangs on the one before it, and the write's requests on the write."""
    assert (change.name, change.parent) == ("read finance.supplier", "")
    by_name = Counter(span.name for span in within)
    here = {span.id: span for span in within}
    assert all(span.parent in here for span in within if span is not change), by_name
    agreed = [span for span in within if span.name == "agree business_central"]
    assert [span.attributes["ironbridge.outcome"] for span in agreed] == ["confirmed"], by_name
    way = [agreed[0]]
    while way[-1].parent:
        way.append(here[way[-1].parent])
    names = ["agree business_central", "ingest supplier", "publish supplier", "read finance.supplier"]
    assert [span.name for span in way] == names
    writes = [span for span in within if span.name == "write business_central" and span.parent == agreed[0].id]
    writes += [spans[link] for link in agreed[0].links if spans[link].name == "write business_central"]
    assert len(writes) == 1, by_name
    if writes[0].parent != agreed[0].id:
        assert (agreed[0].trace, agreed[0].id) in writes[0].links, "the write does not know its change"
    below = [span for span in spans.values() if span.parent == writes[0].id and span.trace == writes[0].trace]
    assert any(span.attributes.get("http.response.status_code") == "200" for span in below), "no request was traced"
    assert all(span.begin <= span.end for span in way)
    assert change.begin <= agreed[0].begin <= writes[0].begin <= writes[0].end <= agreed[0].end


def labelled(metrics: dict[str, list[Any]]) -> None:
    """Whatever a dashboard or an alert groups by is there."""
    sent = {name.replace(".", "_") for points in metrics.values() for point in points for name in attributes(point)}
    assert {label for _, query in queries() for label in labels_of(query)} <= sent


def counted(metrics: dict[str, list[Any]], traces: set[str]) -> None:
    def total(name: str, **wanted: str) -> float:
        about = {f"ironbridge.{key}": value for key, value in wanted.items()}
        points = [point for point in metrics[name] if about.items() <= attributes(point).items()]
        return sum(float(p.get("asInt", p.get("asDouble", p.get("count")))) for p in points)

    assert total("ironbridge.stream.rows.changed") == CHANGES
    assert total("ironbridge.stream.rows.read") >= CHANGES
    assert total("messaging.client.sent.messages") == CHANGES
    assert total("messaging.client.consumed.messages") == CHANGES
    assert total("ironbridge.flow.settled", outcome="confirmed") == WRITES
    assert total("ironbridge.flow.writes.saved") == CHANGED
    assert total("ironbridge.flow.change.duration") == WRITES
    assert total("http.client.request.duration") > 0
    assert total("ironbridge.flow.subjects", state="agreed") == SUPPLIERS
    assert total("ironbridge.flow.subjects", state="dirty") == 0
    assert total("ironbridge.flow.lag") == 0
    assert total("ironbridge.stream.records") == SUPPLIERS
    assert total("ironbridge.progress.unwell") == 0
    assert {part: total("ironbridge.part.absent", part=part) for part in PARTS} == PARTS
    exemplars = [each for point in metrics["ironbridge.flow.change.duration"] for each in point["exemplars"]]
    assert exemplars
    assert {each["traceId"] for each in exemplars} <= traces, "an exemplar leads to no change"


# -- which changes are traced ----------------------------------------------------------------------------------------


def event(number: int) -> Event:
    return Event("supplier", "finance", f"finance:supplier:{number}", "o", 1, datetime.now(UTC), b"{}", "supplier")


def test_a_budget_of_traces_fills_up_again_and_all_has_no_end():
    now = 0.0
    budget = telemetry.TraceBudget(10, clock=lambda: now)
    assert [budget.take(15), budget.take(15)] == [15, 5]
    now = 0.5
    assert budget.take(15) == 5
    everything = telemetry.TraceBudget(TelemetrySettings(traces_a_second="all").most_traces)
    assert [everything.take(10**6) for _ in range(3)] == [10**6] * 3


def test_traces_a_second_is_a_number_or_all():
    assert TelemetrySettings(traces_a_second=0).most_traces == 0
    assert math.isinf(TelemetrySettings(traces_a_second="all").most_traces)
    for wrong in ("some", -1, float("inf")):
        with pytest.raises(ValidationError):
            TelemetrySettings(traces_a_second=wrong)  # type: ignore[arg-type]


def test_a_change_that_was_not_published_says_so(spans: InMemorySpanExporter):
    tracing = telemetry.ChangeTracing("finance", telemetry.TraceBudget(1))

    def fails() -> None:
        with tracing.publishing([event(n) for n in range(5)]) as events:
            flags = [each.traceparent and each.traceparent.rpartition("-")[2] for each in events]
            assert flags == ["01", "01", None, None, None]
            assert len({each.traceparent for each in events}) == 3
            raise UnavailableError("kafka", "does not answer")

    with pytest.raises(UnavailableError):
        fails()
    published = [span for span in spans.get_finished_spans() if span.name == "publish supplier"]
    assert [span.status.status_code.name for span in published] == ["ERROR", "ERROR"]


# -- log lines -------------------------------------------------------------------------------------------------------


@pytest.fixture
def said(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    root, text = logging.getLogger(), io.StringIO()
    before, level = list(root.handlers), root.level
    log_to_stderr(logging.DEBUG, request.param)
    assert isinstance(root.handlers[0], logging.StreamHandler)
    root.handlers[0].setStream(text)
    yield text
    root.handlers[:] = before
    root.setLevel(level)  # not `root.level =`: loggers remember what they may log


@pytest.mark.parametrize("said", ["json"], indirect=True)
def test_a_log_line_as_json_has_its_trace_and_nothing_that_others_put_in(
    said: io.StringIO, spans: InMemorySpanExporter
):
    log = logging.getLogger("ironbridge.runtime.bridge")
    log.info("began")
    with trace.get_tracer("test").start_as_current_span("work") as span:
        log.warning("%s: held", "finance")
    logging.getLogger("aiokafka").debug("a record of somebody")
    first, second = map(json.loads, said.getvalue().splitlines())
    context = span.get_span_context()
    assert first.keys() == {"level", "logger", "message", "time"}
    assert second == {
        "level": "WARNING", "logger": "ironbridge.runtime.bridge", "message": "finance: held", "time": second["time"],
        "trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}",
    }  # fmt: skip
    assert datetime.fromisoformat(second["time"]).tzinfo is not None


@pytest.mark.parametrize("said", ["console"], indirect=True)
def test_a_log_line_for_a_person_ends_with_its_trace(said: io.StringIO, spans: InMemorySpanExporter):
    log = logging.getLogger("ironbridge.runtime.bridge")
    log.info("began")
    with trace.get_tracer("test").start_as_current_span("work") as span:
        log.warning("held")
    first, second = said.getvalue().splitlines()
    assert first.endswith("INFO    ironbridge.runtime.bridge: began")
    assert second.endswith(f"ironbridge.runtime.bridge: held (trace {span.get_span_context().trace_id:032x})")


@pytest.mark.parametrize("said", ["console", "json"], indirect=True)
async def test_no_line_of_a_library_quotes_an_exception_or_what_a_callback_was_given(said: io.StringIO):
    def lost(name: str) -> None:
        raise ValueError(name)

    async def forgotten(name: str) -> None:
        lost(name)

    name = "Wil" + "helmina"  # a traceback shows the code
    asyncio.get_running_loop().call_soon(lost, name)
    task = asyncio.ensure_future(forgotten(name))
    await asyncio.wait([task])
    del task
    gc.collect()
    logging.getLogger("aiokafka").error("a batch failed: %s", ValueError(name))
    assert "Wilhelmina" not in said.getvalue()
    for words in ("Exception in callback", "never retrieved", "test_telemetry.py", "ValueError", "a batch failed: ValueError"):
        assert words in said.getvalue()


THEIRS = """
import logging, sys
from pathlib import Path
from ironbridge.observe.log_lines import log_to_stderr

log_to_stderr(logging.INFO, sys.argv[1])
import council_housing.rows  # after the start, as an entry point is loaded
import stranger
"""
ROWS = """
import logging
from canonical.errors import UnavailableError

log = logging.getLogger(__name__)
name = "Wil" + "helmina"  # a traceback shows the code
log.info("41 tenants were read")
log.debug("a row of Wilhelmina Darby")
logging.getLogger("council_housing").info("closed", extra={"table": "TENANTS"})
try:
    try:
        {}[name]
    except KeyError as error:
        raise UnavailableError("housing", "the database does not answer") from error
except UnavailableError:
    log.exception("the reading ended")
"""
STRANGER = """
import logging

logging.getLogger("stranger").info("a row of Wilhelmina Darby")
logging.getLogger("stranger").warning("is no system of ours")
"""


def lines_of_an_installed_package(site: Path, form: str) -> list[str]:
    """The log lines of a process with a package that names itself in an entry point, and one that does not."""
    about = site / "council_housing-1.dist-info"
    for file, text in {
        about / "METADATA": "Metadata-Version: 2.1\nName: council-housing\nVersion: 1\n",
        about / "entry_points.txt": "[ironbridge.adapters]\nhousing = council_housing.adapter:system\n",
        site / "council_housing" / "__init__.py": "",
        site / "council_housing" / "rows.py": ROWS,
        site / "stranger.py": STRANGER,
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    env = os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"}
    done = subprocess.run([sys.executable, "-c", THEIRS, form], env=env, capture_output=True, text=True, check=True)
    assert "Wilhelmina" not in done.stderr
    return done.stderr.splitlines()


def test_the_lines_of_an_installed_system_are_logged_as_ours_are_and_quote_no_strange_error(tmp_path: Path):
    said = [json.loads(line) for line in lines_of_an_installed_package(tmp_path, "json")]
    assert [(line["level"], line["logger"], line["message"]) for line in said] == [
        ("INFO", "council_housing.rows", "41 tenants were read"),
        ("INFO", "council_housing", "closed"),
        ("ERROR", "council_housing.rows", "the reading ended"),
        ("WARNING", "stranger", "is no system of ours"),
    ]
    assert said[1]["table"] == "TENANTS"
    shown = [line for line in said[2]["exc_info"].splitlines() if not line.startswith(" ")]
    assert shown == [
        "builtins.KeyError: its text is left out, because it may quote a record",
        "and then:",
        "canonical.errors.UnavailableError: housing: the database does not answer",
    ]


def test_a_person_sees_the_lines_of_an_installed_system(tmp_path: Path):
    said = lines_of_an_installed_package(tmp_path, "console")
    assert said[0].endswith("INFO    council_housing.rows: 41 tenants were read")
    assert said[-2] == "canonical.errors.UnavailableError: housing: the database does not answer"
    assert said[-1].endswith("WARNING stranger: is no system of ours")


@pytest.mark.parametrize("said", ["console", "json"], indirect=True)
def test_an_error_s_text_is_left_out_also_if_another_handler_has_written_it_down_before(said: io.StringIO):
    def names() -> Iterator[str]:
        for number, name in enumerate(("Wilhelmina", "Abraham")):
            yield f"{name} {number}"

    log = logging.getLogger("ironbridge.runtime.bridge")
    log.addHandler(other := logging.StreamHandler(io.StringIO()))
    try:
        raise ExceptionGroup("two", [ValueError(name) for name in names()])
    except ExceptionGroup:
        log.exception("it ended")
    finally:
        log.removeHandler(other)
    assert "Wilhelmina" in other.stream.getvalue()
    assert said.getvalue().count("ValueError: its text is left out") == 2
    assert "Wilhelmina" not in said.getvalue()
