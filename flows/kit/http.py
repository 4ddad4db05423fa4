"""
All HTTP targets share this: a client that keeps the budget and the trace, and what a lost or unhappy answer means.

The one question that matters after a fault is whether the request may have been done. `NotDone` is said only where it
certainly was not, because nothing left. An answer proves less: a gateway may say 503 or 429 of a request that was done.
"""

from __future__ import annotations

import json
import math
import ssl
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from opentelemetry import propagate, trace
from opentelemetry.util.types import AttributeValue

from canonical.connect.oauth import Credentials, NoTokenError
from canonical.errors import MisconfiguredError
from flows.engine.meters import requesting
from flows.kit.requests import Budget, OutOfHandError, failed, may_go
from flows.kit.silence import HOLD, retry_after, silence_asked
from flows.port import LONGEST_SILENCE, Limits, NotDone, Unavailable, Unknown

TEMPLATE: Final = "url.template"
"""
The request extension that names the path in spans, e.g. `/companies({id})/vendors`: a real path may hold somebody's id.

    http.build_request("POST", url, json=body, extensions={TEMPLATE: "/companies({id})/vendors"})
"""

TIMEOUT: Final = httpx.Timeout(connect=15.0, read=120.0, write=60.0, pool=120.0)
"""Seconds. `read` is long: giving up on a batch that is still being written costs a whole rewrite."""
_KEEP_ALIVE = 4.0  # seconds; shorter than any server's, so that a request never meets a connection that is being closed
_LONGEST_TOKEN = 86400.0  # seconds; a token that claims to live longer is renewed like one that names no lifetime


def client(limits: Limits, budget: Budget, *, timeout: httpx.Timeout = TIMEOUT) -> httpx.AsyncClient:
    """
    The client that a target is built with.

    It keeps at most `limits.concurrency` connections alive, spends the budget before each request, tells it of the
    Retry-After of a 429, 502 or 503, and opens one client span a request, whose context goes along as `traceparent`.
    Certificates are checked against the system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), and the
    environment's proxies are used (`HTTPS_PROXY`, `NO_PROXY`). Redirects are not followed: an API that redirects is a
    wrong address.
    """
    pool = httpx.Limits(max_connections=limits.concurrency, keepalive_expiry=_KEEP_ALIVE)
    return httpx.AsyncClient(
        transport=_Accounted(pool, budget), timeout=timeout, headers={"User-Agent": "ironbridge"}, trust_env=False
    )


class _Accounted(httpx.AsyncBaseTransport):
    """Every request that leaves, a token's and a repeated one too, is paid for and traced here."""

    def __init__(self, pool: httpx.Limits, budget: Budget) -> None:
        self._pool = pool
        self._budget = budget
        self._tracer = trace.get_tracer("ironbridge.http")
        self._routes: dict[tuple[bool, str | None], AiohttpTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        changes = request.method not in _CHANGES_NOTHING
        _leave_within(request, await may_go(self._budget, request.url.host, changes=changes))
        response = await self._traced(request)
        response.extensions[HOLD] = self._budget.hold
        if after := silence_asked(response):
            await self._budget.hold(after)
        return response

    async def _traced(self, request: httpx.Request) -> httpx.Response:
        template = request.extensions.get(TEMPLATE)
        # Semantic conventions 1.3x for HTTP clients, without url.full and without exception texts: both may hold an id.
        attributes: dict[str, AttributeValue] = {
            "http.request.method": request.method,
            "server.address": request.url.host,
        }
        attributes |= {TEMPLATE: template} if template else {}
        attributes["server.port"] = request.url.port or _PORTS.get(request.url.scheme, 0)
        with (
            self._tracer.start_as_current_span(
                f"{request.method} {template}" if template else request.method,
                kind=trace.SpanKind.CLIENT,
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
            requesting(attributes) as answered,
        ):
            propagate.inject(request.headers)
            try:
                response = await self._route(request).handle_async_request(_in_pieces(request))
            except Exception as error:
                answered["error.type"] = type(error.__cause__ or error).__qualname__
                failed(span, type(error.__cause__ or error).__qualname__)
                raise
            answered["http.response.status_code"] = response.status_code
            span.set_attribute("http.response.status_code", response.status_code)
            if response.status_code >= 400:
                answered["error.type"] = str(response.status_code)
                failed(span, str(response.status_code))
            return response

    def _route(self, request: httpx.Request) -> AiohttpTransport:
        proxy = None if proxy_bypass(request.url.host) else getproxies().get(request.url.scheme)
        # All certificates that the machine trusts are read only where somebody has to show one: it takes as long as a request.
        route = "https" in (request.url.scheme, httpx.URL(proxy or "").scheme), proxy
        if route not in self._routes:
            self._routes[route] = _SentOnce(
                verify=httpx.create_ssl_context() if route[0] else False, limits=self._pool,
                proxy=httpx.Proxy(proxy) if proxy else None,
            )  # fmt: skip
        return self._routes[route]

    async def aclose(self) -> None:
        for transport in self._routes.values():
            await transport.aclose()


class _SentOnce(AiohttpTransport):
    """aiohttp sends a PUT, DELETE or GET again by itself if its connection is cut: past the budget, the claim and the trace."""

    def get_client(self) -> aiohttp.ClientSession:
        session = super().get_client()
        session._retry_connection = False  # it has no public name; tests/test_records.py fails if it loses this one
        return session


_CHANGES_NOTHING = ("GET", "HEAD", "OPTIONS")


def _leave_within(request: httpx.Request, left: float) -> None:
    """Connecting may take only as long as the claim lasts: a request that has no connection by then is not sent."""
    waits = request.extensions.get("timeout") or {}
    shorter = {name: min(waits.get(name) or left, left) for name in ("connect", "pool")}
    if left < math.inf:
        request.extensions = {**request.extensions, "timeout": {**waits, **shorter}}


_PORTS = {"https": 443, "http": 80}
_PIECE = 1 << 18


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), _PIECE):
            yield self._content[start : start + _PIECE]


