"""
This page shows whether legacy systems, events and a cloud system hold the same, asked of the systems themselves, with a
certificate.
"""

from __future__ import annotations

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.access import Right
from ironbridge.console.asked import flow_of
from ironbridge.console.jobs import BackgroundJob
from ironbridge.console.page import ConsolePage, Entry, Form
from ironbridge.console.room import actor, room_of
from ironbridge.console.shown import see, show
from ironbridge.operate import reconcile


async def every(request: Request) -> Response:
    room = room_of(request)
    flows = {flow: await reconcile.kept(room.store, flow, 1) for flow in room.built.deliveries}
    under_way = {flow for flow in flows if room.jobs.running(_job(flow))}
    return show(request, "agreement/every.html", flows=flows, under_way=under_way)


async def look(request: Request) -> Response:
    return await _agreement(request, "agreement/page.html")


async def live(request: Request) -> Response:
    return await _agreement(request, "agreement/live.html")


async def _agreement(request: Request, template: str) -> Response:
    room, flow = room_of(request), flow_of(request)
    certificates = await reconcile.kept(room.store, flow)
    return show(request, template, flow=flow, job=room.jobs.get(_job(flow)), certificates=certificates)


async def compare(request: Request, form: FormData) -> Response:
    """Compare all sides of a flow. It reads only, but it asks the target for all that it holds."""
    room, flow, by = room_of(request), flow_of(request), actor(request)

    async def work(job: BackgroundJob) -> int | None:
        def say(step: str) -> None:
            job.step = step

        return (await reconcile.reconcile(room.built.settings, flow, by, say=say)).id

    room.jobs.begin(_job(flow), by.who, work)
    return see(f"/agreement/{flow}")


def _job(flow: str) -> str:
    return f"agreement {flow}"


PAGE = ConsolePage(
    {"/agreement": every, "/agreement/{flow}": look, "/live/agreement/{flow}": live},
    [Form("/agreement/{flow}", Right.ACT, compare)],
    Entry(60, "/agreement", "Agreement"),
)
