"""The pages that look. Each takes a request and gives HTML; nothing here changes anything."""

from __future__ import annotations

import re
from math import ceil
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ironbridge.console.drawing import draw
from ironbridge.console.picture import Arrow, Picture
from ironbridge.console.room import room_of
from ironbridge.console.shown import show
from ironbridge.console.story import happenings
from ironbridge.operate import audit, held, insight, reconcile
from ironbridge.operate import stuck as groups_of
from ironbridge.operate.stuck import SHOWN, STATES, Listing, grouped
from ironbridge.store.audit import AuditEntry
from ironbridge.store.stuck import StuckPage

PAGE = 100  # records on a page of a group
SAID = "said"  # in a session: what the last form did
MOST_DIFFERENCES = 500  # that a certificate's page shows; its files have all
REACHES = {"hour": 3600.0, "day": 86400.0, "week": 7 * 86400.0, "all": None}  # how far back a replay looks, in seconds

# -- the map, and what is late ------------------------------------------------------------------------------------------


async def bridge(request: Request) -> Response:
    return await _map(request, "map.html")


async def live_map(request: Request) -> Response:
    return await _map(request, "map_live.html")


async def _map(request: Request, template: str) -> Response:
    room = room_of(request)
    picture = await room.painter.picture()
    tally = _tally(picture, await room.groups())
    but_for = _but_for(tally) if picture.state == "agrees" else ""
    return show(request, template, picture=picture, drawing=draw(picture), tally=tally, but_for=but_for)


def _tally(picture: Picture, listing: Listing) -> dict[str, int]:
    """What the tiles say: subjects and rows by how they stand."""
    unwell = sum(arrow.state in ("late", "stopped") for arrow in picture.arrows)
    return listing.counts | {"unwell": unwell, "busy": sum(arrow.busy for arrow in picture.arrows)}


def _but_for(tally: dict[str, int]) -> str:
    """`, but for what is parked, quarantined or given up`: of these only what there is."""
    there = [STATES[state].lower() for state in ("parked", "quarantined", "rejected", "dropped") if tally[state]]
    there = [", ".join(there[:-1]), there[-1]] if len(there) > 1 else there
    return f", but for what is {' or '.join(there)}" if there else ""


async def part(request: Request) -> Response:
    return await part_page(request, done=_said(request))


async def live_part(request: Request) -> Response:
    return await part_page(request, "part_live.html")


async def part_page(
    request: Request, template: str = "part.html", status: int = 200, *, wrong: str = "", **context: Any
) -> Response:
    """One arrow of the map: how it stands, what it does again, and what may be done to it. `wrong` is the box that lacks."""
    arrow = await arrow_of(request)
    paused = await _paused_by(request, arrow) if arrow.paused else None
    kept_back = await held.entries(room_of(request).store, arrow.name) if "." in arrow.name else []
    again = room_of(request).jobs.get(f"again {arrow.name}")
    where = {"wrong": wrong, "error_at": f"#{wrong}"} if wrong else {}
    return show(request, template, status, arrow=arrow, paused_by=paused, kept_back=kept_back, again=again, **where, **context)


async def arrow_of(request: Request) -> Arrow:
    """:raises HTTPException: 404, the path names no stream and no flow."""
    picture = await room_of(request).painter.picture()
    arrow = picture.arrow(request.path_params["name"])
    if arrow is None:
        raise HTTPException(404, "There is no stream and no flow of that name here.")
    return arrow


async def stream_of(request: Request) -> tuple[str, str]:
    """:raises HTTPException: 404, the path names no stream of an adapter."""
    adapter, _, stream = (await arrow_of(request)).name.partition(".")
    if not stream:
        raise HTTPException(404, "There is no stream of that name here.")
    return adapter, stream


async def late(request: Request) -> Response:
    return await _late(request, "late.html")


async def live_late(request: Request) -> Response:
    return await _late(request, "late_live.html")


async def _late(request: Request, template: str) -> Response:
    room = room_of(request)
    picture = await room.painter.picture()
    unwell = [arrow for arrow in picture.arrows if arrow.state not in ("agrees", "busy")]
    paused = {arrow.name: await _paused_by(request, arrow) for arrow in unwell if arrow.paused}
    oldest = await insight.oldest(room.store)
    return show(request, template, picture=picture, unwell=unwell, paused_by=paused, oldest=oldest)