def _in_pieces(request: httpx.Request) -> httpx.Request:
    """A body of megabytes in one write would hold up everything else that this process does; aiohttp warns of it."""
    try:
        large = len(request.content) > _PIECE
    except httpx.RequestNotRead:
        return request  # a stream already
    if not large:
        return request
    stream = _Pieces(request.content)
    return httpx.Request(
        request.method, request.url, headers=request.headers, stream=stream, extensions=request.extensions
    )


# httpx-aiohttp calls every fault of a connection "ConnectTimeout", even a lost answer: only aiohttp's own error tells.
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
_WRONG_ADDRESS = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError)


async def exchange(
    http: httpx.AsyncClient, request: httpx.Request, auth: httpx.Auth | None = None, *, where: str = ""
) -> httpx.Response | NotDone | Unknown:
    """
    Send one request and read the whole answer; transport faults become outcomes.

    `NotDone` where the request never left (no connection, no name, no handshake, no token), `Unknown` where it left
    and the answer was lost. `where` names the target in errors.

    :raises MisconfiguredError: a certificate that does not hold, an address that is none, a client that is not known.
    """
    where = where or request.url.host
    try:
        return await http.send(request, auth=auth or httpx.USE_CLIENT_DEFAULT)
    except NoTokenError as error:
        return NotDone(error.what, error.after and min(error.after, LONGEST_SILENCE))
    except OutOfHandError as error:
        return NotDone(error.what)
    except (httpx.RequestError, httpx.InvalidURL, aiohttp.ClientError, OSError) as error:
        cause = error.__cause__ or error
        kind = type(cause).__name__
        if isinstance(cause, aiohttp.ClientConnectorCertificateError | ssl.CertificateError):
            raise MisconfiguredError(
                where,
                f"the certificate of {request.url.host} is not trusted or not in that name",
                fix="check the address; where the council's network inspects TLS, point SSL_CERT_FILE to its authority",
            ) from error
        if isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL) or isinstance(cause, _WRONG_ADDRESS):
            raise MisconfiguredError(where, "the address is not a URL", fix="write it as https://…") from None
        if isinstance(cause, _NEVER_SENT) or _request_of(error, request) is not request:
            return NotDone(f"not sent: {kind}")
        return Unknown(f"sent, but the answer was lost: {kind}")


def _request_of(error: Exception, ours: httpx.Request) -> httpx.Request:
    """The request that failed: ours, or the one for a token."""
    try:
        return error.request if isinstance(error, httpx.RequestError) else ours
    except RuntimeError:  # httpx has none at hand
        return ours


def json_of(response: httpx.Response) -> Any | Unknown:
    """
    The answer's JSON. One that is not JSON is `Unknown`: what a gateway put in its place says nothing of what was done.
    """
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        kind = response.headers.get("content-type", "no content type").partition(";")[0]
        return Unknown(f"{response.status_code}, but the answer is not JSON ({kind})")


def trouble(response: httpx.Response, where: str, fix: str = "") -> Unavailable | Unknown | None:
    """
    Return what a status says that is not about the document; None where the target must look for itself (2xx, 400, 404 …).

    408, 429, 503, and 502 with a Retry-After are `Unavailable`: the request was turned away, or so they say. A Retry-After of 0
    asks for nothing, so it says nothing of a 502. 500, 502, 504 and their like are `Unknown`: whoever answered does not know
    how far the request went (RFC 9110, 15.6). In doubt it is after each of them.

    :raises MisconfiguredError: 401 (after `ClientCredentials` has renewed the token), 403, 407, or a redirect.
    """
    code = response.status_code
    if code in (408, 425, 429, 503) or (code == 502 and retry_after(response)):
        return Unavailable(f"{code}: turned away for now", retry_after(response))
    if code >= 500:
        return Unknown(f"{code}: the other side failed and does not say how far it came")
    if code in (401, 403, 407):
        what = {401: "refused our token", 403: "does not allow us this", 407: "the proxy wants credentials"}[code]
        raise MisconfiguredError(where, f"{what} ({code})", fix=fix or f"run `ironbridge check {where}`")
    if 300 <= code < 400:
        raise MisconfiguredError(where, f"the address answers with a redirect ({code})", fix="check the address")
    return None


class ClientCredentials(Credentials):
    """OAuth 2.0 client credentials (see `canonical.connect.oauth`), which a target's `check` can try by themselves."""

    async def obtain(self, http: httpx.AsyncClient) -> NotDone | Unknown | None:
        """
        Ask for a new token now, to see whether it can be had: None where it can. For a target's `check`.

        :raises MisconfiguredError: the token endpoint does not know the client, the secret or the scope.
        """
        answer = await exchange(http, self.asked(), where=self.client.where)
        if not isinstance(answer, httpx.Response):
            return answer
        try:
            self.keep(answer)
        except NoTokenError as error:
            return NotDone(error.what, error.after and min(error.after, LONGEST_SILENCE))
        return None

    def asked(self) -> httpx.Request:
        request = super().asked()
        request.extensions = {"timeout": TIMEOUT.as_dict(), TEMPLATE: "/token"}
        return request
