"""
OpenTelemetry: where spans go, and which changes are traced.

A span costs more than publishing an event, so not every change of a first load has one: a token bucket lets so many changes a
second be traced whole, from the row to the target's answer. On a usual day that is all of them. The others carry a
`traceparent` that says "not sampled", and nobody downstream pays for them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, format_span_id, format_trace_id

from canonical import Event
from ironbridge.settings import TelemetrySettings

tracer = trace.get_tracer(__name__)


class TraceBudget:
    """A token bucket of changes that may be traced. `clock` gives seconds."""

    def __init__(self, a_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = a_second
        self._most = 2 * a_second
        self._tokens = self._most
        self._clock = clock
        self._at = clock()

    def take(self, wanted: int) -> int:
        """How many of so many changes may be traced now."""
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
        self._at = now
        granted = min(wanted, int(self._tokens))
        self._tokens -= granted
        return granted


class ChangeTracing:
    """
    Begins the trace of each change: a span for the row, linked to the page's, and one for the event (`kafka.Tracing`).

    Messaging attributes follow OpenTelemetry's semantic conventions for Kafka; the key is the record's, never a name.
    """

    def __init__(self, adapter: str, budget: TraceBudget) -> None:
        self._adapter = adapter
        self._budget = budget

    def begin(self, events: Sequence[Event]) -> list[Event]:
        traced = self._budget.take(len(events))
        page = Link(trace.get_current_span().get_span_context())
        begun = [event.traced(self._traced(event, page)) for event in events[:traced]]
        noise = os.urandom(24 * (len(events) - traced)).hex()
        for index, event in enumerate(events[traced:]):
            piece = noise[48 * index : 48 * index + 48]
            begun.append(event.traced(f"00-{piece[:32]}-{piece[32:]}-00"))
        return begun

    def _traced(self, event: Event, page: Link) -> str:
        root = tracer.start_span(
            f"read {self._adapter}.{event.stream}",
            trace.set_span_in_context(trace.INVALID_SPAN),
            links=[page],
            attributes={"ironbridge.key": event.key, "ironbridge.version": event.version},
        )
        publish = tracer.start_span(
            f"publish {event.entity}",
            trace.set_span_in_context(root),
            kind=SpanKind.PRODUCER,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "send",
                "messaging.destination.name": event.entity,
                "messaging.kafka.message.key": event.key,
                "messaging.kafka.message.tombstone": event.data is None,
            },
        )
        publish.end()
        root.end()
        context = publish.get_span_context()
        flags = "01" if context.trace_flags.sampled else "00"
        return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{flags}"


def start(settings: TelemetrySettings, *extra: SpanProcessor) -> Callable[[], None]:
    """Send spans where the settings say; gives back what flushes and stops it. Without a destination it costs nothing."""
    processors = list(extra)
    if settings.endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # a third of a second

        endpoint = settings.endpoint.rstrip("/") + "/v1/traces"
        processors.append(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint), max_queue_size=16_384))
    if settings.console:
        processors.append(SimpleSpanProcessor(ConsoleSpanExporter(formatter=_line)))
    if not processors:
        return lambda: None
    provider = TracerProvider(resource=Resource.create({"service.name": settings.service_name}))
    for processor in processors:
        provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _line(span: ReadableSpan) -> str:
    context = span.get_span_context()
    took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    identity = format_trace_id(context.trace_id)[:8] if context else "-"
    about = " ".join(f"{k}={v!r}" for k, v in (span.attributes or {}).items())
    return f"{identity} {span.name:32} {took:8.1f} ms  {about}\n"


class _NoPersonalData(logging.Filter):
    """Libraries below us log at DEBUG what passes through them; nothing below WARNING of theirs is kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        ours = record.name.split(".")[0] in ("adapters", "flows", "ironbridge", "canonical")
        return ours or record.levelno >= logging.WARNING


def log_to_stderr(level: int = logging.INFO) -> None:
    """Plain log lines on stderr, each with its time; a trace id stands in the spans."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    handler.addFilter(_NoPersonalData())
    logging.basicConfig(level=level, handlers=[handler], force=True)
