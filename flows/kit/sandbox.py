"""
All shipped sandboxes of cloud targets share this: a real HTTP server that keeps what it is sent.

A sandbox is a stand-in for somebody else's cloud, so it takes nothing from the flows it is there to check. It keeps
its state in one SQLite file (or in memory), committed before it answers, so that a kill of the process loses nothing
the caller was told about. Everything under `/_sandbox` is the checker's window and no part of the vendor's API:

    GET  /_sandbox/summary                     counts: documents, effects, repeats, requests (cheap)
    GET  /_sandbox/documents?kind=&after=&limit=   what it holds, by kind and key
    GET  /_sandbox/log?after=&limit=           every effect in the order it happened
    POST /_sandbox/faults                      misbehave (one `Fault` or a list); DELETE forgives, GET lists
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
import socket
import sqlite3
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import parse_qs

import uvicorn
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from flows.kit.sandbox_faults import FAULTS, Alteration, Fault, alters, spoilt, strike

TRANSPORT = "sandbox.transport"  # where the connection is put into the ASGI scope, so that it can be cut
Operation = Literal["create", "update", "purge"]


class Rate(NamedTuple):
    """At most `requests` within any `seconds`; a sliding window, as Business Central documents its own."""

    requests: int
    seconds: float


class Throttle:
    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._taken: deque[float] = deque()

    def wait(self) -> float:
        """Seconds until the next request is allowed; 0 where this one is, and then it counts."""
        if self._rate is None:
            return 0.0
        now = time.monotonic()
        while self._taken and self._taken[0] <= now - self._rate.seconds:
            self._taken.popleft()
        if len(self._taken) >= self._rate.requests:
            return max(self._taken[0] + self._rate.seconds - now, 0.001)
        self._taken.append(now)
        return 0.0


@dataclass(frozen=True, kw_only=True)
class SandboxSettings:
    """
    Every sandbox has these settings. `data` is the SQLite file that outlives the process; None keeps all in memory.

    `history` keeps, with each effect of the log, the document as it stood afterwards.
    """

    port: int = 0
    data: Path | None = None
    client_id: str = "ironbridge"
    client_secret: str = "sandbox-secret"
    token_seconds: float = 3600
    rate: Rate | None = None
    history: bool = False
    latency: float = 0.0  # seconds every answer of the API takes, to measure against a cloud that is far away


class Tokens:
    """OAuth 2.0 client credentials (RFC 6749 section 4.4). Tokens are signed, so a restart does not void them."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._voided_before = 0.0

    def expire_all(self) -> None:
        self._voided_before = time.time()

    async def answer(self, request: Request) -> Response:
        form = {name: values[-1] for name, values in parse_qs((await request.body()).decode()).items()}
        if form.get("grant_type") != "client_credentials":
            return JSONResponse({"error": "unsupported_grant_type"}, 400)
        known = (self._settings.client_id, self._settings.client_secret)
        if (form.get("client_id"), form.get("client_secret")) != known:
            return JSONResponse({"error": "invalid_client"}, 401)
        token = self._signed(f"{time.time():.6f}.{secrets.token_hex(8)}")
        lifetime = self._settings.token_seconds
        return JSONResponse({"token_type": "Bearer", "expires_in": int(lifetime), "access_token": token})

    def valid(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        text = token.rpartition(".")[0]
        if scheme.lower() != "bearer" or not hmac.compare_digest(self._signed(text).encode(), token.encode()):
            return False
        issued = float(text.rpartition(".")[0])
        return self._voided_before < issued > time.time() - self._settings.token_seconds

    def _signed(self, text: str) -> str:
        signature = hmac.digest(self._settings.client_secret.encode(), text.encode(), "sha256")
        return f"{text}.{signature.hex()[:32]}"


class Effect(NamedTuple):
    """
    One document written or removed: `document` is None where it was removed, `changed` 0 where nothing differs.

    `key` is what it is held under, `subject` what the sender calls it.
    """

    kind: str
    key: str
    subject: str
    operation: Operation
    document: str | None
    digest: str
    changed: int


def digest_of(text: str) -> str:
    """A short fingerprint (BLAKE2b, 96 bits) of a document as JSON text; the caller keeps its fields in one order."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


class Holdings:
    """Holdings keep all that a sandbox holds, and the log of its changes: in SQLite, committed before anything is answered."""

    def __init__(self, data: Path | None, *, history: bool = False) -> None:
        self._history = history
        self._db = sqlite3.connect(data or ":memory:", isolation_level=None)
        self._db.executescript(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = NORMAL;  -- survives a kill of the process; a power cut may lose the last moment
            CREATE TABLE IF NOT EXISTS documents (
                kind TEXT, key TEXT, document TEXT, PRIMARY KEY (kind, key)) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS log (sequence INTEGER PRIMARY KEY, at REAL, request TEXT, kind TEXT,
                subject TEXT, operation TEXT, changed INTEGER, digest TEXT, document TEXT);
            """
        )
        self.sequence: int = self._db.execute("SELECT coalesce(max(sequence), 0) FROM log").fetchone()[0]
        counted = self._db.execute("SELECT kind, count(*) FROM documents GROUP BY kind")
        self.counts: Counter[str] = Counter(dict(counted))
        counted = self._db.execute("SELECT operation, count(*) FROM log GROUP BY operation")
        self.effects: Counter[str] = Counter(dict(counted))
        self.repeats: int = self._db.execute("SELECT count(*) FROM log WHERE changed = 0").fetchone()[0]

    def get(self, kind: str, keys: Sequence[str]) -> dict[str, str]:
        """The documents (as JSON text) held under these keys."""
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, document FROM documents WHERE kind = ? AND key IN ({marks})"  # noqa: S608
        return dict(self._db.execute(query, (kind, *keys)))

    def keep(self, request: str, effects: Sequence[Effect]) -> None:
        """Write what one request did, in one transaction. Several effects on one document: the last one stays."""
        now, after = time.time(), {(e.kind, e.key): e for e in effects}
        held = [(e.kind, e.key, e.document) for e in after.values() if e.document is not None]
        gone = [where for where, e in after.items() if e.document is None]
        entries = [
            (self.sequence + n, now, request, e.kind, e.subject, e.operation, e.changed, e.digest,
             e.document if self._history else None)
            for n, e in enumerate(effects, start=1)
        ]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", held)
        self._db.executemany("DELETE FROM documents WHERE kind = ? AND key = ?", gone)
        self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", entries)
        self._db.execute("COMMIT")
        self.sequence += len(effects)
        for effect in effects:
            self.effects[effect.operation] += 1
            self.repeats += 1 - effect.changed
            if effect.operation == "create":
                self.counts[effect.kind] += 1
            elif effect.operation == "purge" and effect.changed:
                self.counts[effect.kind] -= 1

    def place(self, kind: str, key: str, document: str) -> None:
        """Put a document there that nobody sent: it is held, and no effect."""
        added = self._db.execute("INSERT OR IGNORE INTO documents VALUES (?, ?, ?)", (kind, key, document))
        self.counts[kind] += added.rowcount

    def all(self, kind: str | None = None, after: str = "", limit: int = -1) -> dict[str, dict[str, Any]]:
        """The documents by kind and key, in the order of their keys, beyond the key `after`."""
        query = "SELECT kind, key, document FROM documents WHERE (? IS NULL OR kind = ?) AND key > ?"
        found: dict[str, dict[str, Any]] = {}
        for name, key, text in self._db.execute(f"{query} ORDER BY key LIMIT ?", (kind, kind, after, limit)):
            found.setdefault(name, {})[key] = json.loads(text)
        return found

    def log(self, after: int = 0, limit: int = -1) -> list[dict[str, Any]]:
        rows = self._db.execute("SELECT * FROM log WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit))
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def close(self) -> None:
        self._db.close()


class Sandbox(ABC):
    """
    A cloud to write to: `async with DfeCscSandbox() as sandbox: ... sandbox.url`.

    A subclass answers the vendor's API in `answer`; the shell around it keeps the counts, plays the faults and serves
    the checker's window. `request.state.id` is the caller's X-Request-ID, or a number of our own.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.held = Holdings(settings.data, history=settings.history)
        self.faults: list[Fault] = []  # those to come, first in first out; `clear()` forgives
        self.tokens = Tokens(settings)
        self.throttle = Throttle(settings.rate)
        self.url = ""
        self.requests = 0
        self.statuses: Counter[str] = Counter()
        self._exits = contextlib.AsyncExitStack()

    @abstractmethod
    async def answer(self, request: Request) -> Response: ...

    async def __aenter__(self) -> Self:
        self.url = await self._exits.enter_async_context(serve(self, self.settings.port))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()
        self.held.close()

    def refused_keys(self) -> frozenset[str]:
        """The keys of records that a fault says to refuse."""
        return frozenset().union(*(fault.keys for fault in self.faults if fault.kind == "refuse"))

    def alters(self, what: Alteration) -> bool:
        """Tell whether a fault says to change by itself what was sent; it is used up by that."""
        return alters(self.faults, what)

    def summary(self) -> dict[str, Any]:
        return {
            "documents": dict(self.held.counts),
            "effects": dict(self.held.effects),
            "repeats": self.held.repeats,
            "sequence": self.held.sequence,
            "requests": self.requests,
            "statuses": dict(self.statuses),
        }

    def documents(self, kind: str) -> dict[str, Any]:
        """Return what is held of one kind, by key: a child's la_child_id, Business Central's own id."""
        return self.held.all(kind).get(kind, {})

    def log(self, after: int = 0) -> list[dict[str, Any]]:
        return self.held.log(after)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.url.path.startswith("/_sandbox/"):
            response: Response | None = await self._window(request)
        else:
            self.requests += 1
            request.state.id = request.headers.get("x-request-id", f"r{self.requests}")
            response = await self._struck(request)
            self.statuses[str(response.status_code) if response else "cut"] += 1
        if response is None:
            scope[TRANSPORT].abort()
            await asyncio.sleep(0.001)  # uvicorn must see that the connection is gone, or it would answer 500
            return
        await response(scope, receive, send)

    async def _struck(self, request: Request) -> Response | None:
        fault = strike(self.faults, request.url.path)
        if fault is None:
            return await self.answer(request)
        if fault.kind == "expired_token":
            self.tokens.expire_all()
        if fault.kind in ("slow", "expired_token"):
            await asyncio.sleep(fault.seconds)
            return await self.answer(request)
        if fault.when == "after":
            await self.answer(request)
        return spoilt(fault)

    async def _window(self, request: Request) -> Response:
        query, what = request.query_params, (request.method, request.url.path.removeprefix("/_sandbox/"))
        limit = int(query.get("limit", -1))
        match what:
            case "GET", "summary":
                return JSONResponse(self.summary())
            case "GET", "documents":
                return JSONResponse(self.held.all(query.get("kind"), query.get("after", ""), limit))
            case "GET", "log":
                return JSONResponse(self.held.log(int(query.get("after", 0)), limit))
            case "POST", "faults":
                try:
                    sent = json.loads(await request.body())
                    self.faults.extend(FAULTS.validate_python(sent if isinstance(sent, list) else [sent]))
                except (ValueError, ValidationError) as error:
                    return PlainTextResponse(str(error), 400)
            case "DELETE", "faults":
                self.faults.clear()
            case method, path if (method, path) != ("GET", "faults"):
                return PlainTextResponse("no such window", 404)
        return Response(FAULTS.dump_json(self.faults), media_type="application/json")


class CuttableProtocol(H11Protocol):
    """uvicorn's own HTTP/1.1, with the connection within reach of the application: a lost answer is a cut one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope[TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport


class EmbeddedServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the process belongs to whoever embeds us: its signals are not ours to take


def server_of(app: ASGIApp, kind: type[uvicorn.Server]) -> uvicorn.Server:
    config = uvicorn.Config(
        app, http=CuttableProtocol, ws="none", lifespan="off", log_config=None, access_log=False,
        timeout_keep_alive=75, timeout_graceful_shutdown=1,
    )  # fmt: skip
    return kind(config)


def listening(port: int) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", port))
    # asyncio does this only for sockets that name their protocol; without it an answer in two writes takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


@contextlib.asynccontextmanager
async def serve(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on 127.0.0.1 (port 0: a free one) inside this process; gives its URL."""
    listener = listening(port)
    server = server_of(app, EmbeddedServer)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not running.done():  # noqa: ASYNC110 - uvicorn offers no event to wait for
        await asyncio.sleep(0.002)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


def run(sandbox: Sandbox) -> None:
    """Serve a sandbox as a process of its own until it is told to stop; prints its URL when it is ready to listen."""
    listener = listening(sandbox.settings.port)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(server_of(sandbox, uvicorn.Server).serve(sockets=[listener]))
    sandbox.held.close()
