"""Recent spans in their file: those of changes outlive those of readings that found nothing, and none is worth an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, Tracer

from ironbridge.observe.spans import SpanFile

KEEP = 400


@pytest.fixture
def kept(tmp_path: Path) -> SpanFile:
    return SpanFile(tmp_path / "deep" / "spans.sqlite3", KEEP)


def tracer(kept: SpanFile) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return provider.get_tracer("test")


def change(tracing: Tracer, key: str) -> tuple[str, str]:
    """One change and the write that it shared with others: their traces."""
    with tracing.start_as_current_span("write many") as joint:
        pass
    with tracing.start_as_current_span("read") as root, tracing.start_as_current_span(
        "agree", attributes={"ironbridge.key": key}, links=[Link(joint.get_span_context())]
    ):
        pass
    return f"{root.get_span_context().trace_id:032x}", f"{joint.get_span_context().trace_id:032x}"


def idle(tracing: Tracer, times: int) -> None:
    for _ in range(times):
        with tracing.start_as_current_span("read"), tracing.start_as_current_span("SELECT"):
            pass


def count(kept: SpanFile) -> int:
    with kept._opened() as connection:
        found: int = connection.execute("SELECT count(*) FROM spans").fetchone()[0]
        return found


def test_a_change_is_still_shown_after_many_readings_that_found_nothing(kept: SpanFile):
    tracing = tracer(kept)
    trace, joint = change(tracing, "legacy:person:1")
    idle(tracing, 2 * KEEP)
    assert [(each.trace, each.key, each.spans) for each in kept.recent()] == [(trace, "legacy:person:1", 2)]
    assert [span.name for span in kept.trace(trace)] == ["read", "agree", "write many"]
    assert kept.trace(joint)
    assert count(kept) < KEEP / 2


def test_of_more_than_it_keeps_the_oldest_go(kept: SpanFile):
    tracing = tracer(kept)
    for number in range(KEEP):
        change(tracing, f"legacy:person:{number}")
    assert count(kept) <= KEEP * 1.1
    newest = kept.recent(KEEP)
    assert newest[0].key == f"legacy:person:{KEEP - 1}"
    assert "legacy:person:0" not in {each.key for each in newest}


def test_a_folder_that_cannot_be_made_keeps_and_shows_nothing(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    kept = SpanFile(tmp_path / "file" / "spans.sqlite3")
    assert kept.export([]) is SpanExportResult.FAILURE
    assert kept.recent() == []
    assert kept.trace("0" * 32) == []
