"""The trace of a change, carried as a W3C `traceparent` from the row that was read to the target's answer."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    format_trace_id,
    set_span_in_context,
)


def context_of(traceparent: str | None) -> Context | None:
    """The context to go on in, None where the change was not sampled: then nothing is recorded and nothing is paid."""
    if not traceparent or len(traceparent) != 55 or not traceparent.endswith("01"):
        return None
    _, trace, span, flags = traceparent.split("-")
    remote = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(remote))


def trace_id(span: Span | None) -> str | None:
    return None if span is None else format_trace_id(span.get_span_context().trace_id)
