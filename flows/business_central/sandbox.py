"""
A small real stand-in for one Business Central company: `python -m flows.business_central.sandbox --port 8802`.

It takes the API's own addresses (`/companies({id})/vendors`, with or without `/v2.0/{tenant}/{environment}/api/v2.0`
before them), computes amounts as the server does, and answers errors with Business Central's codes. What Microsoft's
pages leave open is settled by reports of live behaviour and can be set: see `BusinessCentralSandboxSettings`.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from canonical.turns import in_turns
from flows.business_central.sandbox_company import NESTED, ROOTS, BusinessCentralSandboxSettings, SandboxCompany
from flows.business_central.sandbox_wire import LINES_OF, Json, ODataError, candidates, holds, parse_filter
from flows.kit.sandbox import Sandbox, run

MOST_OPERATIONS = 100
ROOT = re.compile(r"(?:/v2\.0/[^/]+/[^/]+)?(?:/api/(?:v[12]\.0|beta))?/companies(?:\(([^)]*)\))?(?:/(.+))?")
PLACE = re.compile(r"(\w+)(?:\(([^)]*)\))?(?:/([\w.]+)(?:\(([^)]*)\))?)?")
READABLE = ("accounts", "dimensions", "dimensionValues")


class Call(NamedTuple):
    """One operation: a request of its own or one of a $batch. Header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: Any
    request: str


class Reply(NamedTuple):
    status: int
    body: Json | None = None
    headers: Mapping[str, str] = {}


