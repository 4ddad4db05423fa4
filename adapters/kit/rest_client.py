"""Asks a service over HTTP for JSON: signs in, keeps within what it asks for, and says what an unhappy answer means."""

from __future__ import annotations

import json
import ssl
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
from pydantic import Field, SecretStr, model_validator

from adapters.kit.row_settings import RowSettings
from canonical.connect import tls
from canonical.connect.address import Address
from canonical.connect.oauth import Credentials, OAuthClient, wait_asked
from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError

_LATER = (408, 425, 429)
_REFUSALS = {401: "refused our credentials", 403: "does not allow us this", 407: "the proxy wants credentials"}


class RestSettings(RowSettings):
    """
    These settings say where a service is, how we sign in, and how often its lists are read.

    `url` is the address that the streams' paths are relative to. We sign in by one of three ways: OAuth 2.0 client
    credentials (`token_url`, `client_id`, `client_secret`, `scope`), an `api_key` in the header `api_key_header`, or
    `username` and `password` (basic). `ca_file` names the authorities that its certificate is checked against, if they are not
    the system's.

    `page_size` is the number of records that we ask for at once. If the service asks to be left alone (Retry-After), nothing is
    sent to it for so long, `longest_wait` at most. An answer larger than `max_megabytes` is not read.
    """

    url: Address
    token_url: Address | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    scope: str = ""
    api_key: SecretStr | None = None
    api_key_header: str = Field(default="X-API-Key", pattern="^[A-Za-z0-9-]+$")
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    every: timedelta = Field(default=timedelta(minutes=15), gt=timedelta(0))
    sweep_every: timedelta = Field(default=timedelta(hours=12), gt=timedelta(0))
    page_size: int = Field(default=500, ge=1, le=10_000)
    pause: timedelta = Field(default=timedelta(0), ge=timedelta(0))
    timeout: timedelta = Field(default=timedelta(seconds=60), gt=timedelta(0))
    longest_wait: timedelta = Field(default=timedelta(minutes=15), gt=timedelta(0))
    max_megabytes: int = Field(default=64, ge=1, le=1024)

    @property
    def basic(self) -> bool:
        """Tell whether `username` and `password` are sent in a header of HTTP."""
        return True

    @model_validator(mode="after")
    def _one_way_in(self) -> RestSettings:
        ways = {
            "token_url, client_id and client_secret": (self.token_url, self.client_id, self.client_secret),
            "api_key": (self.api_key,),
            "username and password": (self.username, self.password),
        }
        begun = [name for name, values in ways.items() if any(values)]
        if len(begun) > 1:
            raise ValueError(f"gives more than one way to sign in: {'; '.join(begun)}")
        if begun and not all(ways[begun[0]]):
            raise ValueError(f"{begun[0]} go together")
        return self


