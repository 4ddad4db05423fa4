"""
Keeps recent spans beside the program, so that a machine without a trace viewer still shows what happened to a change.

A span holds keys, outcomes and times, never a person's data, so that it may lie in a file. The file is bounded: of more
spans than it keeps the oldest go, and first those of traces that are about no record: readings that found nothing new.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import format_span_id, format_trace_id

from ironbridge.settings import Settings

log = logging.getLogger(__name__)

FILE = "spans.sqlite3"
_TABLES = """
CREATE TABLE IF NOT EXISTS spans (
    id INTEGER PRIMARY KEY, trace TEXT NOT NULL, span TEXT NOT NULL, parent TEXT, name TEXT NOT NULL, kind TEXT NOT NULL,
    began INTEGER NOT NULL, took INTEGER NOT NULL, failed INTEGER NOT NULL, about TEXT NOT NULL, links TEXT NOT NULL,
    key TEXT);
CREATE INDEX IF NOT EXISTS ix_spans_trace ON spans (trace);
CREATE INDEX IF NOT EXISTS ix_spans_about ON spans (trace, key) WHERE key IS NOT NULL;
"""
_INSERT = "INSERT INTO spans (trace, span, parent, name, kind, began, took, failed, about, links, key) "
_INSERT += "VALUES (?,?,?,?,?,?,?,?,?,?,?)"
_COLUMNS = "trace, span, parent, name, kind, began, took, failed, about, links"


@dataclass(frozen=True, slots=True)
class Span:
    """`began` and `took` are nanoseconds; `links` are the traces that it is joined to."""

    trace: str
    span: str
    parent: str | None
    name: str
    kind: str
    began: int
    took: int
    failed: bool
    about: Mapping[str, Any]
    links: Sequence[str] = ()
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """A line of the list: what the trace is about, when it began, how long it took. Times are nanoseconds."""

    trace: str
    name: str
    key: str
    began: int
    took: int
    spans: int
    failed: bool


@dataclass
class SpanFile(SpanExporter):
    """The spans of `keep` at most, in an SQLite file. Several processes may write to one file."""

    path: Path
    keep: int = 20_000
    _since: int = field(default=0, init=False)

    def processor(self) -> BatchSpanProcessor:
        """Make what a tracer provider needs: its thread writes the spans that have ended, every 200 ms."""
        return BatchSpanProcessor(self, max_queue_size=8192, schedule_delay_millis=200, max_export_batch_size=2048)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        rows = [row for span in spans if (row := _row(span)) is not None]
        try:
            with self._opened() as connection, connection:
                connection.executemany(_INSERT, rows)
                self._since += len(rows)
                if self._since > self.keep // 20:
                    self._since = 0
                    self._tidy(connection)
        except (sqlite3.Error, OSError) as error:  # a full disk must not take the program with it
            log.warning("recent traces cannot be kept in %s (%s)", self.path, type(error).__name__)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _tidy(self, connection: sqlite3.Connection) -> None:
        # A new span may belong to a trace whose record is told a moment later: the newest are always kept.
        connection.execute(
            "DELETE FROM spans WHERE id <= (SELECT max(id) FROM spans) - ? "
            "AND trace NOT IN (SELECT trace FROM spans WHERE key IS NOT NULL OR links <> '[]') "
            "AND trace NOT IN (SELECT value FROM spans, json_each(links) WHERE links <> '[]')",
            (self.keep // 10,),
        )
        connection.execute(
            "DELETE FROM spans WHERE id <= (SELECT id FROM spans ORDER BY id DESC LIMIT 1 OFFSET ?)", (self.keep,)
        )

    def recent(self, limit: int = 50) -> list[Trace]:
        """The newest traces of a change to a record, newest first; none where the file cannot be read."""
        query = (
            "SELECT trace, min(began), max(began + took) - min(began), count(*), max(failed), max(key) FROM spans "
            "WHERE trace IN (SELECT trace FROM spans WHERE key IS NOT NULL GROUP BY trace ORDER BY max(id) DESC LIMIT ?) "
            "GROUP BY trace ORDER BY 2 DESC"
        )
        root = f"SELECT {_COLUMNS} FROM spans WHERE trace = ? ORDER BY began, id LIMIT 1"  # noqa: S608 (our own names)
        found = []
        with suppress(sqlite3.Error, OSError), self._opened() as connection:
            for trace, began, took, spans, failed, key in connection.execute(query, (limit,)).fetchall():
                first = _span(connection.execute(root, (trace,)).fetchone())
                found.append(Trace(trace, first.name, key, began, took, spans, bool(failed)))
        return found

    def trace(self, trace: str) -> list[Span]:
        """A trace's spans with those that its links join to it, parents before children; empty where it is not kept."""
        with suppress(sqlite3.Error, OSError), self._opened() as connection:
            spans = _of(connection, [trace])
            joined = sorted({other for span in spans for other in span.links if other != trace})[:5]
            joint = [s for s in _of(connection, joined) if s.parent is None or trace in s.links or len(joined) == 1]
            return _nested(spans) + _nested(joint)
        return []

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=5)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")  # what is lost with the machine's power is only a trace
            connection.executescript(_TABLES)
            yield connection


def _row(span: ReadableSpan) -> tuple[Any, ...] | None:
    context = span.get_span_context()
    if context is None or span.start_time is None or span.end_time is None:
        return None
    about = {k: v if isinstance(v, int | float | bool) else str(v) for k, v in (span.attributes or {}).items()}
    links = sorted({format_trace_id(link.context.trace_id) for link in span.links})
    return (
        format_trace_id(context.trace_id), format_span_id(context.span_id),
        format_span_id(span.parent.span_id) if span.parent else None, span.name, span.kind.name.lower(),
        span.start_time, span.end_time - span.start_time, not span.status.is_ok and not span.status.is_unset,
        json.dumps(about), json.dumps(links[:50]), about.get("ironbridge.key"),
    )  # fmt: skip


def _of(connection: sqlite3.Connection, traces: Sequence[str]) -> list[Span]:
    marks = ",".join("?" * len(traces))
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM spans WHERE trace IN ({marks}) ORDER BY began, id LIMIT 500",  # noqa: S608 (marks only)
        list(traces),
    )
    return [_span(row) for row in rows.fetchall()]


def _span(row: Sequence[Any]) -> Span:
    trace, span, parent, name, kind, began, took, failed, about, links = row
    return Span(trace, span, parent, name, kind, began, took, bool(failed), json.loads(about), json.loads(links))


def _nested(spans: Sequence[Span]) -> list[Span]:
    """Each span after its parent, with how deep it lies; one whose parent is not kept stands at the top."""
    children: dict[str | None, list[Span]] = {}
    known = {span.span for span in spans}
    for span in spans:
        children.setdefault(span.parent if span.parent in known else None, []).append(span)
    found: list[Span] = []

    def walk(parent: str | None, depth: int) -> None:
        for span in children.get(parent, []):
            found.append(replace(span, depth=min(depth, 6)))
            walk(span.span, depth + 1)

    walk(None, 0)
    return found


def span_file(settings: Settings) -> SpanFile | None:
    """Return the file in which the settings keep recent spans; None if they keep none."""
    return SpanFile(settings.data / FILE, settings.console.spans_kept) if settings.console.spans_kept else None


def processors(settings: Settings) -> list[SpanProcessor]:
    """Make what keeps the spans of this process for its console; nothing if there is no console, because it has its cost."""
    kept = span_file(settings) if settings.http.address is not None and settings.console.serve else None
    return [kept.processor()] if kept else []