class BusinessCentralSandbox(Sandbox):
    """Vendors, purchase invoices and credit memos are held whole, lines within: `documents("purchaseInvoices")`."""

    settings: BusinessCentralSandboxSettings

    def __init__(self, settings: BusinessCentralSandboxSettings | None = None) -> None:
        super().__init__(settings or BusinessCentralSandboxSettings())
        self.company = SandboxCompany(self.held, self.settings, self.refused_keys, self.alters)
        self._places = asyncio.Semaphore(self.settings.concurrent)
        self._waiting = 0

    # Requests

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        if request.method == "POST" and path.endswith("/token"):
            return await self.tokens.answer(request)
        if not self.tokens.valid(request.headers.get("authorization", "")):
            error = ODataError("Authentication_InvalidCredentials", "The server has rejected the client credentials.")
            return JSONResponse(error.body, 401, {"WWW-Authenticate": "Bearer"})
        wait = self.throttle.wait()
        if wait or self._waiting >= self.settings.concurrent + self.settings.queued:
            error = ODataError("Application_TooManyRequests", "Too many requests reached.")
            return JSONResponse(error.body, 429, {"Retry-After": str(int(wait) + 1)})
        self._waiting += 1
        try:
            async with self._places:
                await asyncio.sleep(self.settings.latency)
                return await self._worked(request, path)
        finally:
            self._waiting -= 1

    async def _worked(self, request: Request, path: str) -> Response:
        try:
            raw = await request.body()
            body = json.loads(raw) if raw else None
        except ValueError:
            return JSONResponse(ODataError("BadRequest", "Invalid Request Body").body, 400)
        headers = dict(request.headers)
        if path.endswith("/$batch") and request.method == "POST":
            reply = await self._batch(body, headers, request.state.id, path.removesuffix("$batch"))
        else:
            url = f"{path}?{request.url.query}"
            reply = self._done(Call(request.method, url, headers, body, request.state.id))
        if reply.body is None:
            return Response(status_code=reply.status, headers=dict(reply.headers))
        return JSONResponse(reply.body, reply.status, dict(reply.headers))

    async def _batch(self, body: Any, headers: Mapping[str, str], request: str, root: str) -> Reply:
        """OData 4.01 JSON batch: every operation on its own; one failure ends it unless the caller says go on."""
        asked = body.get("requests") if isinstance(body, dict) else None
        if not isinstance(asked, list) or not all(
            isinstance(o, dict) and {"id", "method", "url"} <= o.keys() for o in asked
        ):
            return Reply(400, ODataError("BadRequest", "Invalid Request Body").body)
        if len(asked) > MOST_OPERATIONS:
            message = f"The batch holds {len(asked)} operations; at most {MOST_OPERATIONS} are taken."
            return Reply(400, ODataError("BadRequest", message).body)
        go_on = "odata.continue-on-error" in headers.get("prefer", "")
        replies: dict[str, Reply] = {}
        async for operation in in_turns(asked):
            if any(replies.get(str(on), Reply(424)).status >= 400 for on in operation.get("dependsOn", ())):
                reply = Reply(424, ODataError("BadRequest", "An operation it depends on has failed.").body)
            else:
                url = resolved(str(operation["url"]), root, replies)
                own = {str(k).lower(): str(v) for k, v in (operation.get("headers") or {}).items()}
                reply = self._done(Call(str(operation["method"]).upper(), url, own, operation.get("body"), request))
            replies[str(operation["id"])] = reply
            if reply.status >= 400 and not go_on:
                break
        answers = [
            {"id": key, "status": r.status, "headers": dict(r.headers), "body": r.body} for key, r in replies.items()
        ]
        return Reply(200, {"responses": answers})

    def _done(self, call: Call) -> Reply:
        try:
            return self._routed(call)
        except ODataError as error:
            return Reply(error.status, error.body)

    def _routed(self, call: Call) -> Reply:
        split = urlsplit(call.url)
        root = ROOT.fullmatch(unquote(split.path))
        company = {"id": self.settings.company, "name": "Sandbox", "displayName": "Sandbox"}
        if not root:
            raise ODataError("BadRequest_ResourceNotFound", "Resource not found for the segment.", 404)
        if root[1] is None:
            return Reply(200, {"value": [company]})
        if root[1].lower() != self.settings.company:
            raise ODataError("Internal_CompanyNotFound", "Cannot process the request: no such company.", 404)
        if root[2] is None:
            return Reply(200, company)
        place = PLACE.fullmatch(root[2])
        if not place or place[1] not in {*READABLE, *ROOTS, *NESTED}:
            raise ODataError("BadRequest_ResourceNotFound", "Resource not found for the segment.", 404)
        entity_set, key, nav, nav_key = place.groups()
        if nav == "Microsoft.NAV.post" and call.method == "POST" and entity_set in LINES_OF:
            self.company.post(call.request, entity_set, key or "")
            return Reply(204)
        if nav is None:
            return self._served(call, entity_set, key, None)
        if nav not in {*NESTED, "dimensionValues"}:
            raise ODataError("BadRequest_ResourceNotFound", "Resource not found for the segment.", 404)
        return self._served(call, nav, nav_key, self.company.row(entity_set, key or ""))

    def _served(self, call: Call, entity_set: str, key: str | None, parent: Json | None) -> Reply:
        match call.method, key:
            case "GET", None:
                return Reply(200, self._listed(call, entity_set, parent))
            case "GET", str():
                row = self.company.row(entity_set, key, parent)
                return one(200, row, self._shown(row, query_of(call)))
            case "POST", None if entity_set not in READABLE:
                row = self.company.create(call.request, entity_set, call.body, parent)
                place = f"{self.url}/companies({self.settings.company})/{entity_set}({row['id']})"
                lines = {"$expand": LINES_OF.get(entity_set, "")} if self.settings.shows_lines else {}
                reply = one(201, row, self._shown(row, lines))
                return reply._replace(headers={**reply.headers, "Location": place})
            case "PATCH", str() if entity_set not in READABLE:
                row = self._matched(call, self.company.row(entity_set, key, parent))
                row = self.company.change(call.request, entity_set, row, call.body)
                return one(200, row, self._shown(row, {}))
            case "DELETE", str() if entity_set not in READABLE:
                row = self._matched(call, self.company.row(entity_set, key, parent))
                self.company.delete(call.request, entity_set, row)
                return Reply(204)
        message = f"'{call.method}' requests for '{entity_set}' are not allowed here."
        raise ODataError("BadRequest_MethodNotAllowed", message, 405)

    def _matched(self, call: Call, row: Json) -> Json:
        # Business Central asks for the tag on PATCH always; on DELETE its pages say "required", so it is asked for too.
        match = call.headers.get("if-match")
        if match is None:
            message = "Could not validate the client concurrency token required by the service."
            raise ODataError("BadRequest_InvalidToken", message)
        if match not in ("*", row["@odata.etag"]):
            message = "Another user has already changed the record."
            raise ODataError("Request_EntityChanged", message, self.settings.stale_status)
        return row

    def _listed(self, call: Call, entity_set: str, parent: Json | None) -> Json:
        query = query_of(call)
        rows: Iterable[Json] = self.company.rows(entity_set, parent)
        if source := query.get("$filter"):
            tree = parse_filter(source)
            keys = None if parent else candidates(tree, lambda name, value: self.company.found(entity_set, name, value))
            rows = rows if keys is None else [self.company.row(entity_set, key) for key in sorted(keys)]
            rows = [row for row in rows if holds(tree, row)]
        rows, skip = list(rows), number_of(query, "$skip", 0)
        asked = re.search(r"odata\.maxpagesize=(\d+)", call.headers.get("prefer", ""))
        page = min(int(asked[1]) if asked else self.settings.page_size, self.settings.page_size)
        top = number_of(query, "$top", number_of(query, "$limit", len(rows)))
        end = min(skip + page, skip + top, len(rows))
        body: Json = {"value": [self._shown(row, query) for row in rows[skip:end]]}
        if query.get("$count") == "true":
            body["@odata.count"] = len(rows)
        if end < min(skip + top, len(rows)):
            rest = urlencode(query | {"$skip": end} | ({"$top": top - page} if "$top" in query else {}))
            body["@odata.nextLink"] = f"{self.url}{urlsplit(call.url).path}?{rest}"
        return body

    def _shown(self, row: Json, query: Mapping[str, str]) -> Json:
        expanded = set(re.findall(r"\w+", query.get("$expand", "")))
        shown = {name: value for name, value in row.items() if name not in NESTED}
        for name in NESTED & expanded & row.keys():
            shown[name] = [self._shown(line, {"$expand": query["$expand"]}) for line in row[name]]
        if "vendor" in expanded and "vendorId" in row:
            shown["vendor"] = self._shown(self.company.row("vendors", row["vendorId"]), {})
        names = {name.strip() for name in query.get("$select", "*").split(",")}
        return shown if "*" in names else {n: v for n, v in shown.items() if n in names | expanded | {"@odata.etag"}}


