"""The trace of a change, carried as a W3C `traceparent` from the row that was read to the target's answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from canonical import Event
from flows.engine.ledger import Settlement, Task

tracer = trace.get_tracer(__name__)

_UNHAPPY = ("refused", "unavailable", "unknown")


def context_of(traceparent: str | None) -> Context | None:
    """The context to go on in, None where the change was not sampled: then nothing is recorded and nothing is paid."""
    if not traceparent or len(traceparent) != 55 or not traceparent.endswith("01"):
        return None
    _, trace, span, flags = traceparent.split("-")
    remote = SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(remote))


def traceparent_of(span: Span) -> str | None:
    """Give the header by which others go on in a span's trace; None if the span is not recorded, for there is no trace then."""
    context = span.get_span_context()
    if not context.trace_flags.sampled:
        return None
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01"


@contextmanager
def ingesting(flow: str, arrived: Sequence[tuple[Event, int]]) -> Iterator[list[str | None]]:
    """
    A span for the batch, and one in each traced change's own trace, linked with it; gives the changes' traces as they go on
    from here. They end once the batch is durable.
    """
    attributes = {"messaging.system": "kafka", "messaging.operation.type": "process", "ironbridge.flow": flow}
    with tracer.start_as_current_span(f"ingest {flow}", kind=SpanKind.CONSUMER, attributes=attributes) as batch:
        batch.set_attribute("messaging.batch.message_count", len(arrived))
        link = Link(batch.get_span_context())
        spans: list[Span | None] = []
        for event, partition in arrived:
            context = context_of(event.traceparent)
            spans.append(
                None if context is None else tracer.start_span(
                    f"ingest {event.entity}", context, SpanKind.CONSUMER,
                    attributes | {"messaging.destination.partition.id": str(partition)}, [link],
                )
            )  # fmt: skip
        try:
            yield [None if span is None else traceparent_of(span) for span in spans]
        finally:
            _end(span for span in spans if span is not None)


class Journeys:
    """
    The changes in a worker's hand: one span for each that is traced, in its own trace, until its subject is settled.

    Several changes of one subject come to one write; each of them has its span, so that no trace ends in the middle.
    """

    def __init__(self, flow: str, tasks: Iterable[Task]) -> None:
        self._flow = flow
        self._spans = {task.subject: spans for task in tasks if task.traces and (spans := self._begun(task))}

    def _begun(self, task: Task) -> list[Span]:
        attributes: dict[str, AttributeValue] = {"ironbridge.flow": self._flow, "ironbridge.subject": task.subject}
        attributes["ironbridge.attempt"] = task.attempts
        contexts = [context for each in (task.traces or "").split() if (context := context_of(each))]
        return [tracer.start_span(f"agree {self._flow}", context, attributes=attributes) for context in contexts]

    def __enter__(self) -> Journeys:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for spans in self._spans.values():
            if kind is not None:
                for span in spans:
                    span.set_status(StatusCode.ERROR)
                    span.set_attribute("error.type", kind.__qualname__)
            _end(spans)
        self._spans.clear()

    @contextmanager
    def writing(self, target: str, subjects: Sequence[str]) -> Iterator[None]:
        """
        The span of one write. It goes on in the trace of the first change that it carries, so that a change by itself has
        all in one trace; the others are linked with it, both ways.
        """
        spans = [span for subject in subjects for span in self._spans.get(subject, ())]
        context = set_span_in_context(spans[0]) if spans else None
        links = [Link(span.get_span_context()) for span in spans[1:]]
        attributes: dict[str, AttributeValue] = {"ironbridge.target": target, "ironbridge.subjects": len(subjects)}
        with tracer.start_as_current_span(f"write {target}", context, attributes=attributes, links=links) as write:
            for span in spans[1:]:
                span.add_link(write.get_span_context())
            yield

    def context(self, subject: str) -> Context | None:
        """The newest traced change of a subject, for what is measured about it."""
        spans = self._spans.get(subject)
        return set_span_in_context(spans[0]) if spans else None

    def named(self, settlement: Settlement) -> Settlement:
        """The settlement with its newest trace, for the record's story."""
        spans = self._spans.get(settlement.task.subject)
        if not spans:
            return settlement
        return settlement._replace(trace=format_trace_id(spans[0].get_span_context().trace_id))

    def end(self, settled: Iterable[Settlement]) -> None:
        """These subjects are settled, durably: their changes' spans say how."""
        for each in settled if self._spans else ():
            spans = self._spans.pop(each.task.subject, ())
            for span in spans:
                span.set_attribute("ironbridge.outcome", each.outcome)
                if each.outcome in _UNHAPPY:
                    span.set_status(StatusCode.ERROR, each.reason)
            _end(spans)


def _end(spans: Iterable[Span]) -> None:
    for span in spans:
        span.end()
