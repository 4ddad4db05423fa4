"""This page shows what people did here and at the command line."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.asked import number_of
from ironbridge.console.page import ConsolePage, Entry
from ironbridge.console.room import room_of
from ironbridge.console.shown import ROWS, show
from ironbridge.operate import audit


async def look(request: Request) -> Response:
    before = request.query_params.get("before")
    rows = await audit.trail(room_of(request).store, most=ROWS, before=number_of(before) if before else None)
    return show(request, "audit/page.html", rows=rows, more=len(rows) == ROWS)


PAGE = ConsolePage({"/audit": look}, entry=Entry(80, "/audit", "Audit"))
