"""Parked and quarantined: all records that do not get on by themselves, grouped by their reason."""

from __future__ import annotations

from math import ceil
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.asked import number_of
from ironbridge.console.page import ConsolePage, Entry
from ironbridge.console.room import room_of
from ironbridge.console.shown import said, show
from ironbridge.operate import held
from ironbridge.operate.stuck import SHOWN, groups


async def look(request: Request) -> Response:
    return await _stuck(request, "stuck/page.html", done=said(request))


async def live(request: Request) -> Response:
    return await _stuck(request, "stuck/live.html")


async def _stuck(request: Request, template: str, **context: Any) -> Response:
    room, number = room_of(request), number_of(request.query_params.get("page"))
    listing = await room.groups() if number == 1 else await groups(room.store, SHOWN, (number - 1) * SHOWN)
    return show(
        request, template, listing=listing, number=number, pages=max(ceil(listing.total / SHOWN), 1),
        kept_back=await held.entries(room.store), next=held.NEXT, **context,
    )  # fmt: skip


PAGE = ConsolePage({"/stuck": look, "/live/stuck": live}, entry=Entry(30, "/stuck", "Parked"))
