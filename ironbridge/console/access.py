"""
Who looks, and what they may do.

On this machine alone (a loopback address) nobody signs in and whoever is at the machine may do everything, with every
action on record. On any other address people sign in with OpenID Connect (Entra ID, Keycloak), and their roles there say
what they may: look, act, and see personal fields.
"""

from __future__ import annotations

import getpass
import hmac
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from httpx2 import HTTPError
from joserfc.errors import JoseError
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response

from canonical.errors import MisconfiguredError
from ironbridge.settings import ConsoleSettings, Settings

Endpoint = Callable[[Request], Awaitable[Response]]
Action = Callable[[Request, FormData], Awaitable[Response]]


class Right(StrEnum):
    """What somebody may do. Seeing personal fields is a right of its own, which goes with no other."""

    LOOK = "look"
    ACT = "act"
    REVEAL = "reveal"


class Person(SimpleUser):
    """Who it is, as the audit trail names them."""


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
    """Who a session's cookie says it is; on a loopback address without sign-in, whoever is at the machine."""

    def __init__(self, console: ConsoleSettings) -> None:
        self._console = console

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, Person] | None:
        if self._console.issuer is None:
            return AuthCredentials([*Right]), Person(f"{_at_the_machine()} (at the machine)")
        session = conn.session
        if session.get("until", 0) < time.time():
            return None
        return AuthCredentials(session["rights"]), Person(session["name"])


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


class SignIn:
    """OpenID Connect: authorisation code with PKCE; the roles come from the ID token or the user's info."""

    def __init__(self, console: ConsoleSettings) -> None:
        self._console = console
        self._oauth: Any = OAuth()
        secret = console.client_secret.get_secret_value() if console.client_secret else None
        self._oauth.register(
            "provider",
            client_id=console.client_id,
            client_secret=secret,
            server_metadata_url=f"{(console.issuer or '').rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256", "timeout": 10},
        )

    @property
    def _public(self) -> str:
        return (self._console.public_url or "").rstrip("/")

    async def begin(self, request: Request) -> Response:
        """Send to the provider; `next` is where to come back to, one of our own pages."""
        request.session["next"] = _ours(request.query_params.get("next", "/"))
        try:
            sent: Response = await self._oauth.provider.authorize_redirect(request, f"{self._public}/signed-in")
        except (HTTPError, AuthlibBaseError, RuntimeError) as error:
            raise HTTPException(502, _trouble(error)) from error
        return sent

    async def end(self, request: Request) -> Response:
        """Come back from the provider: who it is and what they may, in a new session."""
        try:
            given = await self._oauth.provider.authorize_access_token(request)
            claims = dict(given.get("userinfo") or {})
            if not self._roles(claims):
                claims |= dict(await self._oauth.provider.userinfo(token=given))
        except (HTTPError, AuthlibBaseError, JoseError, RuntimeError, LookupError, ValueError) as error:
            raise HTTPException(403, _trouble(error)) from error
        to = _ours(request.session.get("next", "/"))
        rights = self._rights(claims)
        request.session.clear()
        if not rights:
            raise HTTPException(403, f"You are known, but have no role here. Ask for {self._console.viewer_role}.")
        name = next((str(claims[c]) for c in ("preferred_username", "email", "name", "sub") if claims.get(c)), "")
        until = time.time() + self._console.session_hours * 3600
        request.session.update(name=name[:100], rights=rights, until=until, form=secrets.token_urlsafe(24))
        return RedirectResponse(to, 303)

    def _roles(self, claims: dict[str, Any]) -> set[str]:
        found: Any = claims
        for step in self._console.roles_claim.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        return {str(role) for role in found} if isinstance(found, list) else {str(found)} if found else set()

    def _rights(self, claims: dict[str, Any]) -> list[str]:
        roles, console = self._roles(claims), self._console
        rights = {Right.LOOK} if roles & {console.viewer_role, console.operator_role} else set()
        if console.operator_role in roles:
            rights.add(Right.ACT)
        if rights and console.personal_role in roles:
            rights.add(Right.REVEAL)
        return sorted(rights)


def _ours(to: str) -> str:
    """A path of ours, never another site: `//elsewhere` and `/\\elsewhere` are addresses to a browser."""
    return to if to.startswith("/") and not to.startswith(("//", "/\\")) else "/"


def _trouble(error: Exception) -> str:
    return f"Signing in did not work ({type(error).__name__}). Try again; if it stays so, tell whoever runs Ironbridge."
