"""
This module says who looks, and what they may do.

On this machine alone (a loopback address) nobody signs in and whoever is at the machine may do everything, with every
action on record. On any other address people sign in with OpenID Connect (Entra ID, Keycloak), and their roles there say
what they may: look, act, and see personal fields.
"""

from __future__ import annotations

import getpass
import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from enum import StrEnum
from urllib.parse import urlsplit

from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response

from canonical.errors import IronbridgeError, MisconfiguredError
from ironbridge.console.sessions import Sessions
from ironbridge.settings import Settings

Endpoint = Callable[[Request], Awaitable[Response]]
Action = Callable[[Request, FormData], Awaitable[Response]]


class Right(StrEnum):
    """A right says what a person may do. Seeing personal fields is a right of its own, which goes with no other."""

    LOOK = "look"
    ACT = "act"
    REVEAL = "reveal"


class ConsoleUser(SimpleUser):
    """A console user has the name by which the audit trail knows them."""


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check(settings: Settings) -> None:
    """
    Hold the settings together before anything listens.

    :raises MisconfiguredError: the console would be open to others without a sign-in, or could not keep one safe.
    """
    console, address = settings.console, settings.http.address
    if console.issuer is None:
        if address is not None and not is_loopback(address[0]):
            raise MisconfiguredError(
                "console", f"would be open to everybody who reaches {address[0]}: there is no sign-in",
                fix="set `console.issuer`, `console.client_id` and `console.public_url`, or listen on 127.0.0.1, "
                "or switch the console off with `console.serve = false`",
            )  # fmt: skip
        return
    missing = [name for name in ("client_id", "client_secret", "public_url") if getattr(console, name) is None]
    if missing:
        raise MisconfiguredError(
            "console", f"signs people in with OpenID Connect, and {', '.join(missing)} is not set",
            fix=f"set {', '.join(f'IRONBRIDGE_CONSOLE__{name.upper()}' for name in missing)}",
        )  # fmt: skip
    for name in ("issuer", "public_url"):
        parts = urlsplit(getattr(console, name))
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise MisconfiguredError(
                "console",
                f"{name} is not https: whoever listens in could sign in",
                fix=f"set console.{name} to https://…",
            )


class SignedIn(AuthenticationBackend):
    """The session that a cookie names, as the state has it. On a loopback address without sign-in: the person at the machine."""

    def __init__(self, sessions: Sessions | None) -> None:
        self._sessions = sessions

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, ConsoleUser] | None:
        if self._sessions is None:
            return AuthCredentials([*Right]), ConsoleUser(f"{_at_the_machine()} (at the machine)")
        word = conn.session.get("session")
        if not word or conn.url.path.startswith("/static/"):
            return None
        try:
            found = await self._sessions.find(word)
        except IronbridgeError as error:
            raise AuthenticationError(f"Ironbridge cannot tell who you are: {error}") from error
        return (AuthCredentials([*found.rights]), ConsoleUser(found.name)) if found else None


def not_told(_: HTTPConnection, error: Exception) -> Response:
    """The state, which keeps the sessions, does not answer."""
    return PlainTextResponse(str(error), 503)


def _at_the_machine() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "somebody"


def page(right: Right, endpoint: Endpoint) -> Endpoint:
    """A page for those who have the right; others are asked to sign in, or told what they lack."""

    async def guarded(request: Request) -> Response:
        allow(request, right)
        return await endpoint(request)

    return guarded


def action(right: Right, endpoint: Action) -> Endpoint:
    """A form's receiver: only for those who have the right, and only from one of our own pages."""

    async def guarded(request: Request) -> Response:
        allow(request, right)
        form = await request.form()
        _from_our_page(request, form)
        return await endpoint(request, form)

    return guarded


class SignInFirst(Exception):  # noqa: N818 (no error: an answer that sends to the sign-in)
    """Nobody has signed in yet."""


def allow(request: Request, right: Right) -> None:
    """:raises HTTPException: 403, whoever it is has not the right. :raises SignInFirst: nobody has signed in."""
    if not request.user.is_authenticated:
        raise SignInFirst
    if right not in request.auth.scopes:
        raise HTTPException(403, f"{request.user.display_name} may not do this: it needs the right to {right}.")


def token(request: Request) -> str:
    """The session's secret word, which each of our forms carries."""
    word: str = request.session.setdefault("form", secrets.token_urlsafe(24))
    return word


def _from_our_page(request: Request, form: FormData) -> None:
    """Refuse what another site made a browser send: it knows no session's word, and browsers say where it came from."""
    said = str(form.get("token", ""))
    known = str(request.session.get("form", ""))
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    elsewhere = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if not known or not hmac.compare_digest(said, known) or site not in ("same-origin", "none") or elsewhere:
        raise HTTPException(403, "This form is out of date. Go back, reload the page and send it again.")
