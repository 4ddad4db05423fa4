"""This page shows what happened to recent changes, step by step, from the row that was read to the cloud system's answer."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.page import ConsolePage, Entry
from ironbridge.console.room import room_of
from ironbridge.console.shown import show


async def look(request: Request) -> Response:
    return await _traces(request, "traces/page.html")


async def live(request: Request) -> Response:
    return await _traces(request, "traces/live.html")


async def _traces(request: Request, template: str) -> Response:
    room = room_of(request)
    spans, viewer = room.spans, urlsplit(room.built.settings.console.trace_url or "")
    return show(
        request, template, traces=await run_in_threadpool(spans.recent) if spans else [], kept=spans is not None,
        viewer=f"{viewer.scheme}://{viewer.netloc}/" if viewer.netloc else "",
    )  # fmt: skip


async def trace(request: Request) -> Response:
    """One trace, each step with when it began and how long it took."""
    spans, name = room_of(request).spans, str(request.path_params["trace"])
    found = await run_in_threadpool(spans.trace, name) if spans and re.fullmatch(r"[0-9a-f]{32}", name) else []
    began = min((span.began for span in found), default=0)
    whole = max((span.began + span.took for span in found), default=0) - began
    return show(
        request, "traces/trace.html", 200 if found else 404, trace=name, spans=found, began=began, whole=max(whole, 1)
    )


PAGE = ConsolePage(
    {"/traces": look, "/live/traces": live, "/traces/{trace}": trace}, entry=Entry(70, "/traces", "Traces")
)
