"""
An OpenTelemetry collector's own receiver and file exporter (tests/collector), built by Go once into the user's cache, and what
it was sent.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ironbridge.kafka.distribution import cache_dir
from ironbridge.kafka.process import HOST, free_port, tail
from tests.servers import Absent, _data_dir, _running

SOURCE = Path(__file__).parent / "collector"


def program() -> Path:
    """The collector; where all must be tested it is built if it is not there."""
    digest = hashlib.blake2b(digest_size=6)
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.read_bytes())
    built = cache_dir() / f"otlp-collector-{digest.hexdigest()}" / "collector"
    if not built.exists():
        if os.environ.get("CI") != "true":
            raise Absent("an OpenTelemetry collector, which CI=true builds with Go")
        go = shutil.which("go")
        if go is None:
            raise Absent("an OpenTelemetry collector, and Go to build it")
        built.parent.mkdir(parents=True, exist_ok=True)
        making = built.with_suffix(f".{os.getpid()}")
        settings = {"CGO_ENABLED": "0", "GOFLAGS": ""}
        command = [go, "build", "-buildvcs=false", "-trimpath", "-ldflags=-s -w", "-o", making, "."]
        subprocess.run(command, cwd=SOURCE, env=os.environ | settings, check=True, timeout=900)
        making.rename(built)
    return built


@dataclass
class Span:
    """A span as the collector wrote it down."""

    name: str
    trace: str
    id: str
    parent: str
    begin: int
    end: int
    failed: bool
    attributes: dict[str, Any]
    links: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Collector:
    endpoint: str
    folder: Path

    def spans(self) -> dict[tuple[str, str], Span]:
        """Every span that arrived, by trace and span id."""
        found = {}
        for resource in self._sent("traces", "resourceSpans"):
            for scope in resource["scopeSpans"]:
                for told in scope["spans"]:
                    span = _span(told)
                    found[span.trace, span.id] = span
        return found

    def metrics(self) -> dict[str, list[Any]]:
        """The newest points of every metric, one for each set of attributes."""
        newest: dict[str, dict[str, Any]] = {}
        for resource in self._sent("metrics", "resourceMetrics"):
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    kind = next(metric[name] for name in ("sum", "gauge", "histogram") if name in metric)
                    for point in kind["dataPoints"]:
                        newest.setdefault(metric["name"], {})[json.dumps(point.get("attributes"))] = point
        return {name: list(points.values()) for name, points in newest.items()}

    def text(self) -> str:
        return "".join(file.read_text("utf-8") for file in self.folder.glob("*.json"))

    def _sent(self, file: str, what: str) -> Iterator[Any]:
        for line in (self.folder / f"{file}.json").read_text("utf-8").splitlines():
            yield from json.loads(line)[what]


def _span(told: Any) -> Span:
    return Span(
        told["name"], told["traceId"], told["spanId"], told.get("parentSpanId", ""), int(told["startTimeUnixNano"]),
        int(told["endTimeUnixNano"]), told.get("status", {}).get("code") == 2, attributes(told),
        [(link["traceId"], link["spanId"]) for link in told.get("links", ())],
    )  # fmt: skip


def attributes(told: Any) -> dict[str, Any]:
    """A span's or a point's attributes, as text."""
    return {each["key"]: str(next(iter(each["value"].values()))) for each in told.get("attributes", ())}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port; what it was sent is in files once the senders have flushed."""
    binary = program()
    with _data_dir("otlp") as (work, _):
        port = free_port()
        command = [str(binary), f"{HOST}:{port}", str(work / "traces.json"), str(work / "metrics.json")]
        with _running("the collector", command, work, None, signal.SIGTERM) as wait_until:
            wait_until(lambda: "Starting HTTP server" in tail(work / "log", 50))
            yield Collector(f"http://{HOST}:{port}", work)