def one(status: int, row: Json, shown: Json) -> Reply:
    return Reply(status, shown, {"ETag": row["@odata.etag"]})


def query_of(call: Call) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(call.url).query, keep_blank_values=True))


def number_of(query: Mapping[str, str], name: str, otherwise: int) -> int:
    value = query.get(name, "")
    if name in query and not value.isdecimal():
        raise ODataError("BadRequest_NotFound", f"{name} must be a whole number.")
    return int(value) if value else otherwise


def resolved(url: str, root: str, replies: Mapping[str, Reply]) -> str:
    """An operation's address: absolute, relative to the service root, or `$1/…` for what operation 1 created."""
    if url.startswith("$"):
        first, slash, rest = url[1:].partition("/")
        place = replies.get(first, Reply(424)).headers.get("Location", "")
        return urlsplit(place).path + slash + rest
    return url if url.startswith(("/", "http://", "https://")) else root + url


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.business_central.sandbox", description="A stand-in company.")
    parser.add_argument("--port", type=int, default=8802)
    parser.add_argument("--data", type=Path, help="SQLite file that outlives the process (default: memory)")
    parser.add_argument(
        "--chart", type=Path, help='JSON: {"accounts": {number: name}, "dimensions": {code: {value: name}}}'
    )
    options = parser.parse_args()
    sandbox = BusinessCentralSandbox(BusinessCentralSandboxSettings(port=options.port, data=options.data))
    if options.chart:
        sandbox.company.seed(**json.loads(options.chart.read_text()))
    run(sandbox)


if __name__ == "__main__":
    main()