async def _paused_by(request: Request, arrow: Arrow) -> AuditEntry | None:
    """Who has paused it, when and why, by the audit trail."""
    actions = await audit.about(room_of(request).store, arrow.name)
    return next((each for each in actions if each.action == audit.Action.PAUSE), None)


async def live_dependencies(request: Request) -> Response:
    """Kafka and the state: a page of its own, for what does not answer takes its time not to."""
    found = await room_of(request).dependencies()
    return show(request, "dependencies_live.html", dependencies=[verdict for verdict in found if not verdict.well])


# -- parked and quarantined -------------------------------------------------------------------------------------------


async def stuck(request: Request) -> Response:
    return await _stuck(request, "stuck.html", done=_said(request))


async def live_stuck(request: Request) -> Response:
    return await _stuck(request, "stuck_live.html")


async def _stuck(request: Request, template: str, **context: Any) -> Response:
    room, number = room_of(request), _number(request.query_params.get("page"))
    listing = await room.groups() if number == 1 else await groups_of.groups(room.store, SHOWN, (number - 1) * SHOWN)
    return show(
        request,
        template,
        listing=listing,
        number=number,
        pages=max(ceil(listing.total / SHOWN), 1),
        kept_back=await held.entries(room.store),
        next=held.NEXT,
        **context,
    )


async def group(request: Request) -> Response:
    return await _group(request, "group.html", done=_said(request))


async def live_group(request: Request) -> Response:
    return await _group(request, "group_live.html")


async def sent_again(request: Request) -> Response:
    """Somebody opens a form's address as a page: after signing in again, or out of the browser's history."""
    return RedirectResponse("/stuck", 303)


def address_of(group: str, start: str = "") -> str:
    """A page of a group, beginning with a record; the page of all groups if no group has this name."""
    if not groups_of.ID.fullmatch(group):
        return "/stuck"
    return f"/stuck/{group}" + ("?" + urlencode({"from": start}) if start else "")


def _said(request: Request) -> str:
    """What the last form did: said once, on the page that follows it."""
    return str(request.session.pop(SAID, ""))


async def refused_page(request: Request, name: str, start: str, key: str, error: str) -> Response:
    """A group's page that says what a form lacks, beside the form that it was: that of a record, or of all."""
    return await _group(request, "group.html", name, 422, start=start, error=error, wrong=key)


async def _group(
    request: Request, template: str, name: str = "", status: int = 200, *, start: str = "", wrong: str = "", **context: Any
) -> Response:
    """One group with its records, a page of them at a time; an empty one says that it is no more."""
    name, store = name or request.path_params["group"], room_of(request).store
    if not groups_of.ID.fullmatch(name):
        raise HTTPException(404, "There is no group of that name.")
    found, shown = await groups_of.group(store, name), StuckPage([], earlier=False, then=None)
    start = start or _key(request.query_params.get("from"))
    if found:
        shown = await groups_of.page(store, found, PAGE, start=start, before=_key(request.query_params.get("before")))
        if wrong and wrong not in [row.key for row in shown.rows]:
            shown = await groups_of.page(store, found, PAGE, start=wrong)
    first = shown.rows[0].key if shown.rows and shown.earlier else ""
    told = {"name": name, "group": found, "shown": shown, "first": first, "here": address_of(name, first), "wrong": wrong}
    where = {"error_at": f"#why-{wrong}".replace(" ", "_")} if wrong else {}
    return show(request, template, status, **told, **where, **context)


def _key(text: str | None) -> str:
    """A key out of an address; the address may contain anything."""
    return (text or "")[:500].replace("\0", "")


def _number(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"[0-9]{1,6}", text) else 1


# -- records ----------------------------------------------------------------------------------------------------------


async def records(request: Request) -> Response:
    return show(request, "records.html", keys=None)


async def record(request: Request) -> Response:
    return await story_page(request, request.query_params.get("key", ""), revealed=False)


