"""
Late and why: what runs nowhere, what is later than expected, what has stopped, what somebody has paused, and what has waited
longest.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.page import ConsolePage, Entry
from ironbridge.console.room import room_of
from ironbridge.console.shown import show
from ironbridge.operate import audit, insight


async def look(request: Request) -> Response:
    return await _late(request, "late/page.html")


async def live(request: Request) -> Response:
    return await _late(request, "late/live.html")


async def _late(request: Request, template: str) -> Response:
    room = room_of(request)
    picture = await room.painter.picture()
    unwell = [arrow for arrow in picture.arrows if arrow.state not in ("agrees", "busy", "absent")]
    paused_by = {arrow.name: await audit.paused_by(room.store, arrow.name) for arrow in unwell if arrow.paused}
    oldest = await insight.oldest(room.store)
    return show(request, template, picture=picture, unwell=unwell, paused_by=paused_by, oldest=oldest)


async def dependencies(request: Request) -> Response:
    """Kafka and the state. The page asks for them apart, because a server that is away answers only after its time-out."""
    found = await room_of(request).dependencies()
    return show(request, "late/dependencies.html", dependencies=[verdict for verdict in found if not verdict.well])


PAGE = ConsolePage(
    {"/late": look, "/live/late": live, "/live/dependencies": dependencies}, entry=Entry(20, "/late", "Late and why")
)
