"""
OData as Business Central speaks it: exact numbers in JSON, many operations in one `$batch`, an answer for each.

`$batch`: https://learn.microsoft.com/dynamics365/business-central/dev-itpro/webservices/use-odata-batch; at most 100
operations. With `Prefer: odata.continue-on-error` one that fails does not keep the rest from being done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from canonical.connect.oauth import OAuthClient
from canonical.errors import MisconfiguredError
from canonical.turns import in_turns
from flows.business_central.settings import BusinessCentralSettings
from flows.kit.http import TEMPLATE, ClientCredentials, exchange, trouble
from flows.kit.odata import decoded, encoded
from flows.kit.silence import heed, retry_after
from flows.port import NotDone, Unavailable, Unknown

Json = dict[str, Any]


NO_COMPANY = "Internal_CompanyNotFound"
FIX_COMPANY = "check base_url and the company's id: GET {base_url}/companies shows the companies that there are"


def no_company(where: str) -> MisconfiguredError:
    return MisconfiguredError(where, "there is no such company", fix=FIX_COMPANY)


GARBLED = "the answer has not the form that Business Central's have"
NOT_ITS_FORM = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading an answer raises that is JSON, and yet not what the API says that it answers."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One request, its path relative to the company. `etag` is sent as If-Match."""

    method: str
    path: str
    body: Json | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer holds Business Central's reply to one operation. `code` is its OData error code, which never holds a value."""

    status: int
    body: Json
    wait: timedelta | None = None

    @property
    def well(self) -> bool:
        return self.status < 300

    def rows(self) -> list[Json]:
        """
        The rows of a list. An answer without any is no empty list: it would seem to say that nothing is there.

        :raises KeyError, TypeError: the answer is no list.
        """
        rows = self.body["value"]
        if not isinstance(rows, list):
            raise TypeError("is no list")
        return rows

    @property
    def code(self) -> str:
        # The message beside the code quotes the record; the code is one of a published list.
        # https://learn.microsoft.com/dynamics365/business-central/dev-itpro/webservices/dynamics-error-codes
        error = self.body.get("error")
        said = error.get("code") if isinstance(error, dict) else None
        return said if isinstance(said, str) and re.fullmatch(r"[A-Za-z]\w{0,80}", said) else "no error code"


Reply = Answer | Unavailable | Unknown


class Service:
    """One company's API. Every method makes one request, or as many as it takes to send all operations."""

    def __init__(self, name: str, settings: BusinessCentralSettings, http: httpx.AsyncClient) -> None:
        self.name = name
        self._http = http
        self._auth = ClientCredentials(
            OAuthClient(name, str(settings.token_url), settings.client_id, settings.client_secret, settings.scope)
        )
        self._root = str(settings.base_url).rstrip("/")
        self._company = f"companies({settings.company})"
        self._batch = settings.batch

    async def get(self, url: str) -> Reply:
        """
        GET a path relative to the company, or a whole URL (a next page).

        :raises MisconfiguredError: the next page would be elsewhere than the API: our token goes nowhere else.
        """
        whole = url if url.startswith(("https://", "http://")) else f"{self._root}/{self._company}/{url}".rstrip("/")
        if not _below(whole, self._root):
            raise MisconfiguredError(
                self.name, "a next page lies outside base_url, and is not asked for", fix=_ELSEWHERE
            )
        named = {TEMPLATE: "/companies({id})/" + url.partition("?")[0].partition("(")[0]} if whole is not url else {}
        headers = {"Accept": "application/json"}
        return await self._asked(self._http.build_request("GET", whole, headers=headers, extensions=named))

    async def send(self, operations: Sequence[Operation]) -> list[Reply]:
        """
        Do the operations in order, in as few requests as possible; one reply each, in the same order.

        After a request without an answer the rest is not sent: what comes later may stand on what is now in doubt.
        """
        replies: list[Reply] = []
        for start in range(0, len(operations), self._batch):
            part = operations[start : start + self._batch]
            failed = next((r for r in replies if not isinstance(r, Answer)), None)
            replies += (
                [NotDone("not sent: an earlier part was not answered")] * len(part)
                if failed
                else (await self._sent(part))
            )
        return replies

    async def _sent(self, part: Sequence[Operation]) -> list[Reply]:
        requests = [encoded(self._packed(str(n), operation)) async for n, operation in in_turns(enumerate(part))]
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Prefer": "odata.continue-on-error",
        }
        content = f'{{"requests":[{",".join(requests)}]}}'.encode()
        response = await self._exchanged(
            self._http.build_request(
                "POST", f"{self._root}/$batch", content=content, headers=headers, extensions={TEMPLATE: "/$batch"}
            )
        )
        whole = _read(response)
        if not isinstance(whole, Answer) and all(operation.method == "GET" for operation in part):
            # Nothing was to be done: nothing is in doubt.
            whole = NotDone(whole.reason, whole.after if isinstance(whole, Unavailable) else None)
        if not isinstance(whole, Answer) or not isinstance(response, httpx.Response):
            return [whole] * len(part)
        if not whole.well:
            raise MisconfiguredError(self.name, f"$batch was refused ({whole.status} {whole.code})", fix=_ADDRESS)
        listed = whole.body.get("responses")
        parts = {str(r.get("id")): r for r in listed if isinstance(r, dict)} if isinstance(listed, list) else {}
        answers = [_unpacked(parts.get(str(n)), response, operation) for n, operation in enumerate(part)]
        await heed(response, [said for _, said in answers if said is not None])
        return [reply for reply, _ in answers]

    def _packed(self, number: str, operation: Operation) -> Json:
        headers = {"Accept": "application/json"}
        if operation.etag is not None:
            headers["If-Match"] = operation.etag
        request: Json = {"id": number, "method": operation.method, "url": f"{self._company}/{operation.path}"}
        if operation.body is not None:
            headers["Content-Type"] = "application/json"
            request["body"] = operation.body
        return request | {"headers": headers}

    async def _asked(self, request: httpx.Request) -> Reply:
        return _read(await self._exchanged(request))

    async def _exchanged(self, request: httpx.Request) -> httpx.Response | Unavailable | Unknown:
        response = await exchange(self._http, request, self._auth, where=self.name)
        if not isinstance(response, httpx.Response):
            return response
        return trouble(response, self.name, fix=_CREDENTIALS) or response


