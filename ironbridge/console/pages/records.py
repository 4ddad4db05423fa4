"""Find a record by any identifier. It travels in the form's body, and no address ever holds it."""

from __future__ import annotations

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.access import Right
from ironbridge.console.asked import text_of
from ironbridge.console.page import ConsolePage, Entry, Form
from ironbridge.console.room import room_of
from ironbridge.console.shown import see, show, story_of
from ironbridge.operate import insight

TEMPLATE = "records/page.html"


async def look(request: Request) -> Response:
    return show(request, TEMPLATE, keys=None)


async def find(request: Request, form: FormData) -> Response:
    """Show the records that the words may mean; the only one at once."""
    words = text_of(form, "words", 200)
    if not words:
        return show(request, TEMPLATE, 422, keys=None, error="Enter a key, a number or a target's id.")
    keys = await insight.find(room_of(request).store, words)
    if len(keys) == 1:
        return see(story_of(keys[0]))
    return show(request, TEMPLATE, keys=keys)


PAGE = ConsolePage(
    {"/records": look}, [Form("/records", Right.LOOK, find)], Entry(40, "/records", "Find a record")
)