class RestClient:
    """
    A connection to one service. It sends GET, and POST for a token or an operation that reads. `where` names its adapter in
    errors.

    While the service wants to be left alone, nothing is sent and `UnavailableError` is raised: the pump comes again.
    """

    def __init__(self, where: str, settings: RestSettings) -> None:
        self.where = where
        self.settings = settings
        self._base = httpx.URL(str(settings.url).rstrip("/") + "/")
        self._http: httpx.AsyncClient | None = None
        self._quiet_until = 0.0

    @property
    def is_open(self) -> bool:
        return self._http is not None

    async def open(self) -> None:
        await self.close()
        s = self.settings
        self._http = httpx.AsyncClient(
            verify=tls.context(self.where, cafile=s.ca_file), auth=self._auth(), timeout=s.timeout.total_seconds(),
            headers={"User-Agent": "ironbridge", "Accept": "application/json", **self._key()},
        )  # fmt: skip

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def url(self, path: str, page: httpx.URL | None = None) -> httpx.URL:
        """
        The address that a path, or a link in an answer, stands for.

        :raises MisconfiguredError: it is another service's, to which our credentials do not go.
        """
        try:
            url = (page or self._base).join(path)
        except httpx.InvalidURL:
            url = httpx.URL("invalid:")
        if (url.scheme, url.host, url.port) != (self._base.scheme, self._base.host, self._base.port):
            fix = "let `url` be the address that the service itself uses in its links"
            raise MisconfiguredError(self.where, "a link leads to another service, to which our credentials do not go", fix=fix)
        return url

    async def get(self, url: httpx.URL, headers: dict[str, str] | None = None) -> httpx.Response:
        """
        Ask for something; the answer's status is 200, 304, or 4xx of a link that has expired (400, 404, 410).

        :raises UnavailableError: there is no answer now.
        :raises MisconfiguredError: it does not let us in, or the address is wrong.
        """
        return self.judged(await self.ask("GET", url, headers))

    async def ask(
        self, method: str, url: httpx.URL, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> httpx.Response:
        """
        Send a request. Pass its answer to `judged` unless a status of 4xx or 5xx says something in the service's own words.

        :raises UnavailableError: there is no answer now.
        """
        if (left := self._quiet_until - time.monotonic()) > 0:
            raise UnavailableError(self.where, f"asked to be left alone for {left:.0f} more seconds")
        if self._http is None:
            raise UnavailableError(self.where, "is not open")
        try:
            async with self._http.stream(method, url, headers=headers, content=content) as response:
                await self._read(response)
        except httpx.TransportError as error:
            raise self._lost(error) from error
        return response

    async def _read(self, response: httpx.Response) -> None:
        """Read an answer, if it is not too large; httpx takes `_content` for what was read."""
        content = bytearray()
        async for piece in response.aiter_bytes():
            content += piece
            if len(content) > self.settings.max_megabytes << 20:
                what = f"gives an answer of more than {self.settings.max_megabytes} MB"
                raise MisconfiguredError(self.where, what, fix="lower `page_size`, or raise `max_megabytes`")
        response._content = bytes(content)

    def json(self, response: httpx.Response) -> Any:
        """
        The answer's JSON, with exact numbers.

        :raises UnavailableError: it is something else, such as the page of a proxy.
        """
        try:
            return json.loads(response.content, parse_float=Decimal)
        except (ValueError, RecursionError):
            kind = response.headers.get("content-type", "no content type").partition(";")[0]
            raise UnavailableError(
                self.where, f"answers {response.status_code}, but not with JSON ({kind})",
                fix="look whether a proxy or a sign-in page stands before the service, and whether `url` is its API",
            ) from None  # fmt: skip

    def judged(self, response: httpx.Response) -> httpx.Response:
        """
        The answer, if its status is 200, 304, or 4xx of a link that has expired.

        :raises UnavailableError: the service is away.
        :raises MisconfiguredError: it does not let us in, or the address is wrong.
        """
        code = response.status_code
        if code in _LATER or code >= 500:
            after = min(wait_asked(response) or timedelta(0), self.settings.longest_wait)
            self._quiet_until = time.monotonic() + after.total_seconds()
            asks = f", and asks to be left alone for {after.total_seconds():.0f} seconds" if after else ""
            raise UnavailableError(self.where, f"answers {code}{asks}")
        if code in (401, 403, 407):
            fix = f"check its credentials in the settings, and what they may read; then run `ironbridge check {self.where}`"
            raise MisconfiguredError(self.where, f"{_REFUSALS[code]} ({code})", fix=fix)
        if 300 <= code < 400 and code != 304:
            raise MisconfiguredError(self.where, f"the address answers with a redirect ({code})", fix="check `url`")
        return response

    def _lost(self, error: httpx.TransportError) -> IronbridgeError:
        if isinstance(error, httpx.UnsupportedProtocol):
            return MisconfiguredError(self.where, "the address is not a URL", fix="write it as https://…")
        complaint = tls.complaint(error)
        if complaint and any(isinstance(each, ssl.SSLError) for each in _causes(error)):
            fix = complaint[1].format(ca="ca_file", own="a proxy that has it", plain="http:// in `url`")
            return MisconfiguredError(self.where, complaint[0], fix=fix)
        return UnavailableError(self.where, f"does not answer ({type(error).__name__})", fix="check `url`, and the network")

    def _auth(self) -> httpx.Auth | None:
        s = self.settings
        if s.token_url and s.client_id and s.client_secret:
            return Credentials(OAuthClient(self.where, str(s.token_url), s.client_id, s.client_secret, s.scope, "adapters"))
        if s.basic and s.username and s.password:
            return httpx.BasicAuth(s.username, s.password.get_secret_value())
        return None

    def _key(self) -> dict[str, str]:
        s = self.settings
        return {s.api_key_header: s.api_key.get_secret_value()} if s.api_key else {}


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
