"""Measures how long parked records take to show: many subjects and as many quarantined rows, each with its own shape."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
from sqlalchemy import text

from ironbridge.console import serve
from ironbridge.console.app import mounted
from ironbridge.operate import stuck
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import ConsoleSettings, HttpSettings, Settings
from ironbridge.store import Store, open_store, tables
from ironbridge.store.bulk import put
from ironbridge.store.causes import cause_of

RULES = 20
_PIECE = 5000
_DOCUMENT = bytes(400)


async def measure(url: str, count: int, times: int) -> dict[str, list[float]]:
    """Seconds of each look, by the page or query: so many looks at each, with `count` records of either kind."""
    store = await open_store(url)
    try:
        await fill(store, count)
        looked: dict[str, list[float]] = {}

        async def look(what: str, work: Callable[[], Awaitable[Any]]) -> Any:
            began = time.perf_counter()
            found = await work()
            looked.setdefault(what, []).append(time.perf_counter() - began)
            return found

        async with _console(store) as http:
            for n in range(times):
                listing = await look("the command's groups", partial(stuck.groups, store))
                if (listing.total, listing.counts["parked"], listing.counts["quarantined"]) != (2 * RULES, count, count):
                    raise RuntimeError(f"found {listing.total} groups of {listing.counts}")
                group = listing.groups[n % len(listing.groups)]
                middle = f"{group.example[:-6]}{count // 2:06}"
                for what, path in {
                    "the page of groups": "/stuck",
                    "a group's first page": f"/stuck/{group.id}",
                    "a page in its middle": f"/stuck/{group.id}?from={middle}",
                }.items():
                    answer = await look(what, partial(http.get, path))
                    if answer.status_code != 200 or group.part not in answer.text:
                        raise RuntimeError(f"{path} did not open: {answer.status_code}")
        return looked
    finally:
        await store.close()


@asynccontextmanager
async def _console(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """A browser at a console over the state alone."""
    listen = HttpSettings(listen="127.0.0.1:0")
    built = Platform(Settings(http=listen, console=ConsoleSettings()), store)
    async with mounted(built) as routes, serve.serving(serve.application(built, routes), listen) as url:
        assert url is not None
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            yield http


def _said(part: str, n: int) -> tuple[str, str]:
    """A key, and why it is parked: one of a few rules, and a shape that no other record has."""
    key = f"legacy:person:{n:06}"
    return key, f"{part} {key}: field_{n % RULES}: is not as it should be (its shape: text a{n}). To do: correct it there"


async def fill(store: Store, count: int) -> None:
    """Insert so many parked subjects of a flow, and as many quarantined rows of a stream."""
    async with store.write() as connection:
        await connection.execute(text("INSERT INTO flows (name) VALUES ('cloud')"))
        await connection.execute(text("INSERT INTO streams (id, adapter, name) VALUES (1, 'legacy', 'person')"))
    for at in range(0, count, _PIECE):
        numbers = range(at, min(at + _PIECE, count))
        parked = [("cloud", *_said("cloud", n), n) for n in numbers]
        wrong = [(1, *_said("legacy.person", n), n) for n in numbers]
        async with store.write() as connection:
            await put(
                connection, tables.subjects,
                ("flow", "subject", "state", "reason", "cause", "since", "partition", "document"),
                [(f, k, "parked", why, cause_of("parked", k, why), float(n), 0, _DOCUMENT) for f, k, why, n in parked],
            )  # fmt: skip
            await put(
                connection, tables.problems, ("stream", "key", "field", "rule", "shape", "what", "cause", "since"),
                [(s, k, "a", "b", "c", why, cause_of("quarantined", k, why), float(n)) for s, k, why, n in wrong],
            )  # fmt: skip
    if not store.embedded:
        async with store.engine.connect() as connection:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("VACUUM ANALYZE"))