_CREDENTIALS = (
    "check the client id and secret, that the application is registered in the company with permission sets to write "
    "vendors and purchases, then run `ironbridge check`"
)
_ADDRESS = (
    "check base_url (the API's root, with the environment in it) and the company's id, then run `ironbridge check`"
)


_ELSEWHERE = "set base_url to the address that the API itself uses in its answers (@odata.nextLink)"


def _below(url: str, root: str) -> bool:
    """Tell whether a URL is of the API: the same scheme, host and port, and a path under its root."""
    try:
        asked, ours = httpx.URL(url), httpx.URL(root)
    except httpx.InvalidURL:
        return False
    same = (asked.scheme, asked.host, asked.port) == (ours.scheme, ours.host, ours.port) and not asked.userinfo
    return same and ".." not in asked.path and f"{asked.path}/".startswith(f"{ours.path.rstrip('/')}/")


def _read(response: httpx.Response | Unavailable | Unknown) -> Reply:
    if not isinstance(response, httpx.Response):
        return response
    try:
        body = decoded(response.content or b"{}")
    except ValueError:
        return Unknown(f"{response.status_code}, but the answer is not JSON: something on the way gave it")
    return _judged(Answer(response.status_code, body if isinstance(body, dict) else {}, retry_after(response)), "")


def _unpacked(part: Json | None, whole: httpx.Response, operation: Operation) -> tuple[Reply, httpx.Response | None]:
    """The reply to one operation of a batch, with its status and headers as those of an answer by itself."""
    if part is None:
        return Unknown(f"{operation.method}: the batch was answered without this operation"), None
    try:
        dated = {"date": whole.headers["date"]} if "date" in whole.headers else {}
        headers = dated | {str(k).lower(): str(v) for k, v in (part.get("headers") or {}).items()}
        said, body = httpx.Response(int(part["status"]), headers=headers), part.get("body")
    except NOT_ITS_FORM:
        return Unknown(f"{operation.method}: {GARBLED}"), None
    answer = Answer(said.status_code, body if isinstance(body, dict) else {}, retry_after(said))
    return _judged(answer, f"{operation.method}: "), said


def _judged(answer: Answer, of: str) -> Reply:
    """The answer, unless its status says that all is well and its body tells of an error: then nobody knows what was done."""
    if answer.status < 200 or (answer.well and "error" in answer.body):
        return Unknown(f"{of}{GARBLED}")
    return answer
