"""This module says how values are written for people's eyes, the template environment, and the answers that are made of it."""

from __future__ import annotations

import time
from datetime import datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.templating import Jinja2Templates

from ironbridge.console import access
from ironbridge.console.access import Right
from ironbridge.console.bars import said as said_value
from ironbridge.console.bars import words
from ironbridge.operate.audit import did
from ironbridge.operate.insight import HIDDEN

_LONDON = ZoneInfo("Europe/London")
ROWS = 100
"""Rows on a page of a long list."""
NO_REASON = "Say why, in a few words: it goes on record."
GOT_ON = "Nothing was done: it has got on by itself, or somebody else was here first."
_SAID = "said"  # in a session: what the last form did


def moment(at: float | None) -> str:
    """A time as people in England write it."""
    if at is None:
        return "—"
    return datetime.fromtimestamp(at, _LONDON).strftime("%-d %b %Y, %H:%M:%S")


def span(seconds: float | None) -> str:
    """Write how long something takes or took: `4 s`, `3 min`, `2.5 h`, `6 days`."""
    if seconds is None:
        return "—"
    for size, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"


def ago(at: float | None) -> str:
    return "never" if at is None else f"{span(max(time.time() - at, 0.0))} ago"


def number(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:,.1f}" if isinstance(value, float) and value < 10 and value % 1 else f"{value:,.0f}"


def milliseconds(nanoseconds: int) -> str:
    took = nanoseconds / 1e6
    return f"{took:,.1f} ms" if took < 1000 else f"{took / 1000:,.2f} s"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 record`, `2 records`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def story_of(key: str) -> str:
    """A record's address. Keys may stand in addresses; what identifies a person never does."""
    return "/record?" + urlencode({"key": key})


def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader("ironbridge.console"),
                PrefixLoader({"govuk_frontend_jinja": PackageLoader("govuk_frontend_jinja")}),
            ]
        ),
        autoescape=True, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "moment": moment, "span": span, "ago": ago, "number": number, "milliseconds": milliseconds, "story_of": story_of,
        "did": did, "moment_of": lambda at: moment(at.timestamp()), "said": said_value, "words": words,
    }  # fmt: skip
    environment.globals |= {
        "HIDDEN": HIDDEN, "ROWS": ROWS, "counted": counted, "release": version("ironbridge"), "now": time.time,
    }  # fmt: skip
    return environment


_templates = Jinja2Templates(env=_environment())


def warm() -> None:
    """Compile every template, so that nobody's first page waits for it."""
    for name in _templates.env.list_templates(extensions=["html"]):
        _templates.env.get_template(name)


def show(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page, with what every page knows: who looks, what they may, where they are."""
    known = request.user.is_authenticated
    told = {
        "who": request.user.display_name if known else "",
        "rights": {right for right in Right if right in request.auth.scopes},
        "token": access.token(request) if known else "",
        "here": request.url.path,
        "navigation": request.app.state.navigation,
        "console": request.app.state.room.built.settings.console,
    }
    return _templates.TemplateResponse(request, template, told | context, status_code=status)


def trouble(request: Request, status: int, title: str, detail: str) -> Response:
    """Answer with what went wrong, for a person; a fragment of a live page gets no page."""
    if request.headers.get("hx-request"):
        return Response(status_code=status)
    return show(request, "trouble.html", status, title=title, detail=detail)


def see(path: str) -> Response:
    """Sends the browser on to a page: a reload there does nothing again."""
    return RedirectResponse(path, 303)


def say(request: Request, what: str) -> None:
    """Keeps what a form did, for the page that follows it."""
    request.session[_SAID] = what


def said(request: Request) -> str:
    """Tell what the last form did: it is said once, on the page that follows it."""
    return str(request.session.pop(_SAID, ""))
