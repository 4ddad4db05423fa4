"""
Fixtures: real servers, started when the first test asks for one, and the project's shared reference data.

What this machine does not have is skipped with the reason, and named again in one line at the end of the run. With
CI=true nothing may be absent: then it fails.
"""

import gc
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis  # (its plugin would import it at the very end, in the middle of a collection of garbage)
import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from canonical import ENTITIES
from ironbridge.observe.watchdog import HoldUp, watching
from ironbridge.store import Store, open_store
from tests.own_package import COUNCIL_HOUSING, installed
from tests.secure_kafka import Secure, running_secure_kafka
from tests.servers import (
    Absent,
    Kafka,
    MariaDB,
    Postgres,
    in_memory,
    running_apache_kafka,
    running_embedded_broker,
    running_mariadb,
    running_postgres,
    running_s3,
)
from tests.states import state_database, state_file

SERVERS = frozenset({"apache_kafka", "secure_kafka", "embedded_broker", "postgres", "mariadb", "s3"})
ABSENT = "absent here: "
LONGEST = ("test_torture", "test_fuzz", "console", "test_fuzz_agreement")

# A worker of pytest-xdist is told how wide a terminal is. The programs under test have none.
for size in ("COLUMNS", "LINES"):
    os.environ.pop(size, None)

# In CI every run tries the same examples; elsewhere others each time, and what fails is printed so that it can be tried again.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("here", deadline=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


