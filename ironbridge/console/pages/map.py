"""The map: legacy systems, topics and cloud systems, and how each arrow between them stands."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.drawing import draw
from ironbridge.console.page import ConsolePage, Entry
from ironbridge.console.picture import Picture
from ironbridge.console.room import room_of
from ironbridge.console.shown import show
from ironbridge.operate.stuck import STATES, Listing


async def look(request: Request) -> Response:
    return await _map(request, "map/page.html")


async def live(request: Request) -> Response:
    return await _map(request, "map/live.html")


async def _map(request: Request, template: str) -> Response:
    room = room_of(request)
    picture = await room.painter.picture()
    tally = _tally(picture, await room.groups())
    but_for = _but_for(tally) if picture.state == "agrees" else ""
    return show(request, template, picture=picture, drawing=draw(picture), tally=tally, but_for=but_for)


def _tally(picture: Picture, listing: Listing) -> dict[str, int]:
    """Return what the tiles say: subjects and rows by how they stand."""
    unwell = len(picture.absent) + sum(arrow.state in ("late", "stopped") for arrow in picture.arrows)
    return listing.counts | {"unwell": unwell, "busy": sum(arrow.busy for arrow in picture.arrows)}


def _but_for(tally: dict[str, int]) -> str:
    """`, but for what is parked, quarantined or given up`: of these only what there is."""
    there = [STATES[state].lower() for state in ("parked", "quarantined", "rejected", "dropped") if tally[state]]
    there = [", ".join(there[:-1]), there[-1]] if len(there) > 1 else there
    return f", but for what is {' or '.join(there)}" if there else ""


PAGE = ConsolePage({"/": look, "/live/map": live}, entry=Entry(10, "/", "Map"))
