"""The forms' receivers. What they do is in the audit trail, in the transaction that does it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ironbridge.console import pages
from ironbridge.console.jobs import Job
from ironbridge.console.room import actor, room_of
from ironbridge.console.shown import counted, show, story_of
from ironbridge.operate import audit, held, insight, steer, stuck
from ironbridge.operate import reconcile as reconciliation
from ironbridge.operate.insight import Change
from ironbridge.runtime.bridge import Delivery

MOST = 200  # changes that a plan shows field by field
_LOOK = 0.5  # seconds between two looks at how far a backfill is
GOT_ON = "Nothing was done: it has got on by itself, or somebody else was here first."
NO_REASON = "Say why, in a few words: it goes on record."
UNDER_WAY = "It is under way already: nothing was done, and nothing is on record."


def _seen(to: str) -> Response:
    return RedirectResponse(to, 303)


def _text(form: FormData, name: str, longest: int = 500) -> str:
    return str(form.get(name, "")).strip()[:longest]


async def find(request: Request, form: FormData) -> Response:
    """Find a record by any identifier. It comes in the form's body, and no address ever holds it."""
    words = _text(form, "words", 200)
    if not words:
        return show(request, "records.html", 422, keys=None, error="Enter a key, a number or a target's id.")
    keys = await insight.find(room_of(request).store, words)
    if len(keys) == 1:
        return _seen(story_of(keys[0]))
    return show(request, "records.html", keys=keys)


async def reveal(request: Request, form: FormData) -> Response:
    """Show a record's personal fields, once, to somebody who has the right and says why."""
    store, key, why = room_of(request).store, _text(form, "key"), _text(form, "why")
    if not why:
        return await pages.story_page(request, key, revealed=False, status=422, error=NO_REASON)
    await audit.reveal(store, actor(request), [key], why)
    return await pages.story_page(request, key, revealed=True)


async def retry(request: Request, form: FormData) -> Response:
    """Look at one record, or at all of a group, again."""
    room, count = room_of(request), 0
    async for keys in _keys(request, form):
        count += await steer.retry(room.store, actor(request), keys, _text(form, "why"))
    return _back(request, form, f"{_records(count)} being looked at again." if count else GOT_ON)


async def drop(request: Request, form: FormData) -> Response:
    """Give up one record, or all of a group, with a reason."""
    why = _text(form, "why")
    if not why:
        return await pages.refused_page(request, _text(form, "group"), _text(form, "from"), _text(form, "key"), NO_REASON)
    count = 0
    async for keys in _keys(request, form):
        count += await steer.drop(room_of(request).store, actor(request), keys, why)
    then = "The next change of their facts brings them back." if count > 1 else "The next change of its facts brings it back."
    return _back(request, form, f"{_records(count)} given up. {then}" if count else GOT_ON)


def _records(count: int) -> str:
    return f"{counted(count, 'record')} {'is' if count == 1 else 'are'}"


def _back(request: Request, form: FormData, said: str) -> Response:
    """To the group's own page, which says once what was done: a reload does nothing again."""
    room_of(request).forget()
    request.session[pages.SAID] = said
    return _seen(pages.address_of(_text(form, "group"), _text(form, "from")))


async def _keys(request: Request, form: FormData) -> AsyncIterator[list[str]]:
    """The one record that the form names, or all records that are in its group now, in pieces."""
    store, one = room_of(request).store, _text(form, "key")
    if one:
        yield [one]
    elif found := await stuck.group(store, _text(form, "group")):
        async for keys in stuck.members(store, found):
            yield keys


async def pause(request: Request, form: FormData) -> Response:
    arrow, why = await pages.arrow_of(request), _text(form, "why")
    if not why:
        return await pages.part_page(request, status=422, wrong="why", error=NO_REASON)
    return await _hold(request, arrow.name, steer.pause, why)


async def resume(request: Request, form: FormData) -> Response:
    arrow = await pages.arrow_of(request)
    return await _hold(request, arrow.name, steer.resume, _text(form, "why"))


async def release(request: Request, form: FormData) -> Response:
    """Lift the silence that a flow's target has asked for."""
    room, flow, why = room_of(request), pages.flow_of(request), _text(form, "why")
    if not why:
        return await pages.part_page(request, status=422, wrong="why-now", error=NO_REASON)
    await steer.release(room.store, actor(request), flow, why)
    room.forget()
    return _seen(f"/part/{flow}")


