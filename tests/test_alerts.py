"""Alerts, dashboards and runbooks: held to each other, to Prometheus' own tool, and to what the program really sends."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY

import adapters.engine.meters
import flows.engine.meters
import ironbridge.observe.meters
import ironbridge.operate.gauges
from tests.fixtures import needed
from tests.promtool import promtool

ROOT = Path(__file__).parents[1]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RUNBOOKS = ROOT / "docs" / "runbooks"
INSTRUMENTS = (adapters.engine.meters, flows.engine.meters, ironbridge.observe.meters, ironbridge.operate.gauges)
OURS = re.compile(r"\b(?:ironbridge|messaging|http|db|server|url|error)_\w+")
GROUPED = re.compile(r"by \(([^)]*)\)|\{([^}]*)\}")


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def queries() -> Iterator[tuple[str, str]]:
    """Every query, and where it stands."""
    for alert in alerts():
        yield alert["alert"], alert["expr"]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text("utf-8"))["panels"]:
            for target in panel["targets"]:
                yield f"{file.stem}: {panel['title']}", target["expr"]


def labels_of(query: str) -> set[str]:
    """The labels that a query groups and selects by."""
    inside = " ".join(group or selector for group, selector in GROUPED.findall(query))
    return set(OURS.findall(re.sub(r'"[^"]*"', "", inside)))


def metrics_of(query: str) -> set[str]:
    return set(OURS.findall(GROUPED.sub(" ", query)))


@pytest.fixture(scope="module")
def tool() -> str:
    with needed():
        return promtool()


def run(tool: str, *words: str) -> None:
    done = subprocess.run([tool, *words], cwd=ALERTS.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_alerts(tool: str):
    run(tool, "check", "rules", "alerts.yaml")
    told = yaml.safe_load((ROOT / "deploy" / "compose" / "prometheus.yml").read_text("utf-8"))
    assert told["rule_files"] == ["/etc/prometheus/alerts.yaml"]


def test_each_alert_speaks_when_it_should_and_is_silent_where_all_is_well(tool: str):
    run(tool, "test", "rules", "alerts.test.yaml")
    stories = yaml.safe_load((ALERTS.parent / "alerts.test.yaml").read_text("utf-8"))["tests"]
    names = {alert["alert"] for alert in alerts()}
    assert {story["name"] for story in stories} == names | {"all is well"}
    (quiet,) = (story for story in stories if story["name"] == "all is well")
    assert {each["alertname"] for each in quiet["alert_rule_test"]} == names
    for story in stories:
        spoken = [each["alertname"] for each in story["alert_rule_test"] if each["exp_alerts"]]
        assert spoken == ([] if story is quiet else [story["name"]])


def test_every_query_of_a_dashboard_is_one(tool: str, tmp_path: Path):
    rules = [{"record": f"q{i}", "expr": query} for i, (_, query) in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}), "utf-8")
    run(tool, "check", "rules", str(file))


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    pages = {page.stem: page.read_text("utf-8") for page in RUNBOOKS.glob("*.md")}
    assert pages.keys() == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        page = pages[alert["alert"]]
        assert alert["annotations"]["runbook"] == f"docs/runbooks/{alert['alert']}.md"
        assert page.startswith(f"# {alert['alert']}\n\n**{alert['labels']['severity']}, after {alert['for']}.**")
        assert "\n## Find out\n" in page
        assert "\n## Do\n" in page
        assert set(re.findall(r"\((\w+)\.md\)", page)) <= pages.keys()


@pytest.fixture(scope="module")
def sent() -> set[str]:
    """The names, in Prometheus' words, of all that the program can send."""
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader])
    for module in INSTRUMENTS:
        for instrument in vars(module).values():
            if isinstance(instrument, metrics.Counter | metrics.Histogram | metrics._Gauge):
                touch(provider.get_meter("names"), instrument)
    names = {sample.name for family in REGISTRY.collect() for sample in family.samples}
    provider.shutdown()
    return names


def touch(meter: metrics.Meter, instrument: Any) -> None:
    """Make the same instrument with a reader behind it, and give it one value."""
    # One that was made before there was a provider stands in for the real one, and calls its things otherwise.
    name, unit = (getattr(instrument, f"_{word}", None) or getattr(instrument, word) for word in ("name", "unit"))
    match instrument:
        case metrics.Counter():
            meter.create_counter(name, unit).add(1)
        case metrics.Histogram():
            meter.create_histogram(name, unit).record(1)
        case _:
            meter.create_gauge(name, unit).set(1)


def test_every_query_asks_for_what_the_program_sends(sent: set[str]):
    for where, query in queries():
        asked = metrics_of(query)
        assert asked, where
        assert asked <= sent, f"{where} asks for {sorted(asked - sent)}"


def test_all_that_the_program_sends_is_looked_at_somewhere(sent: set[str]):
    asked = {name for _, query in queries() for name in metrics_of(query)}
    ours = {re.sub(r"_(bucket|sum|count|total|created)$", "", n) for n in sent if OURS.fullmatch(n)}
    looked_at = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in asked}
    assert ours == looked_at


def test_a_runbook_names_a_dashboard_by_its_title():
    titles = {json.loads(file.read_text("utf-8"))["title"] for file in DASHBOARDS}
    named = {n for page in RUNBOOKS.glob("*.md") for n in re.findall(r"dashboard \*(.+?)\*", page.read_text("utf-8"))}
    assert named == titles


def test_grafana_finds_the_dashboards_and_their_sources():
    uids = set()
    for file in DASHBOARDS:
        board = json.loads(file.read_text("utf-8"))
        uids.add(board["uid"])
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        assert all(panel["datasource"]["uid"] == "${metrics}" for panel in board["panels"])
    assert len(uids) == len(DASHBOARDS) == 2
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "ironbridge.yaml").read_text("utf-8"))["datasources"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]
    for source in sources:
        host, port = source["url"].removeprefix("http://").split(":")
        assert f"127.0.0.1:{port}:{port}" in compose[host]["ports"][0].split(" ")[0]
    mounted = [mount.split(":")[0] for mount in compose["grafana"]["volumes"]]
    assert {f"./{file.relative_to(ROOT)}" for file in DASHBOARDS} <= set(mounted)
