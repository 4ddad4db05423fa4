"""
Reading legacy systems is counted and measured here, a page at a time, by OpenTelemetry's API: nothing where nobody
listens.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from adapters.engine.journal import Problem
from canonical import Event

meter = metrics.get_meter(__name__)
tracer = trace.get_tracer(__name__)

rows_read = meter.create_counter("ironbridge.stream.rows.read", unit="{row}", description="Rows read and compared")
rows_changed = meter.create_counter(
    "ironbridge.stream.rows.changed",
    unit="{row}",
    description="Rows that became an event, saved after it was published",
)
rows_quarantined = meter.create_counter(
    "ironbridge.stream.rows.quarantined",
    unit="{row}",
    description="Rows that could not be mapped, each time they are met",
)
# Its buckets are those that the semantic conventions name for it.
selects = meter.create_histogram(
    "db.client.operation.duration", unit="s", description="Reading a page of a legacy system",
    explicit_bucket_boundaries_advisory=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10),
)  # fmt: skip

_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}


def count(adapter: str, stream: str, read: int, events: Sequence[Event], problems: Sequence[Problem]) -> None:
    """Count one page, once it is safe."""
    about: dict[str, AttributeValue] = {"ironbridge.adapter": adapter, "ironbridge.stream": stream}
    if read:
        rows_read.add(read, about)
    for (entity, gone), number in Counter((event.entity, event.data is None) for event in events).items():
        kind: dict[str, AttributeValue] = {
            "ironbridge.entity": entity,
            "ironbridge.change": "delete" if gone else "upsert",
        }
        rows_changed.add(number, about | kind)
    if problems:
        rows_quarantined.add(len(problems), about)


@contextmanager
def selecting(adapter: str, kind: str, tables: str) -> Iterator[None]:
    """A span and a measurement of one query of a legacy system; `kind` is SQLAlchemy's word for its database."""
    about: dict[str, AttributeValue] = {
        "db.system.name": _SYSTEMS.get(kind, kind), "db.operation.name": "SELECT", "db.collection.name": tables,
        "ironbridge.adapter": adapter,
    }  # fmt: skip
    began = time.perf_counter()
    with tracer.start_as_current_span(
        f"SELECT {tables}",
        kind=SpanKind.CLIENT,
        attributes=about,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except Exception as error:
            about["error.type"] = type(error).__qualname__  # never its text: it may quote a row
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            selects.record(time.perf_counter() - began, about)
