"""
This module reads what a request asks for: the stream or flow that its path names, and the texts and numbers of its
address and its form.
"""

from __future__ import annotations

import re

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ironbridge.console.picture import Arrow
from ironbridge.console.room import room_of


async def arrow_of(request: Request) -> Arrow:
    """:raises HTTPException: 404, the path names no stream and no flow."""
    picture = await room_of(request).painter.picture()
    arrow = picture.arrow(request.path_params["name"])
    if arrow is None:
        raise HTTPException(404, "There is no stream and no flow of that name here.")
    return arrow


async def stream_of(request: Request) -> tuple[str, str]:
    """The adapter and its stream. :raises HTTPException: 404, the path names no stream of an adapter."""
    adapter, _, stream = (await arrow_of(request)).name.partition(".")
    if not stream:
        raise HTTPException(404, "There is no stream of that name here.")
    return adapter, stream


def flow_of(request: Request) -> str:
    """:raises HTTPException: 404, the path names no flow."""
    flow: str = request.path_params.get("flow") or request.path_params["name"]
    if flow not in room_of(request).built.deliveries:
        raise HTTPException(404, "There is no flow of that name here.")
    return flow


def text_of(form: FormData, name: str, longest: int = 500) -> str:
    """A text of a form, cut off behind so many characters; empty if there is none."""
    return str(form.get(name, "")).strip()[:longest]


def number_of(text: str | None) -> int:
    """A number out of an address, which may contain anything; 1 if it is none."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,6}", text) else 1


def key_of(text: str | None) -> str:
    """A record's key out of an address, which may contain anything."""
    return (text or "")[:500].replace("\0", "")
