"""Agreement is counted and measured here, a batch at a time, by OpenTelemetry's API: nothing where nobody listens."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from flows.engine.ledger import Settlement

meter = metrics.get_meter(__name__)

settled = meter.create_counter(
    "ironbridge.flow.settled", unit="{subject}", description="Subjects settled, by what became of them"
)
saved = meter.create_counter(
    "ironbridge.flow.writes.saved", unit="{write}", description="Changes that needed no write of their own"
)
latency = meter.create_histogram(
    "ironbridge.flow.change.duration",
    unit="s",
    description="From a change's being seen in the legacy system to its confirmation by the target",
    explicit_bucket_boundaries_advisory=(0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400),
)

# Its buckets are those that the semantic conventions name for it, and one for a batch that takes its time.
requests = meter.create_histogram(
    "http.client.request.duration", unit="s", description="Duration of HTTP client requests",
    explicit_bucket_boundaries_advisory=(
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 120,
    ),
)  # fmt: skip


@contextmanager
def requesting(attributes: Mapping[str, AttributeValue]) -> Iterator[dict[str, AttributeValue]]:
    """Measures a request; gives its attributes, to which belongs what the answer was."""
    began, answered = time.perf_counter(), dict(attributes)
    try:
        yield answered
    finally:
        requests.record(time.perf_counter() - began, answered)


def measure(flow: str, batch: Sequence[Settlement], now: float, context_of: Callable[[str], Context | None]) -> None:
    """
    Count what became of a batch at `now` (seconds since 1970). `context_of` gives the trace of a subject's change, which
    becomes an exemplar.

    How long it took is asked of the oldest change that the write carried. A subject that was looked at again without one
    (a new day, a person's retry) says nothing about that.
    """
    about = {"ironbridge.flow": flow}
    for outcome, count in Counter(each.outcome for each in batch).items():
        settled.add(count, about | {"ironbridge.outcome": outcome})
    spared = sum(
        max(each.task.changes - each.confirmed, 0) for each in batch if each.confirmed or each.outcome == "unchanged"
    )
    if spared > 0:
        saved.add(spared, about)
    for each in batch:
        if each.confirmed and each.task.changes and each.task.observed is not None:
            latency.record(max(now - each.task.observed, 0.0), about, context_of(each.task.subject))
