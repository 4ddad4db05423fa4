"""
The console: server-rendered pages that show operations staff what is late, why, and what to do, and let them do it.

It looks at the state alone and needs no Kafka to show it. Each page is guarded by a right, each form carries its session's
word, and nothing is written without a line in the audit trail.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from ironbridge.console import access, pages, shown
from ironbridge.console.access import Right, SignInFirst, action
from ironbridge.console.headers import SecurityHeaders
from ironbridge.console.room import Room, room_of
from ironbridge.console.sessions import Sessions, signing
from ironbridge.console.sign_in import SignIn
from ironbridge.runtime.bridge import Platform
from ironbridge.store import schema

_HERE = Path(__file__).parent
_LOCAL = ["127.0.0.1", "localhost", "[::1]"]


@asynccontextmanager
async def mounted(built: Platform) -> AsyncIterator[list[BaseRoute]]:
    """
    The console over a platform's state, as routes of the application that serves it; none where nobody shall see it.

    :raises MisconfiguredError: it would be open to others without a sign-in.
    """
    settings = built.settings
    if settings.http.address is None or not settings.console.serve:
        yield []
        return
    access.check(settings)
    room = Room(built)

    async def made() -> ASGIApp:
        schema.insist(await built.store.stands())
        secret = await signing(built.store, settings.console) if settings.console.issuer else secrets.token_urlsafe(32)
        return application(room, secret)

    warming = asyncio.create_task(asyncio.to_thread(shown.warm))
    try:
        yield [Mount("/", OnceThere(made))]
    finally:
        await warming
        await room.close()


class OnceThere:
    """An application that is made with the first request for which the state answers; until then it says what is away."""

    def __init__(self, make: Callable[[], Awaitable[ASGIApp]]) -> None:
        self._make = make
        self._made: ASGIApp | None = None
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._turn:
                self._made = self._made or await self._make()
        except IronbridgeError as error:
            await PlainTextResponse(f"Ironbridge cannot show this now. {error}", 503)(scope, receive, send)
            return
        await self._made(scope, receive, send)


def application(room: Room, secret: str) -> Starlette:
    """The pages over a room. `secret` signs the cookies."""
    settings = room.built.settings.console
    provider = SignIn(settings) if settings.issuer else None
    room.sessions = Sessions(room.store, settings, provider.again) if provider else None
    every = pages.found()
    routes = [
        Mount("/static", StaticFiles(directory=_HERE / "static"), name="static"),
        *(_sign_in(provider) if provider else []),
        *(route for page in every for route in page.routes()),
    ]
    app = Starlette(
        routes=routes, middleware=_middleware(room, secret),
        exception_handlers={
            SignInFirst: _to_the_sign_in, HTTPException: _told, IronbridgeError: _said, UnavailableError: _said,
            MisconfiguredError: _said, ClientDisconnect: _gone, Exception: _failed,
        },
    )  # fmt: skip
    app.state.room = room
    app.state.navigation = sorted((page.entry for page in every if page.entry), key=lambda entry: entry.place)
    return app


def _sign_in(provider: SignIn) -> list[BaseRoute]:
    return [
        Route("/sign-in", provider.begin),
        Route("/signed-in", provider.end),
        Route("/sign-out", action(Right.LOOK, _sign_out), methods=["POST"]),
        Route("/signed-out", _signed_out),
    ]


async def _sign_out(request: Request, form: FormData) -> Response:
    """End the session in the state, so that a copy of its cookie is worthless, and delete the cookie."""
    if (sessions := room_of(request).sessions) is not None:
        await sessions.end(str(request.session.get("session", "")))
    request.session.clear()
    return shown.see("/signed-out")


async def _signed_out(request: Request) -> Response:
    return shown.show(request, "signed_out.html")


def _middleware(room: Room, secret: str) -> list[Middleware]:
    console = room.built.settings.console
    public = urlsplit(console.public_url or "")
    # Whoever makes a browser believe that a foreign name is this machine comes with that name.
    hosts = [*_LOCAL, *([public.hostname] if public.hostname else [])]
    return [
        Middleware(SecurityHeaders, https=public.scheme == "https"),
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(
            SessionMiddleware, secret_key=secret, session_cookie="ironbridge", same_site="lax",
            max_age=int(console.session_hours * 3600), https_only=public.scheme == "https",
        ),
        Middleware(AuthenticationMiddleware, backend=access.SignedIn(room.sessions), on_error=access.not_told),
    ]  # fmt: skip


async def _to_the_sign_in(request: Request, _: Exception) -> Response:
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    return RedirectResponse(f"/sign-in?next={quote(back if request.method == 'GET' else '/')}", 303)


async def _told(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    titles = {
        403: "You may not do this", 404: "There is no such page", 413: "That is too long",
        502: "The sign-in does not answer",
    }  # fmt: skip
    return shown.trouble(request, status, titles.get(status, "That did not work"), detail)


async def _gone(request: Request, _: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read the answer: a form came too slowly, or its sender left


async def _said(request: Request, error: Exception) -> Response:
    status = 503 if isinstance(error, UnavailableError) else 500
    return shown.trouble(request, status, "Ironbridge cannot show this now", str(error))


async def _failed(request: Request, error: Exception) -> Response:
    # Its text may quote a record: only its kind is shown.
    what = f"{type(error).__name__}: a mistake in the program. The log says where."
    return shown.trouble(request, 500, "Ironbridge cannot show this", what)
