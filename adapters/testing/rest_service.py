"""A small service with a list over HTTP, shipped for tests: it pages in several ways, and does what services do wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Handle = Callable[[Request], Awaitable[Response]]


class RestService:
    """
    A list of items by number, at `/tenants` in numbered pages, at `/odata/Tenants` with links, and at `/odata/delta`.

    `faults` are the next answers in place of its own; None is its own. `between` is called after each page, so that the list
    changes while it is paged. `asked` holds the paths of all requests, `tags` turns ETags on. With a `token` or a `key` it lets
    in who has it.
    """

    def __init__(self) -> None:
        self.items: dict[int, dict[str, Any]] = {}
        self.changes: list[dict[str, Any]] = []
        self.faults: deque[Response | None] = deque()
        self.between: Callable[[], None] | None = None
        self.asked: list[str] = []
        self.unchanged = 0
        self.tags = False
        self.headers: dict[str, str] = {}
        self.tokens = 0
        self.url = ""

    def put(self, number: int, **said: Any) -> None:
        self.items[number] = {"id": number, **said}
        self.changes.append(self.items[number])

    def take(self, number: int) -> None:
        del self.items[number]
        self.changes.append({"id": number, "@removed": {"reason": "deleted"}})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RestService]:
        """Serve on a free port of this machine."""
        places: dict[str, Handle] = {"/tenants": self._numbered, "/odata/Tenants": self._linked, "/odata/delta": self._delta}
        routes = [Route(path, self._let_in(handle)) for path, handle in places.items()]
        app = Starlette(routes=[*routes, Route("/token", self._token, methods=["POST"])])
        config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve())
        try:
            while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
                await asyncio.sleep(0.005)
            self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            yield self
        finally:
            server.should_exit = True
            await running

    def _let_in(self, handle: Handle) -> Handle:
        async def answer(request: Request) -> Response:
            self.asked.append(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
            if any(request.headers.get(name) != value for name, value in self.headers.items()):
                return JSONResponse({}, 401)
            fault = self.faults.popleft() if self.faults else None
            said = fault or self._tagged(request, await handle(request))
            if self.between:
                self.between()
            return said

        return answer

    def _tagged(self, request: Request, answer: Response) -> Response:
        if self.tags:
            tag = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()}"'
            if request.headers.get("if-none-match") == tag:
                self.unchanged += 1
                return Response(status_code=304, headers={"ETag": tag})
            answer.headers["ETag"] = tag
        return answer

    async def _numbered(self, request: Request) -> Response:
        page, size = int(request.query_params.get("page", 1)), int(request.query_params.get("per_page", 100))
        listed = [self.items[number] for number in sorted(self.items)]
        return JSONResponse(listed[(page - 1) * size :][:size])

    async def _linked(self, request: Request) -> Response:
        after = int(request.query_params.get("$skiptoken", -1))
        numbers = [number for number in sorted(self.items, reverse=True) if after < 0 or number < after]
        body: dict[str, Any] = {"value": [self.items[number] for number in numbers[:2]]}
        if len(numbers) > 2:
            body["@odata.nextLink"] = f"{self.url}/odata/Tenants?$skiptoken={numbers[1]}"
        return JSONResponse(body)

    async def _delta(self, request: Request) -> Response:
        since = int(request.query_params.get("$deltatoken", -1))
        if since > len(self.changes):
            return JSONResponse({"error": {"code": "syncStateNotFound"}}, 410)
        said = list(self.items.values()) if since < 0 else self.changes[since:]
        link = f"{self.url}/odata/delta?$deltatoken={len(self.changes)}"
        return JSONResponse({"value": said, "@odata.deltaLink": link})

    async def _token(self, request: Request) -> Response:
        form = (await request.body()).decode()
        if "client_secret=s3cret" not in form:
            return JSONResponse({"error": "invalid_client"}, 401)
        self.tokens += 1
        self.headers = {"authorization": f"Bearer t{self.tokens}"}
        return JSONResponse({"access_token": f"t{self.tokens}", "expires_in": 3600})


def html(status: int = 200) -> Response:
    """The page of something that stands before the service."""
    return Response("<html>please sign in</html>", status, media_type="text/html")


def half(items: list[Any]) -> Response:
    """An answer that ends before its end."""
    whole = json.dumps(items)
    return Response(whole[: len(whole) // 2], media_type="application/json")