async def allow(request: Request, form: FormData) -> Response:
    """Let through the changes of a stream that the guard holds back: as many as the page has shown, and a tenth more."""
    room, what, why = room_of(request), _text(form, "what"), _text(form, "why")
    part = ".".join(await pages.stream_of(request))
    file, most = _text(form, "file") or None, _text(form, "most", 12)
    if not why:
        return await pages.part_page(request, status=422, wrong=f"why-{_text(form, 'number', 3)}", error=NO_REASON)
    shown = int(most) if most.isascii() and most.isdigit() else 0
    let = await held.allow(room.store, actor(request), part, why, what=what, file=file, most=shown)
    room.forget()
    request.session[pages.SAID] = (
        f"{let[0].told}: let through. It is published with the next reading." if let else GOT_ON
    )
    return _seen(f"/part/{part}")


async def _hold(request: Request, name: str, act: Any, why: str) -> Response:
    room = room_of(request)
    await act(room.store, actor(request), name, why)
    room.forget()
    return _seen(f"/part/{name}")


async def replay(request: Request, form: FormData) -> Response:
    """Have a flow look at its records again: all, or those that changed of late."""
    room, flow, by = room_of(request), pages.flow_of(request), actor(request)
    reach, rewrite, why = _text(form, "reach"), _text(form, "rewrite") == "yes", _text(form, "why")
    if reach not in pages.REACHES:
        return await pages.part_page(request, status=422, wrong="reach", error="Choose which records.", rewrite=rewrite)
    if not why:
        asked: dict[str, Any] = {"reach": reach, "rewrite": rewrite}
        return await pages.part_page(request, status=422, wrong="why-again", error=NO_REASON, **asked)
    back = pages.REACHES[reach]
    since = None if back is None else room.store.clock() - back

    async def work(_: Job) -> str:
        wanted = room.built.deliveries[flow].flow
        count = await steer.replay(room.store, by, wanted, why, since=since, rewrite=rewrite)
        return f"{counted(count, 'record')} to look at again." if count else "none of its records had changed by then."

    return await _again(request, flow, work)


async def backfill(request: Request, form: FormData) -> Response:
    """Have a stream read whole again. Its running adapter does that; this process shows how far it is."""
    room, by, why = room_of(request), actor(request), _text(form, "why")
    adapter, stream = await pages.stream_of(request)
    if not why:
        return await pages.part_page(request, status=422, wrong="why-again", error=NO_REASON)

    async def work(job: Job) -> str:
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


async def _again(request: Request, name: str, work: Callable[[Job], Coroutine[Any, Any, str]]) -> Response:
    room = room_of(request)
    if room.jobs.running(f"again {name}"):
        return await pages.part_page(request, status=409, wrong="why-again", error=UNDER_WAY)
    room.jobs.begin(f"again {name}", request.user.display_name, work)
    room.forget()
    return _seen(f"/part/{name}")


async def plan(request: Request, form: FormData) -> Response:
    flow = pages.flow_of(request)
    room = room_of(request)
    delivery = room.built.deliveries[flow]
    room.jobs.begin(f"plan {flow}", request.user.display_name, lambda job: _plan(job, delivery))
    return _seen(f"/plan/{flow}")


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that was made: how many changes of each action there are, and the first ones, with values by their shape."""

    counts: Mapping[str, int]
    changes: Sequence[Change]


async def _plan(job: Job, delivery: Delivery) -> Planned:
    counts: Counter[str] = Counter()
    shown: list[Change] = []
    async for change in insight.plan(delivery.agreement, delivery.ledger):
        job.done += 1
        counts[change.action] += 1
        if len(shown) < MOST:
            shown.append(change.shown(reveal=False))
    return Planned(counts, shown)


async def reconcile(request: Request, form: FormData) -> Response:
    """Compare all sides of a flow. It reads only, but it asks the target for all that it holds."""
    room, flow, by = room_of(request), pages.flow_of(request), actor(request)

    async def work(job: Job) -> int | None:
        def say(step: str) -> None:
            job.step = step

        return (await reconciliation.reconcile(room.built.settings, flow, by, say=say)).id

    room.jobs.begin(f"agreement {flow}", by.who, work)
    return _seen(f"/agreement/{flow}")


async def sign_out(request: Request, form: FormData) -> Response:
    """End the session in the state, so that a copy of its cookie is worthless, and delete the cookie."""
    if (sessions := room_of(request).sessions) is not None:
        await sessions.end(str(request.session.get("session", "")))
    request.session.clear()
    return _seen("/signed-out")