def pytest_report_header() -> str:
    how = "the same examples each time" if os.environ.get("CI") == "true" else "other examples each time"
    return f"fuzzing: Hypothesis with {how}, atheris with seed 1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Mark each test that asks for a server or for the shared data: `pytest -m "not servers"` is quick.

    The files that take longest come first, so that no worker is left alone with one of them at the end.
    """
    items.sort(key=_turn)
    for item in items:
        wanted = set(getattr(item, "fixturenames", ()))
        if wanted & SERVERS:
            item.add_marker("servers")
        if "shared" in wanted:
            item.add_marker("shared")


def _turn(item: pytest.Item) -> int:
    """The turn of a test: that of its file, or of its folder."""
    names = {item.path.stem, item.path.parent.name}
    return next((turn for turn, name in enumerate(LONGEST) if name in names), len(LONGEST))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Make the one that hands files to workers side by side."""
    from tests.side_by_side import ByWorld

    return ByWorld(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that says what was not tested, and why."""
    untested: dict[str, set[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        _, found, reason = str(report.longrepr[2]).partition(ABSENT)
        if found:
            untested.setdefault(reason, set()).add(report.nodeid.partition("::")[0])
    if untested:
        told = "; ".join(f"{reason} → tests of {', '.join(sorted(tests))}" for reason, tests in untested.items())
        terminalreporter.write_line(f"NOT RUN because something is {ABSENT}{told}", yellow=True)


@contextmanager
def needed() -> Iterator[None]:
    """Turn the absence of something into a skip with its reason, or, where everything has to be tested, a failure."""
    try:
        yield
    except Absent as absent:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{absent}, and with CI=true every test must run", pytrace=False)
        pytest.skip(f"{ABSENT}{absent}")


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[Kafka]:
    """Real Apache Kafka, shared by the whole run: begin topics and groups with `apache_kafka.prefix()`."""
    with needed(), running_apache_kafka() as kafka:
        yield kafka


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """Real Apache Kafka with TLS and SASL on, shared by the whole run: use a `topic_prefix` of your own."""
    with needed(), running_secure_kafka(tmp_path_factory.mktemp("client")) as secure:
        yield secure


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What reaches an S3 server with the bucket `council`, shared by the whole run: use a prefix of your own."""
    with running_s3(tmp_path_factory.mktemp("s3"), "council") as options:
        yield options


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[Kafka]:
    """The broker that `ironbridge` embeds, shared by the whole run: begin topics and groups with `.prefix()`."""
    with needed(), running_embedded_broker() as kafka:
        yield kafka


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """
    A real PostgreSQL server: `async with postgres.database() as url`, or the fixture `postgres_url`. Its data lie in memory: a
    database is some three hundred files, and each test has a new one.
    """
    with needed(), running_postgres(in_memory()) as server:
        yield server


@pytest.fixture
async def postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """A fresh, empty PostgreSQL database."""
    async with postgres.database() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A real MariaDB server: `async with mariadb.database() as url`, or the fixture `mariadb_url`."""
    with needed(), running_mariadb() as server:
        yield server


@pytest.fixture
async def mariadb_url(mariadb: MariaDB) -> AsyncIterator[str]:
    """A fresh, empty MariaDB database."""
    async with mariadb.database() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
async def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A fresh state of each kind, see tests/states.py."""
    if request.param == "postgresql":
        async with state_database(request.getfixturevalue("postgres")) as url:
            yield url
    else:
        yield await state_file(tmp_path / "state.sqlite3")


@pytest.fixture
async def each_store(state_url: str) -> AsyncIterator[Store]:
    """A fresh state of each kind, opened."""
    opened = await open_store(state_url)
    yield opened
    await opened.close()


@pytest.fixture
async def postgres_store(postgres: Postgres) -> AsyncIterator[Store]:
    """A fresh state in PostgreSQL, opened."""
    async with state_database(postgres) as url:
        opened = await open_store(url)
        yield opened
        await opened.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A fresh state in SQLite, opened."""
    opened = await open_store(await state_file(tmp_path / "state.sqlite3"))
    yield opened
    await opened.close()


@pytest.fixture
def council_housing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package of the examples is installed, and its entity, adapter, flow and target are known in this process."""
    for folder in installed(COUNCIL_HOUSING, tmp_path / "site"):
        monkeypatch.syspath_prepend(folder)
    _look_for_entities_again()
    yield
    _look_for_entities_again()


def _look_for_entities_again() -> None:
    vars(ENTITIES).pop("_found", None)


class Relay(SpanProcessor):
    """A process has one provider of tracers, for good: each test that looks at spans puts its own processor behind it."""

    to: SpanProcessor | None = None

    def on_end(self, span: ReadableSpan) -> None:
        if self.to is not None:
            self.to.on_end(span)


@pytest.fixture(scope="session", autouse=True)  # before any test that starts the program in our process
def relay() -> Relay:
    relay = Relay()
    provider = TracerProvider()
    provider.add_span_processor(relay)
    trace.set_tracer_provider(provider)
    assert trace.get_tracer_provider() is provider, "something else has set the process's provider of tracers"
    return relay


@pytest.fixture
def spans(relay: Relay) -> Iterator[InMemorySpanExporter]:
    """Every span that ends during the test."""
    exporter = InMemorySpanExporter()
    relay.to = SimpleSpanProcessor(exporter)
    yield exporter
    relay.to = None


class Metered:
    """What is measured during a test: counters and histograms tell what came since they were last asked."""

    def __init__(self, reader: InMemoryMetricReader) -> None:
        self._reader = reader
        self.read()  # what was before

    def read(self) -> dict[str, list[Any]]:
        """The points of every metric, by its name."""
        data = self._reader.get_metrics_data()
        scopes = [scope for each in data.resource_metrics for scope in each.scope_metrics] if data else []
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}


@pytest.fixture(scope="session", autouse=True)
def meters() -> InMemoryMetricReader:
    """A process has one provider of meters, for good."""
    reader = InMemoryMetricReader({Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA})
    provider = MeterProvider([reader])
    metrics.set_meter_provider(provider)
    assert metrics.get_meter_provider() is provider, "something else has set the process's provider of meters"
    return reader


@pytest.fixture
def metered(meters: InMemoryMetricReader) -> Metered:
    return Metered(meters)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared reference data and vendors' contracts: IRONBRIDGE_SHARED, or `shared` beside the checkout."""
    with needed():
        chosen = os.environ.get("IRONBRIDGE_SHARED")
        folder = Path(chosen) if chosen else Path(__file__).resolve().parents[2] / "shared"
        if not folder.is_dir():
            raise Absent(f"the shared reference data ({folder}; IRONBRIDGE_SHARED names another place)")
        return folder


@pytest.fixture
async def held() -> AsyncIterator[list[HoldUp]]:
    """The hold-ups of the loop while the test ran. Objects that other tests left in memory are kept from the collector."""
    gc.collect()
    gc.freeze()
    found: list[HoldUp] = []
    async with watching(found.append):
        yield found
    gc.unfreeze()
