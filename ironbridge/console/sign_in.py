"""
Signs people in with OpenID Connect, and asks the provider again now and then whether they may still come in.

It asks with the refresh token that the provider gave. The answer holds the person's present roles. Somebody who was
disabled at the provider, or whose session there has ended, gets no answer.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from httpx2 import HTTPError
from joserfc.errors import JoseError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from canonical.errors import UnavailableError
from ironbridge.console.access import Right
from ironbridge.settings import ConsoleSettings

_PATIENCE = 30.0  # seconds for all questions to the provider at one time
_FAULTS = (HTTPError, AuthlibBaseError, JoseError, RuntimeError, LookupError, ValueError, TimeoutError)
# RFC 6749 and OpenID Connect Core: with these errors the person has to sign in again, or may not come in.
_OVER = {"invalid_grant", "access_denied", "login_required", "interaction_required", "consent_required"}


@dataclass(frozen=True, slots=True)
class ProviderAnswer:
    """The provider's answer about a person. `refresh` is for asking it again; None if the provider gives none."""

    subject: str
    name: str
    rights: tuple[str, ...]
    refresh: str | None


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
            client_kwargs={"scope": console.scope, "code_challenge_method": "S256", "timeout": 10},
        )

    @property
    def _public(self) -> str:
        return (self._console.public_url or "").rstrip("/")

    async def begin(self, request: Request) -> Response:
        """Send the person to the provider; `next` is the page to come back to, one of our own."""
        request.session["next"] = _ours(request.query_params.get("next", "/"))
        try:
            async with asyncio.timeout(_PATIENCE):
                sent: Response = await self._oauth.provider.authorize_redirect(request, f"{self._public}/signed-in")
        except _FAULTS as error:
            raise HTTPException(502, _trouble(error)) from error
        return sent

    async def end(self, request: Request) -> Response:
        """Come back from the provider: find the person's name and rights, and open a session."""
        try:
            async with asyncio.timeout(_PATIENCE):
                known = await self._known(await self._oauth.provider.authorize_access_token(request))
        except _FAULTS as error:
            raise HTTPException(403, _trouble(error)) from error
        to = _ours(request.session.get("next", "/"))
        request.session.clear()
        if not known.rights:
            raise HTTPException(403, f"You are known, but have no role here. Ask for {self._console.viewer_role}.")
        word = await request.app.state.room.sessions.begin(known)
        request.session.update(session=word, form=secrets.token_urlsafe(24))
        return RedirectResponse(to, 303)

    async def again(self, refresh: str) -> ProviderAnswer | None:
        """
        The person's name and present rights; None if the provider does not know them any more, or they have to sign in again.

        :raises UnavailableError: the provider does not answer, or its answer cannot be understood.
        """
        provider = self._oauth.provider
        try:
            async with asyncio.timeout(_PATIENCE):
                # Without a scope the answer is for the scope that was granted, which may be less than the one we asked for.
                given = await provider.fetch_access_token(grant_type="refresh_token", refresh_token=refresh, scope="")
                given["userinfo"] = await provider.parse_id_token(given, nonce=None) or {}
                known = await self._known(given)
        except _FAULTS as error:
            if getattr(error, "error", None) in _OVER:
                return None
            raise UnavailableError("console", f"the sign-in does not answer ({type(error).__name__})") from error
        return known if known.rights else None

    async def _known(self, given: dict[str, Any]) -> ProviderAnswer:
        claims = dict(given.get("userinfo") or {})
        if not self._roles(claims):
            claims |= dict(await self._oauth.provider.userinfo(token=given))
        name = next((str(claims[c]) for c in ("preferred_username", "email", "name", "sub") if claims.get(c)), "")
        return ProviderAnswer(str(claims.get("sub", "")), name[:100], tuple(self._rights(claims)), given.get("refresh_token"))

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
    return f"Signing in did not work ({type(error).__name__}). Try again; if it stays so, tell the people who run Ironbridge."