async def story_page(request: Request, key: str, *, revealed: bool, status: int = 200, error: str = "") -> Response:
    """A record's story, newest first."""
    store = room_of(request).store
    told = await insight.story(store, key, reveal=revealed)
    line = happenings(told, await audit.about(store, key))
    needs = [each for each in grouped(told.stuck) if each.state in ("parked", "quarantined", "rejected")]
    known = bool(told.published or told.facts or told.subjects or told.stuck)
    found = status if known else 404
    return show(
        request, "record.html", found, story=told, stuck=needs, line=line, known=known, revealed=revealed, error=error
    )


# -- plan and agreement -----------------------------------------------------------------------------------------------


async def plans(request: Request) -> Response:
    room = room_of(request)
    return show(request, "plans.html", jobs={flow: room.jobs.get(f"plan {flow}") for flow in room.built.deliveries})


async def plan(request: Request) -> Response:
    return _plan(request, "plan.html")


async def live_plan(request: Request) -> Response:
    return _plan(request, "plan_live.html")


def _plan(request: Request, template: str) -> Response:
    flow = flow_of(request)
    return show(request, template, flow=flow, job=room_of(request).jobs.get(f"plan {flow}"))


def flow_of(request: Request) -> str:
    """:raises HTTPException: 404, the path names no flow."""
    flow: str = request.path_params.get("flow") or request.path_params["name"]
    if flow not in room_of(request).built.deliveries:
        raise HTTPException(404, "There is no flow of that name here.")
    return flow


async def agreements(request: Request) -> Response:
    room = room_of(request)
    flows = {flow: await reconcile.kept(room.store, flow, 1) for flow in room.built.deliveries}
    return show(request, "agreements.html", flows=flows, jobs=room.jobs)


async def agreement(request: Request) -> Response:
    return await _agreement(request, "agreement.html")


async def live_agreement(request: Request) -> Response:
    return await _agreement(request, "agreement_live.html")


async def _agreement(request: Request, template: str) -> Response:
    room, flow = room_of(request), flow_of(request)
    certificates = await reconcile.kept(room.store, flow)
    return show(request, template, flow=flow, job=room.jobs.get(f"agreement {flow}"), certificates=certificates)


async def certificate(request: Request) -> Response:
    found = await _certificate(request)
    return show(request, "certificate.html", certificate=found, shown=found.differences[:MOST_DIFFERENCES])


async def certificate_file(request: Request) -> Response:
    """The certificate whole, to keep: a file and no page, for it brings its own style."""
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


# -- traces -----------------------------------------------------------------------------------------------------------


async def traces(request: Request) -> Response:
    return await _traces(request, "traces.html")


async def live_traces(request: Request) -> Response:
    return await _traces(request, "traces_live.html")


async def _traces(request: Request, template: str) -> Response:
    room = room_of(request)
    spans, viewer = room.spans, urlsplit(room.built.settings.console.trace_url or "")
    return show(
        request, template, traces=await run_in_threadpool(spans.recent) if spans else [], kept=spans is not None,
        viewer=f"{viewer.scheme}://{viewer.netloc}/" if viewer.netloc else "",
    )  # fmt: skip


async def trace(request: Request) -> Response:
    spans, name = room_of(request).spans, str(request.path_params["trace"])
    found = await run_in_threadpool(spans.trace, name) if spans and re.fullmatch(r"[0-9a-f]{32}", name) else []
    began = min((span.began for span in found), default=0)
    whole = max((span.began + span.took for span in found), default=0) - began
    return show(request, "trace.html", 200 if found else 404, trace=name, spans=found, began=began, whole=max(whole, 1))


# -- the rest ---------------------------------------------------------------------------------------------------------


async def audit_trail(request: Request) -> Response:
    before = request.query_params.get("before")
    rows = await audit.trail(room_of(request).store, most=PAGE, before=_number(before) if before else None)
    return show(request, "audit.html", rows=rows, more=len(rows) == PAGE)


async def signed_out(request: Request) -> Response:
    return show(request, "signed_out.html")


def trouble(request: Request, status: int, title: str, detail: str) -> Response:
    """What went wrong, for a person; a fragment of a live page gets no page."""
    if request.headers.get("hx-request"):
        return Response(status_code=status)
    return show(request, "trouble.html", status, title=title, detail=detail)
