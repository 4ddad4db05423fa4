"""One stream or one flow: how it stands, what it does again, and what may be done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.access import Right
from ironbridge.console.asked import arrow_of, flow_of, stream_of, text_of
from ironbridge.console.jobs import BackgroundJob
from ironbridge.console.page import ConsolePage, Form
from ironbridge.console.room import actor, room_of
from ironbridge.console.shown import GOT_ON, NO_REASON, ROWS, counted, said, say, see, show
from ironbridge.operate import audit, held, insight, steer
from ironbridge.operate.audit import Actor
from ironbridge.store import Store

REACHES = {"hour": 3600.0, "day": 86400.0, "week": 7 * 86400.0, "all": None}  # how far back a replay looks, in seconds
UNDER_WAY = "It is under way already: nothing was done, and nothing is on record."
_LOOK = 0.5  # seconds between two looks at how far a backfill is


async def look(request: Request) -> Response:
    return await _part(request, done=said(request))


async def live(request: Request) -> Response:
    return await _part(request, "part/live.html")


async def _part(request: Request, template: str = "part/page.html", status: int = 200, **context: Any) -> Response:
    room, arrow = room_of(request), await arrow_of(request)
    return show(
        request, template, status, arrow=arrow,
        paused_by=await audit.paused_by(room.store, arrow.name) if arrow.paused else None,
        kept_back=await held.entries(room.store, arrow.name) if "." in arrow.name else [],
        files=await insight.files(room.store, arrow.name, ROWS) if "." in arrow.name else [],
        again=room.jobs.get(_job(arrow.name)), **context,
    )  # fmt: skip


async def _refused(request: Request, box: str, error: str, status: int = 422, **context: Any) -> Response:
    """The page again, which says what the form lacks in one of its boxes."""
    return await _part(request, status=status, wrong=box, error_at=f"#{box}", error=error, **context)


# -- pause, resume, release, let through ------------------------------------------------------------------------------


async def pause(request: Request, form: FormData) -> Response:
    why = text_of(form, "why")
    return await _done(request, steer.pause, why) if why else await _refused(request, "why", NO_REASON)


async def resume(request: Request, form: FormData) -> Response:
    return await _done(request, steer.resume, text_of(form, "why"))


async def _done(request: Request, act: Callable[[Store, Actor, str, str], Awaitable[None]], why: str) -> Response:
    room, name = room_of(request), (await arrow_of(request)).name
    await act(room.store, actor(request), name, why)
    room.forget()
    return see(_address(name))


async def release(request: Request, form: FormData) -> Response:
    """Lift the silence that a flow's target has asked for."""
    room, flow, why = room_of(request), flow_of(request), text_of(form, "why")
    if not why:
        return await _refused(request, "why-now", NO_REASON)
    await steer.release(room.store, actor(request), flow, why)
    room.forget()
    return see(_address(flow))


async def allow(request: Request, form: FormData) -> Response:
    """Let through the changes of a stream that the guard holds back: as many as the page has shown, and a tenth more."""
    room, what, why = room_of(request), text_of(form, "what"), text_of(form, "why")
    part = ".".join(await stream_of(request))
    file, most = text_of(form, "file") or None, text_of(form, "most", 12)
    if not why:
        return await _refused(request, f"why-{text_of(form, 'number', 3)}", NO_REASON)
    shown = int(most) if most.isascii() and most.isdigit() else 0
    let = await held.allow(room.store, actor(request), part, why, what=what, file=file, most=shown)
    room.forget()
    say(request, f"{let[0].told}: let through. It is published with the next reading." if let else GOT_ON)
    return see(_address(part))


# -- replay, backfill -------------------------------------------------------------------------------------------------


async def replay(request: Request, form: FormData) -> Response:
    """Have a flow look at its records again: all, or those that changed of late."""
    room, flow, by = room_of(request), flow_of(request), actor(request)
    reach, rewrite, why = text_of(form, "reach"), text_of(form, "rewrite") == "yes", text_of(form, "why")
    if reach not in REACHES:
        return await _refused(request, "reach", "Choose which records.", rewrite=rewrite)
    if not why:
        return await _refused(request, "why-again", NO_REASON, reach=reach, rewrite=rewrite)
    back = REACHES[reach]
    since = None if back is None else room.store.clock() - back

    async def work(_: BackgroundJob) -> str:
        wanted = room.built.deliveries[flow].flow
        count = await steer.replay(room.store, by, wanted, why, since=since, rewrite=rewrite)
        return f"{counted(count, 'record')} to look at again." if count else "none of its records had changed by then."

    return await _again(request, flow, work)


async def backfill(request: Request, form: FormData) -> Response:
    """Have a stream read whole again. Its running adapter does that; this process shows how far it is."""
    room, by, why = room_of(request), actor(request), text_of(form, "why")
    adapter, stream = await stream_of(request)
    if not why:
        return await _refused(request, "why-again", NO_REASON)

    async def work(job: BackgroundJob) -> str:
        job.step = told = "it waits for its adapter"
        asked = await steer.backfill(room.store, by, adapter, stream, why)
        async for stands in steer.watched(room.store, adapter, stream, asked):
            if stands.taken_up:
                told = f"{counted(stands.read, 'row')} read, {counted(stands.published, 'event')} published"
                job.step = stands.error or told
            if not stands.done:
                await asyncio.sleep(_LOOK)
        return f"{told}."

    return await _again(request, f"{adapter}.{stream}", work)


async def _again(request: Request, name: str, work: Callable[[BackgroundJob], Coroutine[Any, Any, str]]) -> Response:
    room = room_of(request)
    if room.jobs.running(_job(name)):
        return await _refused(request, "why-again", UNDER_WAY, 409)
    room.jobs.begin(_job(name), request.user.display_name, work)
    room.forget()
    return see(_address(name))


def _job(part: str) -> str:
    return f"again {part}"


def _address(part: str) -> str:
    return f"/part/{part}"


PAGE = ConsolePage(
    {"/part/{name}": look, "/live/part/{name}": live},
    [
        Form("/part/{name}/pause", Right.ACT, pause), Form("/part/{name}/resume", Right.ACT, resume),
        Form("/part/{name}/release", Right.ACT, release), Form("/part/{name}/allow", Right.ACT, allow),
        Form("/part/{name}/replay", Right.ACT, replay), Form("/part/{name}/backfill", Right.ACT, backfill),
    ],
)  # fmt: skip
