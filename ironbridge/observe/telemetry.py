"""
Sends spans and metrics where the settings say, and chooses which changes are traced.

A span costs more than publishing an event, so not every change of a first load has one: a token bucket lets so many changes a
second be traced whole, from the row to the target's answer. On a usual day that is all of them. The others carry no
`traceparent`, and nobody downstream pays for them.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import metrics, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, StatusCode, format_trace_id

from canonical import Event
from flows.engine.tracing import traceparent_of
from ironbridge.settings import TelemetrySettings

tracer = trace.get_tracer(__name__)
_QUEUE = 65_536  # spans that wait to be sent: those of ten thousand changes


class TraceBudget:
    """A token bucket of changes that may be traced. `clock` gives seconds."""

    def __init__(self, a_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = a_second
        self._most = 2 * a_second
        self._tokens = self._most
        self._clock = clock
        self._at = clock()

    def take(self, wanted: int) -> int:
        """Take from the bucket; return how many of so many changes may be traced now."""
        if math.isinf(self._rate):
            return wanted
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

    @contextmanager
    def publishing(self, events: Sequence[Event]) -> Iterator[Sequence[Event]]:
        """The events with their traces; the spans of those that are sampled end once their transaction has."""
        traced = self._budget.take(len(events))
        with tracer.start_as_current_span(f"publish {self._adapter}", kind=SpanKind.PRODUCER) as page:
            page.set_attributes({"messaging.system": "kafka", "messaging.batch.message_count": len(events)})
            link = Link(page.get_span_context())
            spans = [self._begun(event, link) for event in events[:traced]]
            begun = [event.traced(traceparent_of(each)) for event, (_, each) in zip(events, spans, strict=False)]
            try:
                yield [*begun, *events[traced:]]
            except BaseException as error:
                for _, publish in spans:
                    publish.set_attribute("error.type", type(error).__qualname__)
                    publish.set_status(StatusCode.ERROR)
                raise
            finally:
                for read, publish in spans:
                    publish.end()
                    read.end()

    def _begun(self, event: Event, page: Link) -> tuple[Span, Span]:
        """A span for the row, from when its change was seen, and within it one for the event."""
        read = tracer.start_span(
            f"read {self._adapter}.{event.stream}",
            trace.set_span_in_context(trace.INVALID_SPAN),
            links=[page],
            attributes={"ironbridge.key": event.key, "ironbridge.version": event.version},
            start_time=min(int(event.time.timestamp() * 1e9), time.time_ns()),
        )
        publish = tracer.start_span(
            f"publish {event.entity}",
            trace.set_span_in_context(read),
            kind=SpanKind.PRODUCER,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "send",
                "messaging.destination.name": event.entity,
                "messaging.kafka.message.key": event.key,
                "messaging.kafka.message.tombstone": event.data is None,
            },
        )
        return read, publish


def start(settings: TelemetrySettings, *extra: SpanProcessor, instance: str | None = None) -> Callable[[], None]:
    """
    Send spans and metrics where the settings say; gives back what flushes and stops it. Without a destination it costs nothing.

    `instance` tells this process from the others of the service; the environment's OTEL_RESOURCE_ATTRIBUTES,
    OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_CERTIFICATE are heeded as everywhere.
    """
    about = {"service.name": settings.service_name, "service.version": version("ironbridge")}
    about["service.instance.id"] = instance or f"{os.uname().nodename}:{os.getpid()}"
    resource = Resource.create(about)
    stops = [_start_tracing(settings, resource, extra), _start_metrics(settings, resource)]

    def stop() -> None:
        for each in stops:
            each()

    return stop


def _start_tracing(
    settings: TelemetrySettings, resource: Resource, extra: Sequence[SpanProcessor]
) -> Callable[[], None]:
    processors = list(extra)
    if settings.endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # a third of a second

        exporter = OTLPSpanExporter(endpoint=settings.endpoint.rstrip("/") + "/v1/traces")
        processors.append(BatchSpanProcessor(exporter, max_queue_size=_QUEUE, schedule_delay_millis=1000))
    if settings.console:
        processors.append(SimpleSpanProcessor(ConsoleSpanExporter(formatter=_line)))
    if not processors:
        return lambda: None
    # A write of a whole batch is linked with every change in it.
    provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_links=1024))
    for processor in processors:
        provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    return provider.shutdown


def _start_metrics(settings: TelemetrySettings, resource: Resource) -> Callable[[], None]:
    if not settings.endpoint:
        return lambda: None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider  # a twelfth of all that a start imports
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = OTLPMetricExporter(endpoint=settings.endpoint.rstrip("/") + "/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=settings.metrics_every * 1000)
    provider = MeterProvider([reader], resource=resource)
    metrics.set_meter_provider(provider)
    return provider.shutdown


def _line(span: ReadableSpan) -> str:
    context = span.get_span_context()
    took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    identity = format_trace_id(context.trace_id)[:8] if context else "-"
    about = " ".join(f"{k}={v!r}" for k, v in (span.attributes or {}).items())
    return f"{identity} {span.name:32} {took:8.1f} ms  {about}\n"
