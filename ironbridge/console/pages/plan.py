"""This page shows what a flow would write now, field by field. A plan writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.access import Right
from ironbridge.console.asked import flow_of
from ironbridge.console.jobs import BackgroundJob
from ironbridge.console.page import ConsolePage, Entry, Form
from ironbridge.console.room import room_of
from ironbridge.console.shown import see, show
from ironbridge.operate import insight
from ironbridge.operate.insight import Change
from ironbridge.runtime.deliveries import Delivery

MOST = 200
"""Changes that a plan shows field by field."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that was made: how many changes of each action there are, and the first ones, with values by their shape."""

    counts: Mapping[str, int]
    changes: Sequence[Change]


async def every(request: Request) -> Response:
    room = room_of(request)
    jobs = {flow: room.jobs.get(_job(flow)) for flow in room.built.deliveries}
    return show(request, "plan/every.html", jobs=jobs)


async def look(request: Request) -> Response:
    return _plan(request, "plan/page.html")


async def live(request: Request) -> Response:
    return _plan(request, "plan/live.html")


def _plan(request: Request, template: str) -> Response:
    flow = flow_of(request)
    return show(request, template, flow=flow, job=room_of(request).jobs.get(_job(flow)))


async def make(request: Request, form: FormData) -> Response:
    """Make a plan, and show how far it is."""
    room, flow = room_of(request), flow_of(request)
    delivery = room.built.deliveries[flow]
    room.jobs.begin(_job(flow), request.user.display_name, lambda job: _made(job, delivery))
    return see(f"/plan/{flow}")


async def _made(job: BackgroundJob, delivery: Delivery) -> Planned:
    counts: Counter[str] = Counter()
    shown: list[Change] = []
    async for change in insight.plan(delivery.agreement, delivery.ledger):
        job.done += 1
        counts[change.action] += 1
        if len(shown) < MOST:
            shown.append(change.shown(reveal=False))
    return Planned(counts, shown)


def _job(flow: str) -> str:
    return f"plan {flow}"


PAGE = ConsolePage(
    {"/plan": every, "/plan/{flow}": look, "/live/plan/{flow}": live},
    [Form("/plan/{flow}", Right.LOOK, make)],
    Entry(50, "/plan", "Plan"),
)
