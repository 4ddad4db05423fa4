"""A sandbox for targets with one record a document (`flows.kit.records`): PUT, GET and DELETE of `/kind/number`, with ETags."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from flows.kit.sandbox import Effect, Operation, Sandbox, SandboxSettings, digest_of

Json = dict[str, Any]


class RecordSandbox(Sandbox):
    """
    Holds records by kind and number. An ETag is the digest of what is held; `If-Match` is obeyed (RFC 9110, 13.1.1). Everything
    but the token wants one. A subclass says in `refuses` what the vendor would not take.
    """

    def __init__(self, settings: SandboxSettings | None = None) -> None:
        super().__init__(settings or SandboxSettings())

    def refuses(self, kind: str, record: Json) -> str:
        """Say which field of a record breaks which rule; empty if the record is taken."""
        return ""

    async def answer(self, request: Request) -> Response:
        await asyncio.sleep(self.settings.latency)
        *_, kind, number = ["", *request.url.path.strip("/").split("/")]
        if number == "token":
            return await self.tokens.answer(request)
        if not self.tokens.valid(request.headers.get("authorization", "")):
            return PlainTextResponse("no valid token", 401)
        if (wait := self.throttle.wait()) > 0:
            return PlainTextResponse("too many requests", 429, {"Retry-After": str(int(wait) + 1)})
        if not kind:
            return JSONResponse({"value": [*self.documents(number).values()]})
        return await self._record(request, kind, number)

    async def _record(self, request: Request, kind: str, number: str) -> Response:
        held = self.held.get(kind, [number]).get(number)
        match = request.headers.get("if-match")
        if match and request.method != "GET" and match != _tag(held):
            return PlainTextResponse("the record is not the one that you read", 412)
        if request.method == "PUT":
            return self._put(request, kind, number, held, await request.body())
        if held is None:
            return PlainTextResponse("no such record", 404)
        if request.method == "DELETE":
            self._keep(request, kind, number, held, None)
            return Response(status_code=204)
        return _shown(held) if request.method == "GET" else PlainTextResponse("method not allowed", 405)

    def _put(self, request: Request, kind: str, number: str, held: str | None, sent: bytes) -> Response:
        try:
            record = json.loads(sent)
            wrong = self.refuses(kind, record) if isinstance(record, dict) else "the body: is no object"
        except ValueError:
            wrong = "the body: is no JSON"
        if wrong or number in self.refused_keys():
            return JSONResponse({"error": wrong or "the record: the sandbox was told to refuse it"}, 400)
        text = json.dumps(record, sort_keys=True)
        self._keep(request, kind, number, held, text)
        return _shown(text, 201 if held is None else 200)

    def _keep(self, request: Request, kind: str, number: str, held: str | None, text: str | None) -> None:
        operation: Operation = "purge" if text is None else "create" if held is None else "update"
        digest = digest_of(text or "")
        self.held.keep(request.state.id, [Effect(kind, number, number, operation, text, digest, int(text != held))])


def _tag(text: str | None) -> str:
    return "" if text is None else f'"{digest_of(text)}"'


def _shown(text: str, status: int = 200) -> Response:
    return Response(text, status, {"ETag": _tag(text)}, "application/json")
