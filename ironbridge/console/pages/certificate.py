"""A certificate: what a comparison of all sides has found, to look at and to keep."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.page import ConsolePage
from ironbridge.console.room import room_of
from ironbridge.console.shown import show
from ironbridge.operate import reconcile

MOST = 500
"""Differences that the page shows; the files have all."""


async def look(request: Request) -> Response:
    found = await _certificate(request)
    return show(request, "certificate/page.html", certificate=found, shown=found.differences[:MOST])


async def file(request: Request) -> Response:
    """The certificate whole, to keep. It is a file and no page, because it brings its own style."""
    found, form = await _certificate(request), str(request.path_params["form"])
    made = {
        "html": (found.as_html, "text/html"),
        "csv": (found.as_csv, "text/csv"),
        "json": (found.as_json, "application/json"),
    }
    if form not in made:
        raise HTTPException(404, "A certificate is had as html, csv or json.")
    text, kind = made[form]
    name = f"agreement-{found.flow}-{found.verified:%Y%m%dT%H%M%SZ}.{form}"
    return Response(text(), media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})


async def _certificate(request: Request) -> reconcile.Certificate:
    found = await reconcile.kept_one(room_of(request).store, request.path_params["id"])
    if found is None:
        raise HTTPException(404, "There is no certificate of that number.")
    return found


PAGE = ConsolePage({"/certificate/{id:int}": look, "/certificate/{id:int}/{form}": file})
