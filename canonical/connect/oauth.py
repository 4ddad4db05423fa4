"""OAuth 2.0 client credentials for HTTP clients, and for how long a server asks to be left alone."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, Literal

import httpx
from pydantic import SecretStr

from canonical.errors import MisconfiguredError, UnavailableError

_LONGEST_TOKEN = 86400.0  # seconds; a token that claims to live longer is renewed like one that names no lifetime
_PATIENCE = 30.0  # seconds for the endpoint to answer
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
_BEARER: Final = re.compile("[!-~]+")  # what may stand in a header; RFC 6750 allows still less

# RFC 6749, 5.2. Anything else in that place is not repeated: nobody knows what it holds.
_OAUTH_ERRORS = (
    *("invalid_request", "invalid_client", "invalid_grant"),
    *("unauthorized_client", "unsupported_grant_type", "invalid_scope"),
)


def wait_asked(response: httpx.Response) -> timedelta | None:
    """
    Tell how long the other side asks us to wait (Retry-After): seconds or an HTTP date (RFC 9110, 10.2.3). Parts of a second
    count, though the RFC has none; of several the longest is meant.

    None if the answer does not say, or says it in a form that cannot be read.
    """
    # Measured by the server's own clock if the answer shows it, because our clock may differ.
    now = _moment(response.headers.get("date", "")) or datetime.now(UTC)
    every = (_wait(said.strip(), now) for said in response.headers.get_list("retry-after"))
    return max((wait for wait in every if wait is not None), default=None)


def _wait(said: str, now: datetime) -> timedelta | None:
    """The wait that one Retry-After asks for; a proxy may have put several in one, joined by commas."""
    parts = [part.strip() for part in said.split(",")]
    if all(map(_SECONDS.fullmatch, parts)):
        return timedelta(seconds=min(max(float(part[:12]) for part in parts), 1e6))
    until = _moment(said)
    return None if until is None else max(until - now, timedelta(0))


def _moment(said: str) -> datetime | None:
    """Parse an HTTP date; None if it is none."""
    try:
        moment = parsedate_to_datetime(said)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):  # whatever the standard library makes of it
        return None


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """
    These credentials say who we are to a token endpoint. `where` is the name of the target or adapter: its settings name the
    secret's variable. `side` says in which part of the settings it is.
    """

    where: str
    token_url: str
    client_id: str
    client_secret: SecretStr
    scope: str = ""
    side: Literal["targets", "adapters"] = "targets"

    @property
    def fix(self) -> str:
        variable = f"IRONBRIDGE_{self.side.upper()}__{self.where.upper()}__CLIENT_SECRET"
        return f"check client_id, scope, token_url and {variable}, then run `ironbridge check {self.where}`"


class NoTokenError(UnavailableError):
    """There is no token now, so the request itself was never sent."""

    def __init__(self, where: str, what: str, after: timedelta | None) -> None:
        self.after = after
        super().__init__(where, what)


class Credentials(httpx.Auth):
    """
    OAuth 2.0 client credentials (RFC 6749, 4.4): one token at a time, renewed shortly before it expires.

    A 401 means that the request was not done: then the token is renewed once and that one request repeated. Any number
    of requests may share it; one of them renews and the others wait.

    :raises MisconfiguredError: the token endpoint does not know the client, the secret or the scope.
    """

    def __init__(self, client: OAuthClient) -> None:
        self.client = client
        self._token: str | None = None
        self._until = 0.0
        self._renewing = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        spoilt: str | None = None
        for _ in range(2):
            async with self._renewing:
                if self._token in (None, spoilt) or time.monotonic() >= self._until:
                    answer = yield self.asked()
                    await answer.aread()
                    self.keep(answer)
                spoilt = self._token
            request.headers["Authorization"] = f"Bearer {spoilt}"
            response = yield request
            if response.status_code != 401:
                return
            await response.aread()  # gives its connection back, which the renewal may need

    def asked(self) -> httpx.Request:
        """Make the request for a token."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client.client_id,
            "client_secret": self.client.client_secret.get_secret_value(),
        } | ({"scope": self.client.scope} if self.client.scope else {})
        timeout = httpx.Timeout(_PATIENCE).as_dict()
        return httpx.Request("POST", self.client.token_url, data=form, extensions={"timeout": timeout})

    def keep(self, answer: httpx.Response) -> None:
        """
        Keep the token of an answer.

        :raises NoTokenError: the endpoint has none to give now.
        :raises MisconfiguredError: as above.
        """
        where, code = self.client.where, answer.status_code
        if code in (408, 429) or code >= 500:
            raise NoTokenError(where, f"no token: its endpoint answered {code}", wait_asked(answer))
        granted = _granted(answer)
        token = granted.get("access_token")
        if code != 200 or not isinstance(token, str) or not _BEARER.fullmatch(token):
            error = granted.get("error") if granted.get("error") in _OAUTH_ERRORS else "no token in the answer"
            raise MisconfiguredError(where, f"the token endpoint says {code}: {error}", fix=self.client.fix)
        try:
            lifetime = float(str(granted.get("expires_in", 300)))
        except ValueError:
            lifetime = 300.0
        lifetime = lifetime if 0 <= lifetime <= _LONGEST_TOKEN else 300.0  # nor NaN
        self._token = token
        self._until = time.monotonic() + lifetime - min(60.0, lifetime / 10)


def _granted(answer: httpx.Response) -> dict[str, object]:
    try:
        said = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
