"""One group of stuck records: why they are stuck, the next step, and what may be done to one of them or to all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.access import Right
from ironbridge.console.asked import key_of, text_of
from ironbridge.console.page import ConsolePage, Form
from ironbridge.console.room import actor, room_of
from ironbridge.console.shown import GOT_ON, NO_REASON, ROWS, counted, said, say, see, show
from ironbridge.operate import steer
from ironbridge.operate import stuck as groups
from ironbridge.store.stuck import StuckPage


async def look(request: Request) -> Response:
    return await _group(request, "group/page.html", done=said(request))


async def live(request: Request) -> Response:
    return await _group(request, "group/live.html")


async def form_looked_at(_: Request) -> Response:
    """Somebody opens a form's address as a page: after signing in again, or out of the browser's history."""
    return see("/stuck")


async def retry(request: Request, form: FormData) -> Response:
    """Look at one record, or at all of a group, again."""
    room, count = room_of(request), 0
    async for keys in _keys(request, form):
        count += await steer.retry(room.store, actor(request), keys, text_of(form, "why"))
    return _back(request, form, f"{_records(count)} being looked at again." if count else GOT_ON)


async def drop(request: Request, form: FormData) -> Response:
    """Give up one record, or all of a group, with a reason."""
    why = text_of(form, "why")
    if not why:
        return await _refused(request, form, NO_REASON)
    count = 0
    async for keys in _keys(request, form):
        count += await steer.drop(room_of(request).store, actor(request), keys, why)
    then = "The next change of their facts brings them back." if count > 1 else "The next change of its facts brings it back."
    return _back(request, form, f"{_records(count)} given up. {then}" if count else GOT_ON)


def _records(count: int) -> str:
    return f"{counted(count, 'record')} {'is' if count == 1 else 'are'}"


async def _keys(request: Request, form: FormData) -> AsyncIterator[list[str]]:
    """The one record that the form names, or all records that are in its group now, in pieces."""
    store, one = room_of(request).store, text_of(form, "key")
    if one:
        yield [one]
    elif found := await groups.group(store, text_of(form, "group")):
        async for keys in groups.members(store, found):
            yield keys


def _back(request: Request, form: FormData, what: str) -> Response:
    """To the group's own page, which says once what was done."""
    room_of(request).forget()
    say(request, what)
    return see(_address(text_of(form, "group"), text_of(form, "from")))


async def _refused(request: Request, form: FormData, error: str) -> Response:
    """The page again, which says what a form lacks beside the form that it was: that of one record, or of all."""
    return await _group(
        request, "group/page.html", text_of(form, "group"), 422, start=text_of(form, "from"), wrong=text_of(form, "key"),
        error=error,
    )  # fmt: skip


async def _group(
    request: Request, template: str, name: str = "", status: int = 200, *, start: str = "", wrong: str = "", **context: Any
) -> Response:
    """One group with its records, a page of them at a time; an empty one says that it is no more."""
    name, store = name or request.path_params["group"], room_of(request).store
    if not groups.ID.fullmatch(name):
        raise HTTPException(404, "There is no group of that name.")
    found, shown = await groups.group(store, name), StuckPage([], earlier=False, then=None)
    if found:
        start, before = start or key_of(request.query_params.get("from")), key_of(request.query_params.get("before"))
        shown = await groups.page(store, found, ROWS, start=start, before=before)
        if wrong and wrong not in [row.key for row in shown.rows]:
            shown = await groups.page(store, found, ROWS, start=wrong)
    first = shown.rows[0].key if shown.rows and shown.earlier else ""
    where = {"error_at": f"#why-{wrong}".replace(" ", "_")} if wrong else {}
    return show(
        request, template, status, name=name, group=found, shown=shown, first=first, here=_address(name, first), wrong=wrong,
        **where, **context,
    )  # fmt: skip


def _address(group: str, start: str = "") -> str:
    """A page of a group, beginning with a record; the page of all groups if no group has this name."""
    if not groups.ID.fullmatch(group):
        return "/stuck"
    return f"/stuck/{group}" + ("?" + urlencode({"from": start}) if start else "")


PAGE = ConsolePage(
    {
        "/stuck/retry": form_looked_at, "/stuck/drop": form_looked_at,
        "/stuck/{group}": look, "/live/stuck/{group}": live,
    },
    [Form("/stuck/retry", Right.ACT, retry), Form("/stuck/drop", Right.ACT, drop)],
)  # fmt: skip
