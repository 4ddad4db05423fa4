"""Counts and measures the runtime itself: Kafka, by OpenTelemetry's conventions for messaging, and the state."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import metrics
from opentelemetry.util.types import AttributeValue

meter = metrics.get_meter(__name__)

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60)
sent = meter.create_counter(
    "messaging.client.sent.messages",
    unit="{message}",
    description="Events published, once their transaction is committed",
)
consumed = meter.create_counter(
    "messaging.client.consumed.messages", unit="{message}", description="Records that a flow was given by Kafka"
)
operations = meter.create_histogram(
    "messaging.client.operation.duration", unit="s", description="A transaction with all its events, or a poll",
    explicit_bucket_boundaries_advisory=_BUCKETS,
)  # fmt: skip
transactions = meter.create_histogram(
    "ironbridge.state.operation.duration", unit="s", description="Reading the state, or one transaction that writes it",
    explicit_bucket_boundaries_advisory=_BUCKETS,
)  # fmt: skip
held = meter.create_histogram(
    "ironbridge.loop.held", unit="s", description="Processor time for which the event loop was held, if that was too long",
    explicit_bucket_boundaries_advisory=_BUCKETS,
)  # fmt: skip


def count_sent(client: str, topics: Iterable[str]) -> None:
    """Count events by their topic; `client` is the adapter's name."""
    for topic, number in Counter(topics).items():
        sent.add(number, _kafka("send", client) | {"messaging.destination.name": topic})


def count_consumed(group: str, records: dict[str, int]) -> None:
    """Count records by their topic, for a flow's consumer group."""
    for topic, number in records.items():
        consumed.add(number, _kafka("poll", group) | {"messaging.destination.name": topic})


def _kafka(operation: str, who: str) -> dict[str, AttributeValue]:
    name = "messaging.consumer.group.name" if operation == "poll" else "messaging.client.id"
    return {"messaging.system": "kafka", "messaging.operation.name": operation, name: who}


def kafka_operation(operation: str, who: str) -> AbstractContextManager[None]:
    """Measure a poll of a flow's or a transaction (`commit`) of an adapter's."""
    return _measured(operations, _kafka(operation, who))


def state_operation(access: str, system: str) -> AbstractContextManager[None]:
    """Measure a `read` of the state, or a `write`."""
    return _measured(transactions, {"ironbridge.access": access, "db.system.name": system})


@contextmanager
def _measured(duration: metrics.Histogram, about: dict[str, AttributeValue]) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    except Exception as error:
        about["error.type"] = type(error).__qualname__
        raise
    finally:
        duration.record(time.perf_counter() - began, about)
